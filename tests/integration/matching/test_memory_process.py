"""How much memory the service as a process of its own takes: for many searches at once, and for enrolled galleries."""

import asyncio

import numpy as np
import pytest

from veilface.crypto.contract import TemplateSpace
from veilface.matching.v1 import (
    gallery_service_pb2,
    gallery_service_pb2_grpc,
    matching_service_pb2,
    matching_service_pb2_grpc,
)

MEBIBYTE = 1 << 20
SMALLEST_BUDGET_BYTES = 64 * MEBIBYTE
CALL_TIMEOUT_S = 120

SEARCHES = 20
WORKERS = 8
# The work space that each thread keeps, and what the allocator does not give back.
MARGIN_BYTES = (5 * WORKERS + 32) * MEBIBYTE
GALLERIES = 30


def segment_bytes(dimension):
    return 13 * dimension * 4096


def unit(dimension, seed):
    drawn = np.random.default_rng(seed).normal(size=dimension)
    return drawn / np.linalg.norm(drawn)


async def enroll(matcher, keyset, vector, gallery):
    async with matcher.channel() as channel:
        stub = gallery_service_pb2_grpc.GalleryServiceStub(channel)
        request = gallery_service_pb2.CreateGalleryRequest(gallery_id=gallery, key="keys/faces")
        await stub.CreateGallery(request, timeout=CALL_TIMEOUT_S)
        template = keyset.reference(vector, space=TemplateSpace(len(vector)))
        await stub.Enroll(
            gallery_service_pb2.EnrollRequest(
                gallery=f"galleries/{gallery}", subject_id="somebody", template=template, request_id=gallery
            ),
            timeout=CALL_TIMEOUT_S,
        )


async def search(stub, keyset, probe, gallery):
    """The score of the only one enrolled."""
    request = matching_service_pb2.SearchGalleryRequest(gallery=f"galleries/{gallery}", probe=probe)
    (message,) = [message async for message in stub.SearchGallery(request, timeout=CALL_TIMEOUT_S)]
    (score,) = keyset.open(message.score_batch)[1]
    return score


async def growth_of_searches_at_once(matcher, keyset, dimension):
    reference, probe = unit(dimension, 1), unit(dimension, 2)
    template = keyset.probe(probe, space=TemplateSpace(dimension))
    await matcher.start_ready()
    async with matcher.channel() as channel:
        stub = matching_service_pb2_grpc.MatchingServiceStub(channel)
        await search(stub, keyset, template, "one")
        before = matcher.resident_bytes()
        matcher.forget_peak()
        scores = await asyncio.gather(*(search(stub, keyset, template, "one") for _ in range(SEARCHES)))
        assert scores == pytest.approx([float(reference @ probe)] * SEARCHES, abs=1e-3)
        growth_bytes = matcher.peak_bytes() - before
    await matcher.stop()
    return growth_bytes


async def test_many_searches_at_once_stay_within_their_budget(matcher, keyset):
    dimension, budget_bytes = 256, 2 * SMALLEST_BUDGET_BYTES
    # With so many threads, only the budget keeps searches from expanding at the same time.
    matcher.set(VEILFACE_WORKERS=str(WORKERS), VEILFACE_SEARCH_MEMORY_BYTES=str(budget_bytes))
    await matcher.start_ready()
    await enroll(matcher, keyset, unit(dimension, 1), "one")
    await matcher.stop()
    within = await growth_of_searches_at_once(matcher, keyset, dimension)
    matcher.set(VEILFACE_SEARCH_MEMORY_BYTES=str(64 * budget_bytes))
    without_limit = await growth_of_searches_at_once(matcher, keyset, dimension)
    assert within < budget_bytes + MARGIN_BYTES < without_limit


async def growth_of_all_galleries(matcher, keyset, dimension):
    template = keyset.probe(unit(dimension, 2), space=TemplateSpace(dimension))
    await matcher.start_ready()
    async with matcher.channel() as channel:
        stub = matching_service_pb2_grpc.MatchingServiceStub(channel)
        await search(stub, keyset, template, "g0")
        before = matcher.resident_bytes()
        matcher.forget_peak()
        for _ in range(2):
            for number in range(GALLERIES):
                score = await search(stub, keyset, template, f"g{number}")
                assert abs(score - float(unit(dimension, number) @ unit(dimension, 2))) < 1e-3
        growth_bytes = matcher.peak_bytes() - before
    await matcher.stop()
    return growth_bytes


@pytest.mark.full
async def test_enrolled_galleries_beyond_the_memory_are_searched_within_the_budget(matcher, keyset):
    dimension = 128
    budgets = {
        "VEILFACE_SEGMENT_MEMORY_BYTES": str(SMALLEST_BUDGET_BYTES),
        "VEILFACE_SEARCH_MEMORY_BYTES": str(SMALLEST_BUDGET_BYTES),
    }
    matcher.set(**budgets)
    await matcher.start_ready()
    for number in range(GALLERIES):
        await enroll(matcher, keyset, unit(dimension, number), f"g{number}")
    await matcher.stop()
    within = await growth_of_all_galleries(matcher, keyset, dimension)
    galleries_bytes = GALLERIES * segment_bytes(dimension)
    assert within < 2 * SMALLEST_BUDGET_BYTES + 32 * MEBIBYTE < galleries_bytes
    matcher.set(VEILFACE_SEGMENT_MEMORY_BYTES=str(4 * galleries_bytes))
    assert await growth_of_all_galleries(matcher, keyset, dimension) > galleries_bytes
