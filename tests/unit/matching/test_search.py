import asyncio

import numpy as np
import pytest

from veilface.common.attested import Circuit
from veilface.common.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    InvalidCiphertextError,
    NotFoundError,
    PermissionDeniedError,
    Reason,
    UnavailableError,
)
from veilface.common.names import GalleryName
from veilface.matching.domain.segments.cache import Origin

STAFF = GalleryName("staff")


def vectors(count, seed=0):
    drawn = np.random.default_rng(seed).normal(size=(count, 4))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


async def enroll_all(world, gallery_vectors):
    for number, vector in enumerate(gallery_vectors, 1):
        await world.enroll(f"s{number}", vector)


def assert_scores(found, gallery_vectors, probe, erased=()):
    expected = {
        number: float(vector @ probe) for number, vector in enumerate(gallery_vectors, 1) if number not in erased
    }
    assert found.keys() == expected.keys()
    for number, score in expected.items():
        assert found[number] == pytest.approx(score, abs=1e-12)


async def test_everybody_is_compared_with(world):
    gallery, probe = vectors(11), vectors(1, seed=9)[0]
    await enroll_all(world, gallery)
    assert_scores(await world.scores(probe), gallery, probe)


async def test_an_empty_gallery_is_answered_by_statistics_alone(world):
    (part,) = await world.search(vectors(1)[0])
    assert part.segment is None
    assert (part.statistics.enrollment_count, part.statistics.segment_count) == (0, 0)


async def test_a_gallery_whose_enrollments_are_all_erased_is_empty(world):
    gallery = vectors(2)
    await enroll_all(world, gallery)
    assert len(await world.scores(gallery[0])) == 2
    await world.matching.enrollments.erase(STAFF.enrollment(1))
    await world.matching.enrollments.erase(STAFF.enrollment(2))
    (part,) = await world.search(gallery[0])
    assert part.segment is None


async def test_there_is_one_batch_for_each_segment_that_is_not_empty(world):
    await enroll_all(world, vectors(10))
    for number in (5, 6, 7, 8):
        await world.matching.enrollments.erase(STAFF.enrollment(number))
    parts = await world.search(vectors(1)[0])
    tickets = [world.ticket(part.segment.scores) for part in parts]
    assert [ticket.score_count for ticket in tickets] == [4, 2]
    assert [ticket.batch_index for ticket in tickets] == [0, 1]
    assert {ticket.batch_count for ticket in tickets} == {2}
    assert [part.statistics is not None for part in parts] == [False, True]


async def test_the_tickets_of_one_answer_belong_together_and_say_what_was_done(world):
    gallery = vectors(6)
    await enroll_all(world, gallery)
    probe = world.embedder.probe(gallery[0])
    parts = [part async for part in world.matching.search.search(STAFF, probe)]
    tickets = [world.ticket(part.segment.scores) for part in parts]
    current = await world.matching.galleries.get(STAFF)
    assert len({ticket.nonce for ticket in tickets}) == 1
    for ticket in tickets:
        assert (ticket.gallery, ticket.generation, ticket.subject) == ("galleries/staff", current.generation, "")
        assert (ticket.circuit, ticket.model) == (Circuit.SEARCH, "dlib-resnet/hog/chip")
        assert ticket.probe_sha256.hex() in probe.statement_bytes.hex()
    again = [part async for part in world.matching.search.search(STAFF, probe)]
    assert world.ticket(again[0].segment.scores).nonce != tickets[0].nonce


async def test_tickets_name_the_place_of_their_scores_which_no_erasure_moves(world):
    await enroll_all(world, vectors(6))
    before = [world.ticket(part.segment.scores) for part in await world.search(vectors(1)[0])]
    assert [ticket.segment for ticket in before] == [0, 1]
    await world.matching.enrollments.erase_subject(STAFF.subject("s2"))
    for number in (1, 3, 4):
        await world.matching.enrollments.erase(STAFF.enrollment(number))
    (after,) = [world.ticket(part.segment.scores) for part in await world.search(vectors(1)[0])]
    assert (after.batch_index, after.segment, after.gallery_uid) == (0, 1, before[0].gallery_uid)
    await world.matching.galleries.delete(STAFF)
    await world.create()
    await world.enroll("new", vectors(1, seed=5)[0])
    (again,) = [world.ticket(part.segment.scores) for part in await world.search(vectors(1)[0])]
    assert again.gallery_uid != after.gallery_uid


