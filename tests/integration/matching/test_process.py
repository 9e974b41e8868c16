"""The service as a process of its own: mutual TLS, readiness, kill -9, drain."""

import asyncio
import json
import os
import signal
import sqlite3
import sys
from contextlib import asynccontextmanager

import grpc
import grpc.aio
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from veilface.common.channel import open_channel
from veilface.common.chunks import split_into_chunks
from veilface.common.conversion import scheme_to_proto
from veilface.common.errors import Reason
from veilface.common.health import Readiness
from veilface.common.identities import (
    CLIENT_IDENTITY,
    EMBEDDING_IDENTITY,
    KEYS_IDENTITY,
    MATCHING_IDENTITY,
)
from veilface.common.identity import AccessPolicy
from veilface.common.pki import CertificateAuthority, tls_settings
from veilface.common.server import Registration, ServerSettings, start_server
from veilface.common.signing import TrustStore
from veilface.common.status import error_from_rpc
from veilface.keys.v1 import key_service_pb2, key_service_pb2_grpc
from veilface.matching.v1 import (
    gallery_service_pb2,
    gallery_service_pb2_grpc,
    matching_service_pb2,
    matching_service_pb2_grpc,
)

START_TIMEOUT_S = 120
CALL_TIMEOUT_S = 60


class PublicKeys(key_service_pb2_grpc.KeyServiceServicer):
    """The key service, as far as a matcher needs it."""

    def __init__(self, material):
        self._material = material
        self._info = key_service_pb2.KeyMaterialInfo(
            key_version=material.key_version, scheme=scheme_to_proto(material.scheme), profile=material.profile
        )

    async def GetPublicKey(self, request, context):
        for chunk in split_into_chunks(self._material.public_key):
            yield key_service_pb2.GetPublicKeyResponse(info=self._info, chunk=chunk)

    async def GetEvaluationKeys(self, request, context):
        for chunk in split_into_chunks(self._material.evaluation_keys):
            yield key_service_pb2.GetEvaluationKeysResponse(info=self._info, chunk=chunk)


