"""The service as a process of its own: mutual TLS, readiness, kill -9, drain."""

import asyncio
import socket
import sqlite3
from contextlib import asynccontextmanager

import grpc
import grpc.aio
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from veilface.common.errors import Reason
from veilface.common.process import EXIT_CONFIGURATION
from veilface.common.status import error_from_rpc
from veilface.matching.v1 import (
    gallery_service_pb2,
    gallery_service_pb2_grpc,
    matching_service_pb2,
    matching_service_pb2_grpc,
)

CALL_TIMEOUT_S = 60


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


async def test_a_taken_port_is_one_plain_line_and_exit_code_78(matcher):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        matcher.set(VEILFACE_LISTEN=address)
        with pytest.raises(AssertionError, match=address):
            await matcher.start()
    assert await matcher.stop() == EXIT_CONFIGURATION
    assert "Traceback" not in matcher.log.read_text()


async def test_it_listens_and_is_not_ready_while_the_record_store_is_away(matcher, tmp_path):
    connection = sqlite3.connect(tmp_path / "matching.db", isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    await matcher.start()
    async with matcher.channel() as channel, asyncio.timeout(CALL_TIMEOUT_S):
        watch = aiter(health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest()))
        assert (await anext(watch)).status == health_pb2.HealthCheckResponse.NOT_SERVING
        galleries = gallery_service_pb2_grpc.GalleryServiceStub(channel)
        with pytest.raises(grpc.RpcError, match="database") as caught:
            await galleries.ListGalleries(gallery_service_pb2.ListGalleriesRequest())
        assert error_from_rpc(caught.value).reason is Reason.NOT_READY
        connection.execute("ROLLBACK")
        connection.close()
        assert (await anext(watch)).status == health_pb2.HealthCheckResponse.SERVING
        await galleries.ListGalleries(gallery_service_pb2.ListGalleriesRequest())


async def test_it_stops_when_asked_to_while_the_record_store_is_away(matcher):
    matcher.set(VEILFACE_DATABASE_URL="postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    await matcher.start()
    assert await matcher.stop() == 0


async def test_a_wrong_setting_is_named_and_nothing_starts(matcher):
    matcher._environment.pop("VEILFACE_TRUST_STORE")
    with pytest.raises(AssertionError, match="VEILFACE_TRUST_STORE"):
        await matcher.start()
    assert await matcher.stop() == EXIT_CONFIGURATION