async def test_directories_name_the_subjects_of_the_scores(world):
    await enroll_all(world, vectors(6))
    await world.matching.enrollments.erase(STAFF.enrollment(2))
    parts = await world.search(vectors(1)[0])
    assert [part.segment.directory.subject_ids for part in parts] == [("s1", "s3", "s4"), ("s5", "s6")]


async def test_an_erased_enrollment_is_in_no_later_search(world):
    gallery, probe = vectors(9), vectors(1, seed=9)[0]
    await enroll_all(world, gallery)
    assert_scores(await world.scores(probe), gallery, probe)
    await world.matching.enrollments.erase(STAFF.enrollment(3))
    assert_scores(await world.scores(probe), gallery, probe, erased={3})
    await world.matching.enrollments.erase_subject(STAFF.subject("s9"))
    assert_scores(await world.scores(probe), gallery, probe, erased={3, 9})


async def test_a_slot_is_not_given_to_anybody_else(world):
    gallery = vectors(4)
    await enroll_all(world, gallery)
    await world.matching.enrollments.erase(STAFF.enrollment(4))
    await world.enroll("new", gallery[0])
    parts = await world.search(gallery[0])
    assert [part.segment.directory.subject_ids for part in parts] == [("s1", "s2", "s3"), ("new",)]


async def test_a_search_answers_about_the_generation_that_it_began_with(world):
    gallery = vectors(4)
    await enroll_all(world, gallery)
    snapshots = world.matching.search._snapshots
    take = snapshots.take

    def take_and_let_others_enroll(name):
        taken = take(name)
        asyncio.run_coroutine_threadsafe(world.enroll("late", gallery[0]), loop).result(10)
        return taken

    loop = asyncio.get_running_loop()
    snapshots.take = take_and_let_others_enroll
    found = await world.scores(gallery[0])
    snapshots.take = take
    assert set(found) == {1, 2, 3, 4}
    assert set(await world.scores(gallery[0])) == {1, 2, 3, 4, 5}


async def test_a_search_that_loses_an_enrollment_before_it_is_read_answers_about_the_newer_generation(make_world):
    writer, reader = make_world(), make_world()
    await writer.create()
    gallery, probe = vectors(4), vectors(1, seed=9)[0]
    await enroll_all(writer, gallery)
    await writer.settle()
    writer.shared.entries.clear()
    snapshots = reader.matching.search._snapshots
    take, loop, erased = snapshots.take, asyncio.get_running_loop(), []

    def take_and_let_others_erase(name):
        taken = take(name)
        if not erased:
            erased.append(2)
            erase = writer.matching.enrollments.erase(STAFF.enrollment(2))
            asyncio.run_coroutine_threadsafe(erase, loop).result(10)
        return taken

    snapshots.take = take_and_let_others_erase
    assert_scores(await reader.scores(probe), gallery, probe, erased={2})


async def test_a_search_that_loses_enrollments_in_the_middle_is_to_be_tried_again(make_world, monkeypatch):
    world = make_world(window_bytes=1, memory_bytes=2)
    await world.create()
    gallery = vectors(8)
    await enroll_all(world, gallery)
    await world.settle()
    world.shared.entries.clear()
    obtain, may_go_on = world.matching.library.obtain, asyncio.Event()

    async def obtain_slowly(snapshot):
        if snapshot.place.number:
            await may_go_on.wait()
        return await obtain(snapshot)

    monkeypatch.setattr(world.matching.library, "obtain", obtain_slowly)
    parts = world.matching.search.search(STAFF, world.embedder.probe(gallery[0]))
    await anext(parts)
    await world.matching.enrollments.erase(STAFF.enrollment(7))
    may_go_on.set()
    with pytest.raises(UnavailableError) as caught:
        [part async for part in parts]
    assert caught.value.reason is Reason.GALLERY_CHANGED
    assert len(await world.scores(gallery[0])) == 7