class MatcherProcess:
    """`python -m veilface.matching`, started again on the same files as often as a test likes."""

    def __init__(self, folder, environment):
        self.folder = folder
        self.log = folder / "matching.log"
        self._environment = environment
        self._process = None
        self.address = None

    async def start(self):
        self.log.unlink(missing_ok=True)
        with self.log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "veilface.matching", env=self._environment, stderr=log
            )
        async with asyncio.timeout(START_TIMEOUT_S):
            while not (listening := self.events("listening")):
                assert self._process.returncode is None, self.log.read_text()
                await asyncio.sleep(0.05)
            self.address = listening[0]["address"]

    async def start_ready(self):
        await self.start()
        async with self.channel() as channel, asyncio.timeout(START_TIMEOUT_S):
            health = health_pb2_grpc.HealthStub(channel)
            async for response in health.Watch(health_pb2.HealthCheckRequest()):
                if response.status == health_pb2.HealthCheckResponse.SERVING:
                    return

    def channel(self, identity="client"):
        return open_channel(self.address, tls_settings(self.folder, identity))

    def events(self, name):
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == name]

    async def kill(self):
        self._process.kill()
        await self._process.wait()

    async def stop(self):
        """Stop it politely; answers the exit code."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            return await self._process.wait()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, keyset):
    """Certificates, trust store and signing key."""
    folder = tmp_path_factory.mktemp("process")
    authority = CertificateAuthority.load_or_create(folder)
    for identity in (CLIENT_IDENTITY, EMBEDDING_IDENTITY, KEYS_IDENTITY, MATCHING_IDENTITY):
        authority.issue(identity).save(folder, identity.rpartition("/")[2])
    TrustStore({EMBEDDING_IDENTITY: [keyset.embedding_signer.public_key_bytes]}).save(folder / "trust.json")
    keyset.matching_signer.save(folder / "signing.pem")
    return folder


@pytest.fixture
async def matcher(folder, keyset, tmp_path, redis_server):
    """The process, not started yet, and the key service that it asks."""
    tls = tls_settings(folder, "keys")
    settings = ServerSettings(
        listen="127.0.0.1:0", tls_certificate=tls.certificate, tls_private_key=tls.private_key, tls_ca=tls.ca
    )
    registration = Registration(
        key_service_pb2.DESCRIPTOR.services_by_name["KeyService"],
        PublicKeys(keyset.material),
        key_service_pb2_grpc.add_KeyServiceServicer_to_server,
    )
    policy = AccessPolicy({"/veilface.keys.v1.KeyService/*": [MATCHING_IDENTITY]})
    key_service = await start_server(settings, [registration], Readiness(), policy)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VEILFACE_")} | {
        "VEILFACE_LISTEN": "127.0.0.1:0",
        "VEILFACE_TLS_CERTIFICATE": str(folder / "matching.crt"),
        "VEILFACE_TLS_PRIVATE_KEY": str(folder / "matching.key"),
        "VEILFACE_TLS_CA": str(folder / "ca.crt"),
        "VEILFACE_LOG_FORMAT": "json",
        "VEILFACE_DRAIN_TIMEOUT_S": "5",
        "VEILFACE_DATABASE_URL": f"sqlite:///{tmp_path}/matching.db",
        "VEILFACE_REDIS_URL": f"unix://{redis_server.unix_socket_path}",
        "VEILFACE_TRUST_STORE": str(folder / "trust.json"),
        "VEILFACE_SIGNING_KEY": str(folder / "signing.pem"),
        "VEILFACE_KEY_SERVICE": key_service.address,
        "VEILFACE_PUBLISH_QUIET_S": "0.1",
    }
    matcher = MatcherProcess(folder, environment)
    yield matcher
    await matcher.stop()
    await key_service.drain()


@asynccontextmanager
async def stubs(matcher):
    async with matcher.channel() as channel:
        yield (
            gallery_service_pb2_grpc.GalleryServiceStub(channel),
            matching_service_pb2_grpc.MatchingServiceStub(channel),
        )


def enroll_request(keyset, number, vector):
    return gallery_service_pb2.EnrollRequest(
        gallery="galleries/staff", subject_id=f"s{number}", template=keyset.reference(vector), request_id=f"r{number}"
    )


async def create(galleries):
    request = gallery_service_pb2.CreateGalleryRequest(gallery_id="staff", key="keys/faces")
    return await galleries.CreateGallery(request, timeout=CALL_TIMEOUT_S)


async def search(matching, keyset, face):
    """Subject -> score."""
    request = matching_service_pb2.SearchGalleryRequest(gallery="galleries/staff", probe=keyset.probe(face))
    found = {}
    async for message in matching.SearchGallery(request, timeout=CALL_TIMEOUT_S):
        _, scores = keyset.open(message.score_batch)
        found |= dict(zip(message.directory.subject_ids, scores.tolist(), strict=True))
    return found


def close_to(people, face, numbers):
    return pytest.approx({f"s{number}": float(people[number] @ face) for number in numbers}, abs=1e-3)


async def enroll_until_it_fails(galleries, keyset, people, numbers, acknowledged):
    for number in numbers:
        try:
            made = await galleries.Enroll(enroll_request(keyset, number, people[number]), timeout=CALL_TIMEOUT_S)
        except grpc.RpcError:
            return
        acknowledged[number] = made.name


async def test_it_serves_over_mutual_tls_and_stops_when_asked_to(matcher, keyset, people, face):
    await matcher.start_ready()
    async with stubs(matcher) as (galleries, matching):
        gallery = await create(galleries)
        assert gallery.key_version == keyset.material.key_version
        for number in range(3):
            await galleries.Enroll(enroll_request(keyset, number, people[number]), timeout=CALL_TIMEOUT_S)
        assert await search(matching, keyset, face) == close_to(people, face, range(3))
    assert await matcher.stop() == 0
    assert matcher.events("stopped")
    assert not [event for event in matcher.events("call") if event["level"] == "error"]


async def test_other_identities_are_refused(matcher):
    await matcher.start_ready()
    async with stubs(matcher) as (galleries, _):
        await create(galleries)
    for identity in ("embedding", "keys", "matching"):
        async with matcher.channel(identity) as channel:
            galleries = gallery_service_pb2_grpc.GalleryServiceStub(channel)
            with pytest.raises(grpc.RpcError) as caught:
                await galleries.ListGalleries(gallery_service_pb2.ListGalleriesRequest(), timeout=CALL_TIMEOUT_S)
            assert error_from_rpc(caught.value).reason is Reason.IDENTITY_DENIED


async def test_every_acknowledged_enrollment_survives_kill_9_and_nothing_is_half_written(
    matcher, keyset, face, tmp_path
):
    people = np.random.default_rng(3).normal(size=(200, 64))
    people /= np.linalg.norm(people, axis=1, keepdims=True)
    acknowledged = {}
    await matcher.start_ready()
    async with stubs(matcher) as (galleries, _):
        await create(galleries)
    numbers = iter(range(len(people)))
    async with stubs(matcher) as (galleries, _):
        enrolling = [
            asyncio.create_task(enroll_until_it_fails(galleries, keyset, people, numbers, acknowledged))
            for _ in range(4)
        ]
        async with asyncio.timeout(CALL_TIMEOUT_S):
            while len(acknowledged) < 15:
                await asyncio.sleep(0.001)
        await matcher.kill()
        await asyncio.gather(*enrolling)
    await matcher.start_ready()
    async with stubs(matcher) as (galleries, matching):
        found = await search(matching, keyset, face)
        present = {int(subject[1:]) for subject in found}
        assert set(acknowledged) <= present
        assert found == close_to(people, face, present)
        for number, name in acknowledged.items():
            enrollment = await galleries.GetEnrollment(gallery_service_pb2.GetEnrollmentRequest(name=name))
            assert enrollment.subject == f"galleries/staff/subjects/s{number}"
        gallery = await galleries.GetGallery(gallery_service_pb2.GetGalleryRequest(name="galleries/staff"))
        assert gallery.enrollment_count == gallery.subject_count == len(present)
        assert gallery.template_bytes == len(present) * len(keyset.reference(people[0]).ciphertext)
    await matcher.stop()
    connection = sqlite3.connect(tmp_path / "matching.db")
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    for table in ("enrollments", "templates", "requests", "subjects"):
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (len(present),)
    connection.close()


async def test_a_wrong_setting_is_named_and_nothing_starts(matcher):
    matcher._environment.pop("VEILFACE_TRUST_STORE")
    with pytest.raises(AssertionError, match="VEILFACE_TRUST_STORE"):
        await matcher.start()
    assert await matcher.stop() == 78
