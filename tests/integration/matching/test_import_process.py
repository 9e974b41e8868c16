"""Bulk import into the service as a process of its own: mutual TLS, kill -9, and how much memory a search takes."""

import asyncio

import grpc
import numpy as np
import pytest
from tests.integration.matching.matcher_process import MatcherProcess

from veilface.client.calls import ServiceCalls
from veilface.client.galleries import gallery_from_proto
from veilface.client.import_source import ImportSource
from veilface.client.imports import Imports
from veilface.client.steps import Service
from veilface.common.channel import open_sync_channel
from veilface.common.errors import PermissionDeniedError, Reason
from veilface.common.pki import tls_settings
from veilface.crypto.contract import TemplateSpace
from veilface.matching.v1 import (
    gallery_service_pb2,
    gallery_service_pb2_grpc,
    matching_service_pb2,
    matching_service_pb2_grpc,
)

CAPACITY = 4096
DIMENSION = 64
SEGMENT_BYTES = 13 * DIMENSION * CAPACITY
SEGMENTS = 40
BUDGET_BYTES = 64 << 20
# Who is in which slot, which is remembered beside the segments; then a pass's results, messages, and the allocator's.
LISTING_BYTES = 100 * SEGMENTS * CAPACITY
MARGIN_BYTES = LISTING_BYTES + (32 << 20)
CALL_TIMEOUT_S = 60


def crowd_of(segments):
    drawn = np.random.default_rng(12).normal(size=(segments * CAPACITY, DIMENSION)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


class FixedKeys:
    def __init__(self, material):
        self.material = material

    def fetch(self, key_version):
        return self.material


class Operator:
    """Creates the gallery and imports."""

    def __init__(self, matcher, keyset, identity="operator"):
        self.channel = open_sync_channel(matcher.address, tls_settings(matcher.folder, identity))
        self.stub = gallery_service_pb2_grpc.GalleryServiceStub(self.channel)
        calls = ServiceCalls(Service.MATCHING, matcher.address, CALL_TIMEOUT_S)
        self.imports = Imports(self.channel, calls, FixedKeys(keyset.material), lambda: keyset.operator_signer)

    def create(self, gallery="staff"):
        request = gallery_service_pb2.CreateGalleryRequest(gallery_id=gallery, key="keys/faces")
        self.stub.CreateGallery(request, timeout=CALL_TIMEOUT_S)

    def run(self, vectors, on_progress=lambda count: None, gallery="staff"):
        source = ImportSource(vectors, tuple(f"p{number}" for number in range(len(vectors))))
        request = gallery_service_pb2.GetGalleryRequest(name=f"galleries/{gallery}")
        found = gallery_from_proto(self.stub.GetGallery(request, timeout=CALL_TIMEOUT_S))
        return self.imports.run(found, source, model="dlib-resnet/hog/chip", on_progress=on_progress)


async def search(matcher: MatcherProcess, keyset, probe, gallery="staff"):
    """All scores in the order of the enrollments, and the statistics."""
    template = keyset.probe(probe, space=TemplateSpace(DIMENSION))
    request = matching_service_pb2.SearchGalleryRequest(gallery=f"galleries/{gallery}", probe=template)
    async with matcher.channel() as channel:
        stub = matching_service_pb2_grpc.MatchingServiceStub(channel)
        messages = [message async for message in stub.SearchGallery(request, timeout=CALL_TIMEOUT_S)]
    return np.concatenate([keyset.open(message.score_batch)[1] for message in messages]), messages[-1].statistics


@pytest.fixture
def probe():
    drawn = np.random.default_rng(13).normal(size=DIMENSION)
    return drawn / np.linalg.norm(drawn)


async def test_an_import_goes_on_after_the_service_was_killed_between_segments(matcher, keyset, probe):
    crowd = crowd_of(3)
    await matcher.start_ready()
    operator = Operator(matcher, keyset)
    await asyncio.to_thread(operator.create)
    loop = asyncio.get_running_loop()

    def kill(count):
        asyncio.run_coroutine_threadsafe(matcher.kill(), loop).result(CALL_TIMEOUT_S)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await asyncio.to_thread(operator.run, crowd, kill)
    await matcher.start_ready()
    report = await asyncio.to_thread(Operator(matcher, keyset).run, crowd)
    assert (report.segment_count, report.known_segment_count) == (3, 1)
    scores, statistics = await search(matcher, keyset, probe)
    assert np.abs(scores - crowd.astype(np.float64) @ probe).max() < 1e-3
    assert statistics.segments_from_disk == 3


async def test_clients_may_not_import_and_operators_may(matcher, keyset):
    await matcher.start_ready()
    await asyncio.to_thread(Operator(matcher, keyset).create)
    with pytest.raises(PermissionDeniedError) as caught:
        await asyncio.to_thread(Operator(matcher, keyset, "client").run, crowd_of(1)[:5])
    assert caught.value.reason is Reason.IDENTITY_DENIED
    stub = Operator(matcher, keyset, "client").stub
    with pytest.raises(grpc.RpcError) as refused:
        await asyncio.to_thread(stub.ImportSegment, iter([gallery_service_pb2.ImportSegmentRequest()]), CALL_TIMEOUT_S)
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert (await asyncio.to_thread(Operator(matcher, keyset).run, crowd_of(1)[:5])).enrollment_count == 5


async def test_a_gallery_beyond_the_memory_is_searched_within_the_budget(matcher, keyset, probe):
    crowd = crowd_of(SEGMENTS)
    gallery_bytes = SEGMENTS * SEGMENT_BYTES
    matcher.set(VEILFACE_SEGMENT_MEMORY_BYTES=str(BUDGET_BYTES))
    await matcher.start_ready()
    operator = Operator(matcher, keyset)
    await asyncio.to_thread(operator.create)
    await asyncio.to_thread(operator.run, crowd)
    await asyncio.to_thread(operator.create, "few")
    await asyncio.to_thread(operator.run, crowd[:2], gallery="few")
    await matcher.stop()
    within = await peak_growth(matcher, keyset, probe, crowd)
    assert within < BUDGET_BYTES + MARGIN_BYTES < gallery_bytes
    matcher.set(VEILFACE_SEGMENT_MEMORY_BYTES=str(4 * gallery_bytes))
    without_limit = await peak_growth(matcher, keyset, probe, crowd)
    assert without_limit > gallery_bytes


async def peak_growth(matcher, keyset, probe, crowd):
    """By how much two searches of the large gallery raise the peak of a process that has searched the small one."""
    await matcher.start_ready()
    await search(matcher, keyset, probe, "few")
    before = matcher.resident_bytes()
    matcher.forget_peak()
    for _ in range(2):
        scores, _ = await search(matcher, keyset, probe)
        assert np.abs(scores - crowd.astype(np.float64) @ probe).max() < 1e-3
    peak = matcher.peak_bytes()
    await matcher.stop()
    return peak - before