async def test_segments_beyond_the_memory_are_searched_in_several_passes(make_world):
    segment_bytes = 4 * 4 * 8
    world = make_world(memory_bytes=4 * segment_bytes, window_bytes=2 * segment_bytes)
    await world.create()
    gallery, probe = vectors(30), vectors(1, seed=9)[0]
    await enroll_all(world, gallery)
    await world.settle()
    world.comparer.passes.clear()
    assert_scores(await world.scores(probe), gallery, probe)
    assert sum(world.comparer.passes) == 8
    assert len(world.comparer.passes) > 1


async def test_segments_in_memory_are_searched_in_one_pass(world):
    await enroll_all(world, vectors(30))
    await world.settle()
    world.comparer.passes.clear()
    (*_, last) = await world.search(vectors(1)[0])
    assert world.comparer.passes == [8]
    assert last.statistics.origins == {Origin.MEMORY: 8}
    assert last.statistics.gallery_bytes == 8 * 4 * 4 * 8
    assert last.statistics.enrollment_count == 30


async def test_a_scheme_without_segments_is_searched_one_by_one(make_world, loop_comparer):
    world = make_world(loop_comparer)
    await world.create()
    gallery, probe = vectors(5), vectors(1, seed=9)[0]
    await enroll_all(world, gallery)
    await world.matching.enrollments.erase(STAFF.enrollment(2))
    assert_scores(await world.scores(probe), gallery, probe, erased={2})
    parts = await world.search(probe)
    assert [world.ticket(part.segment.scores).batch_count for part in parts] == [4] * 4
    assert loop_comparer.comparisons == 8
    assert loop_comparer.passes == []


async def test_an_unsigned_probe_is_refused(world):
    await enroll_all(world, vectors(1))
    stranger = type(world.embedder)()
    with pytest.raises(PermissionDeniedError):
        [part async for part in world.matching.search.search(STAFF, stranger.probe(vectors(1)[0]))]


async def test_a_reference_cannot_be_searched_with(world):
    await enroll_all(world, vectors(1))
    with pytest.raises(InvalidArgumentError) as caught:
        [part async for part in world.matching.search.search(STAFF, world.embedder.reference(vectors(1)[0]))]
    assert caught.value.reason is Reason.WRONG_USE


@pytest.mark.parametrize("enrolled", [0, 3])
async def test_a_malformed_probe_is_refused_in_every_gallery(world, enrolled):
    await enroll_all(world, vectors(enrolled) if enrolled else [])
    probe = world.embedder.probe(vectors(1)[0], ciphertext=b"rubbish")
    with pytest.raises(InvalidCiphertextError):
        [part async for part in world.matching.search.search(STAFF, probe)]


async def test_a_probe_of_another_model_is_refused(world):
    await enroll_all(world, vectors(1))
    probe = world.embedder.probe(vectors(1)[0], model="facenet")
    with pytest.raises(FailedPreconditionError) as caught:
        [part async for part in world.matching.search.search(STAFF, probe)]
    assert caught.value.reason is Reason.WRONG_MODEL


async def test_a_gallery_that_does_not_exist_is_not_found(world):
    with pytest.raises(NotFoundError) as caught:
        await world.search(vectors(1)[0], GalleryName("nowhere"))
    assert caught.value.reason is Reason.GALLERY_NOT_FOUND


async def test_a_searcher_that_goes_away_leaves_the_service_well(world):
    gallery, probe = vectors(9), vectors(1, seed=9)[0]
    await enroll_all(world, gallery)
    task = asyncio.create_task(world.scores(probe))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert_scores(await world.scores(probe), gallery, probe)
