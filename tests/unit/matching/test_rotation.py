"""Moving galleries to a newer key version. What is moved to version 2 has scores twice as large, so a mixture shows."""

import asyncio
import hashlib
from contextlib import aclosing
from datetime import UTC, datetime

import numpy as np
import pytest
from sqlalchemy import func, select

from veilface.common.attested_segments import SegmentStatement, subject_ids_sha256
from veilface.common.errors import (
    DataLossError,
    FailedPreconditionError,
    InvalidArgumentError,
    Reason,
    UnavailableError,
)
from veilface.common.names import GalleryName, KeyVersionName
from veilface.crypto.contract import Scheme, TemplateSpace
from veilface.matching.domain.blobs.folder import BlobFolder
from veilface.matching.domain.records import SegmentDraft
from veilface.matching.domain.store.identity import read_identity
from veilface.matching.domain.store.imports import ImportRecords
from veilface.matching.domain.store.moves import MoveRecords
from veilface.matching.domain.store.schema import EnrollmentRow, MovedSegmentRow, MoveRow, SegmentRow, TemplateTable

ON_BOTH_DATABASES = True
GALLERY = GalleryName("staff")
OLD = "keys/faces/versions/1"
TARGET = KeyVersionName("faces", 2)
NEW = {"key_version": str(TARGET)}
PEOPLE = np.random.default_rng(5).normal(size=(10, 4))
FACE = np.random.default_rng(6).normal(size=4)


def expected(*numbers, factor=1):
    return {number: pytest.approx(factor * PEOPLE[number - 1] @ FACE) for number in numbers}


async def enroll(world, *numbers, **changes):
    for number in numbers:
        await world.enroll(f"s{number}", PEOPLE[number - 1], **changes)


async def rotate(world, target=TARGET):
    """Every report on the way."""
    async with aclosing(world.matching.rotation.rotate(GALLERY, target)) as reports:
        return [report async for report in reports]


async def interrupted(world, after):
    """Begin a move, and give it up after so many reports."""
    async with aclosing(world.matching.rotation.rotate(GALLERY, TARGET)) as reports:
        for _ in range(after):
            await anext(reports)


def count(world, table, *where):
    with world.database.read() as connection:
        return connection.scalar(select(func.count()).select_from(table).where(*where))


async def test_everything_is_under_the_new_version_afterwards_and_nothing_of_the_old_is_left(world):
    await enroll(world, 1, 2, 3, 4, 5, 6)
    await world.search(FACE)
    before = await world.matching.galleries.get(GALLERY)
    reports = await rotate(world)
    assert (reports[0].moved_count, reports[0].enrollment_count, reports[0].is_switched) == (0, 6, False)
    assert (reports[-1].moved_count, reports[-1].enrollment_count, reports[-1].is_switched) == (6, 6, True)
    assert await world.scores(FACE, **NEW) == expected(1, 2, 3, 4, 5, 6, factor=2)
    gallery = await world.matching.galleries.get(GALLERY)
    assert gallery.key_version == str(TARGET)
    assert gallery.generation > before.generation
    assert gallery.template_bytes == before.template_bytes
    enrollments, _ = await world.matching.enrollments.page(GALLERY, None, 10, "")
    assert {enrollment.key_version for enrollment in enrollments} == {str(TARGET)}
    assert count(world, TemplateTable) == 6
    assert count(world, TemplateTable, TemplateTable.key_version == OLD) == 0
    assert count(world, MoveRow) == 0


async def test_a_second_call_finds_nothing_to_do(world):
    await enroll(world, 1)
    await rotate(world)
    reports = await rotate(world)
    assert [report.is_switched for report in reports] == [True]
    assert world.reencryption.batches == [1]


async def test_an_empty_gallery_moves(world):
    assert (await rotate(world))[-1].is_switched
    await enroll(world, 1, **NEW)
    assert await world.scores(FACE, **NEW) == expected(1)


async def test_the_next_version_follows_the_last(world):
    await enroll(world, 1, 2)
    await rotate(world)
    await rotate(world, KeyVersionName("faces", 4))
    assert await world.scores(FACE, key_version="keys/faces/versions/4") == expected(1, 2, factor=4)


async def test_searches_are_answered_under_the_old_version_until_the_switch(world):
    await enroll(world, 1, 2, 3)
    answers = []

    async def search():
        answers.append(await world.scores(FACE))

    world.reencryption.before = search
    await rotate(world)
    assert answers == [expected(1, 2, 3)]
    assert await world.scores(FACE, **NEW) == expected(1, 2, 3, factor=2)


async def test_a_probe_of_the_other_version_is_refused_with_the_name_of_the_right_one(world):
    await enroll(world, 1)
    await interrupted(world, after=1)
    with pytest.raises(FailedPreconditionError, match="versions/1'") as caught:
        await world.scores(FACE, **NEW)
    assert caught.value.reason is Reason.WRONG_KEY_VERSION
    await rotate(world)
    with pytest.raises(FailedPreconditionError, match="versions/2'") as caught:
        await world.scores(FACE)
    assert caught.value.reason is Reason.WRONG_KEY_VERSION


async def test_what_is_enrolled_and_erased_meanwhile_is_in_and_out(world):
    await enroll(world, 1, 2, 3, 4)
    begun = asyncio.Event()

    async def change():
        if not begun.is_set():
            begun.set()
            await enroll(world, 5, 6)
            await world.matching.enrollments.erase(GALLERY.enrollment(2))
            await world.matching.enrollments.erase_subject(GALLERY.subject("s6"))

    world.reencryption.before = change
    reports = await rotate(world)
    assert reports[-1].is_switched
    assert await world.scores(FACE, **NEW) == expected(1, 3, 4, 5, factor=2)
    assert count(world, TemplateTable) == count(world, EnrollmentRow) == 4


async def test_an_erasure_after_it_was_moved_takes_both_templates_away(world):
    await enroll(world, 1, 2)
    await interrupted(world, after=2)
    assert count(world, TemplateTable) == 4
    await world.matching.enrollments.erase(GALLERY.enrollment(1))
    assert count(world, TemplateTable) == 2
    await rotate(world)
    assert await world.scores(FACE, **NEW) == expected(2, factor=2)


async def test_who_enrolls_faster_than_things_move_is_held_up_for_a_moment(world):
    await enroll(world, 1)
    refused = []

    async def enroll_one_more():
        # Before every batch, so that without closed doors there would always be one more to move.
        number = 2 + len(world.reencryption.batches) + len(refused)
        try:
            await world.enroll(f"s{number}", PEOPLE[number - 1])
        except UnavailableError as error:
            refused.append(error.reason)

    world.reencryption.before = enroll_one_more
    await rotate(world)
    world.reencryption.before = None
    assert refused == [Reason.GALLERY_MOVING]
    moved = count(world, EnrollmentRow)
    assert await world.scores(FACE, **NEW) == expected(*range(1, moved + 1), factor=2)
    await enroll(world, 9, **NEW)


@pytest.mark.parametrize("reports", [1, 2, 3])
async def test_what_was_interrupted_is_continued(make_world, monkeypatch, reports):
    monkeypatch.setattr("veilface.matching.domain.rotation._TEMPLATES_PER_BATCH", 2)
    first = make_world()
    await first.create()
    await enroll(first, 1, 2, 3, 4, 5, 6)
    await interrupted(first, after=reports)
    assert await first.scores(FACE) == expected(1, 2, 3, 4, 5, 6)
    done = 2 * (reports - 1)
    second = make_world()
    second.reencryption.trust = first.reencryption.trust
    first_report, *_ = await rotate(first)
    assert first_report.moved_count == done
    assert sum(first.reencryption.batches) == 6
    assert await second.scores(FACE, **NEW) == expected(1, 2, 3, 4, 5, 6, factor=2)


async def test_old_templates_that_were_not_removed_yet_are_removed_by_the_next_call(world, monkeypatch):
    await enroll(world, 1, 2, 3)

    def fail(*_):
        raise UnavailableError(Reason.DEPENDENCY_UNAVAILABLE, "killed here")

    with monkeypatch.context() as patched:
        patched.setattr(MoveRecords, "remove_others", fail)
        with pytest.raises(UnavailableError):
            await rotate(world)
    assert count(world, TemplateTable) == 6
    assert await world.scores(FACE, **NEW) == expected(1, 2, 3, factor=2)
    await rotate(world)
    assert count(world, TemplateTable) == 3


async def test_a_move_that_was_given_up_gives_way_to_a_newer_one(world):
    await enroll(world, 1, 2)
    await interrupted(world, after=2)
    await rotate(world, KeyVersionName("faces", 3))
    assert await world.scores(FACE, key_version="keys/faces/versions/3") == expected(1, 2, factor=2)
    assert count(world, TemplateTable) == 2


@pytest.mark.parametrize("target", [KeyVersionName("faces", 1), KeyVersionName("other", 5)])
async def test_only_newer_versions_of_the_same_key_are_targets(world, target):
    await enroll(world, 1)
    await rotate(world)
    with pytest.raises(InvalidArgumentError) as caught:
        await rotate(world, target)
    assert caught.value.reason is Reason.WRONG_KEY_VERSION
    assert await world.scores(FACE, **NEW) == expected(1, factor=2)


async def test_the_next_person_gets_the_slot_behind_closed_gaps(world):
    await enroll(world, 1, 2, 3, 4, 5, 6)
    for number in (1, 3):
        await world.matching.enrollments.erase(GALLERY.enrollment(number))
    await rotate(world)
    with world.database.read() as connection:
        slots = connection.execute(
            select(EnrollmentRow.segment, EnrollmentRow.slot).order_by(EnrollmentRow.number)
        ).all()
        assert slots == [(0, 0), (0, 1), (1, 0), (1, 1)]
        assert connection.scalars(select(SegmentRow.next_slot)).all() == [2, 2]
    await enroll(world, 7, **NEW)
    scores = await world.scores(FACE, **NEW)
    assert scores == expected(2, 4, 5, 6, factor=2) | expected(7)


async def test_a_template_that_the_key_service_refuses_is_named_and_nothing_switches(world):
    await enroll(world, 1, 2)
    error = InvalidArgumentError(Reason.EMBEDDING_OUT_OF_RANGE, "not an embedding")
    moved = world.reencryption._moved
    answers = iter([None, error])
    world.reencryption._moved = lambda target, signed: next(answers) or moved(target, signed)
    with pytest.raises(FailedPreconditionError, match="enrollments/2") as caught:
        await rotate(world)
    assert caught.value.reason is Reason.EMBEDDING_OUT_OF_RANGE
    assert await world.scores(FACE) == expected(1, 2)


async def test_an_answer_about_another_template_is_refused(world):
    await enroll(world, 1, 2)
    moved = world.reencryption._moved
    world.reencryption._moved = lambda target, signed: moved(KeyVersionName("faces", 3), signed)
    with pytest.raises(UnavailableError, match="another template"):
        await rotate(world)


async def test_a_damaged_template_is_named_and_can_be_erased(world):
    await enroll(world, 1, 2)
    with world.database.write() as connection:
        connection.execute(TemplateTable.__table__.update().where(TemplateTable.number == 1).values(ciphertext=b"rot"))
    with pytest.raises(DataLossError, match="enrollments/1"):
        await rotate(world)
    await world.matching.enrollments.erase(GALLERY.enrollment(1))
    await rotate(world)
    assert await world.scores(FACE, **NEW) == expected(2, factor=2)


async def test_a_late_retry_of_an_enrollment_answers_what_it_made(world):
    made = await world.enroll("s1", PEOPLE[0], request_id="r1")
    await rotate(world)
    again = await world.enroll("s1", PEOPLE[0], request_id="r1")
    assert again.name == made.name
    with pytest.raises(FailedPreconditionError):
        await world.enroll("s2", PEOPLE[1], request_id="r2")


async def test_schemes_without_segments_move_and_never_mix(make_world, loop_comparer):
    world = make_world(loop_comparer)
    await world.create()
    await enroll(world, 1, 2, 3)
    await rotate(world)
    assert await world.scores(FACE, **NEW) == expected(1, 2, 3, factor=2)


async def test_another_replica_that_has_old_segments_in_memory_answers_from_new_ones(make_world):
    first, second = make_world(), make_world()
    await first.create()
    await enroll(first, 1, 2, 3)
    assert await second.scores(FACE) == expected(1, 2, 3)
    await rotate(first)
    assert await second.scores(FACE, **NEW) == expected(1, 2, 3, factor=2)


class Imported:
    """A gallery with an imported segment of four people; a fifth was enrolled after them."""

    def __init__(self, world, folder):
        self.world = world
        self.records = ImportRecords(world.database)
        self.folder = BlobFolder(folder, read_identity(world.database).store_id, grace_s=0)

    def add(self, capacity=6):
        rows = np.zeros((capacity, 4))
        rows[:4] = PEOPLE[:4]
        with self.folder.begin(1) as blob:
            blob.write(rows.tobytes())
            blob.keep()
            subjects = tuple(f"s{number}" for number in range(1, 5))
            statement = SegmentStatement(
                key_version=OLD,
                scheme=Scheme.CKKS_PACKED,
                profile="ckks-packed-128",
                space=TemplateSpace(4),
                model="dlib-resnet/hog/chip",
                gallery=GALLERY,
                slot_count=4,
                segment_bytes=rows.nbytes,
                segment_sha256=hashlib.sha256(rows.tobytes()).digest(),
                subject_ids_sha256=subject_ids_sha256(subjects),
                create_time=datetime(2030, 5, 17, tzinfo=UTC),
            )
        self.records.add(SegmentDraft("i1", statement, subjects, capacity))

    def collect_garbage(self):
        return self.folder.remove_others(1, self.records.blobs(1))


@pytest.fixture
async def imported(make_world, loop_comparer, tmp_path):
    comparer = type(loop_comparer)(capacity=6)
    world = make_world(comparer)
    await world.close()
    imported = Imported(world, tmp_path / "blobs")
    world = make_world(comparer, blobs=imported.folder)
    imported = Imported(world, tmp_path / "blobs")
    await world.create()
    imported.add()
    await enroll(world, 5)
    return imported


async def test_imported_segments_move_too_and_their_tombstones_go(imported):
    world = imported.world
    assert await world.scores(FACE) == expected(1, 2, 3, 4, 5)
    await world.matching.enrollments.erase(GALLERY.enrollment(2))
    reports = await rotate(world)
    assert (reports[-1].moved_count, reports[-1].enrollment_count) == (4, 4)
    assert world.reencryption.segments == [3]
    assert await world.scores(FACE, **NEW) == expected(1, 3, 4, 5, factor=2)
    gallery = await world.matching.galleries.get(GALLERY)
    assert gallery.template_bytes == 6 * 4 * 8 + 33
    assert imported.collect_garbage() == 1
    assert await world.scores(FACE, **NEW) == expected(1, 3, 4, 5, factor=2)
    assert count(world, MovedSegmentRow) == 0


async def test_what_is_erased_after_a_blob_was_moved_stays_out_and_its_slot_empty(imported):
    world = imported.world
    await interrupted(world, after=2)
    assert count(world, MovedSegmentRow) == 1
    assert imported.collect_garbage() == 0
    for number in (1, 4):
        await world.matching.enrollments.erase(GALLERY.enrollment(number))
    assert await world.scores(FACE) == expected(2, 3, 5)
    await rotate(world)
    assert world.reencryption.segments == [4]
    await enroll(world, 6, **NEW)
    assert await world.scores(FACE, **NEW) == expected(2, 3, 5, factor=2) | expected(6)


async def test_a_blob_is_moved_twice(imported):
    await imported.world.matching.enrollments.erase(GALLERY.enrollment(1))
    await rotate(imported.world)
    await imported.world.matching.enrollments.erase(GALLERY.enrollment(4))
    await rotate(imported.world, KeyVersionName("faces", 3))
    scores = await imported.world.scores(FACE, key_version="keys/faces/versions/3")
    assert scores == expected(2, 3, 5, factor=4)


STEPS = [
    ("moves", "begin"),
    ("moves", "unmoved_segments"),
    ("moves", "add_segment"),
    ("moves", "unmoved_templates"),
    ("moves", "add_templates"),
    ("switches", "switch"),
    ("moves", "remove_others"),
]


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(("store", "step"), STEPS)
async def test_a_replica_that_dies_at_any_step_leaves_no_mixture_and_another_one_goes_on(
    imported, make_world, monkeypatch, store, step, moment
):
    world = imported.world
    await world.matching.enrollments.erase(GALLERY.enrollment(2))
    records = getattr(world.matching.rotation._stores, store)
    done = getattr(records, step)
    deaths = []

    def die(*arguments):
        if moment == "after":
            done(*arguments)
        deaths.append(step)
        raise SystemError

    monkeypatch.setattr(records, step, die)
    with pytest.raises(SystemError):
        await rotate(world)
    assert deaths == [step]
    other = make_world(world.comparer, blobs=imported.folder)
    other.reencryption.trust = world.reencryption.trust
    has_switched = step == "remove_others" or (step, moment) == ("switch", "after")
    gallery = await other.matching.galleries.get(GALLERY)
    assert (gallery.key_version == str(TARGET)) is has_switched
    if has_switched:
        assert await other.scores(FACE, **NEW) == expected(1, 3, 4, 5, factor=2)
    else:
        assert await other.scores(FACE) == expected(1, 3, 4, 5)
    await rotate(other)
    assert await other.scores(FACE, **NEW) == expected(1, 3, 4, 5, factor=2)
    assert count(other, TemplateTable, TemplateTable.key_version == OLD) == 0
    assert (count(other, MoveRow), count(other, MovedSegmentRow)) == (0, 0)


async def compact(world, version=OLD):
    """The reports of one call."""
    async with aclosing(world.matching.rotation.compact(GALLERY, KeyVersionName.parse(version))) as reports:
        return [report async for report in reports]


async def test_compaction_takes_deleted_slots_out_of_a_blob_and_changes_no_score(imported):
    world = imported.world
    before = await world.matching.galleries.get(GALLERY)
    for number in (2, 4):
        await world.matching.enrollments.erase(GALLERY.enrollment(number))
    reports = await compact(world)
    assert (reports[-1].moved_count, reports[-1].enrollment_count) == (2, 2)
    assert world.reencryption.segments == [2]
    assert await world.scores(FACE) == expected(1, 3, 5)
    assert imported.collect_garbage() == 1
    assert await world.scores(FACE) == expected(1, 3, 5)
    after = await world.matching.galleries.get(GALLERY)
    assert (after.key_version, count(world, MoveRow), count(world, MovedSegmentRow)) == (OLD, 0, 0)
    assert after.generation > before.generation
    await enroll(world, 6)
    assert await world.scores(FACE) == expected(1, 3, 5, 6)
    await rotate(world)
    assert await world.scores(FACE, **NEW) == expected(1, 3, 5, 6, factor=2)


async def test_a_gallery_without_deleted_slots_is_compact_already(imported):
    reports = await compact(imported.world)
    assert [report.moved_count for report in reports] == [0]
    assert imported.world.reencryption.segments == []


async def test_who_is_erased_during_a_compaction_stays_out(imported):
    world = imported.world
    await world.matching.enrollments.erase(GALLERY.enrollment(1))

    async def erase():
        world.reencryption.before = None
        await world.matching.enrollments.erase(GALLERY.enrollment(3))
        await enroll(world, 6)

    world.reencryption.before = erase
    await compact(world)
    assert await world.scores(FACE) == expected(2, 4, 5, 6)
    # The blob was made with the third person still in it: the next compaction takes that slot out.
    assert world.reencryption.segments == [3]
    await compact(world)
    assert world.reencryption.segments == [3, 2]
    assert await world.scores(FACE) == expected(2, 4, 5, 6)


async def test_an_interrupted_compaction_is_continued_or_overtaken_by_a_move(imported):
    world = imported.world
    await world.matching.enrollments.erase(GALLERY.enrollment(1))

    async def fail():
        raise UnavailableError(Reason.DEPENDENCY_UNAVAILABLE, "gone")

    world.reencryption.before = fail
    with pytest.raises(UnavailableError):
        await compact(world)
    assert await world.scores(FACE) == expected(2, 3, 4, 5)
    world.reencryption.before = None
    await compact(world)
    assert await world.scores(FACE) == expected(2, 3, 4, 5)
    await world.matching.enrollments.erase(GALLERY.enrollment(2))
    world.reencryption.before = fail
    with pytest.raises(UnavailableError):
        await compact(world)
    world.reencryption.before = None
    await rotate(world)
    assert await world.scores(FACE, **NEW) == expected(3, 4, 5, factor=2)


async def test_a_gallery_is_compacted_under_its_own_version_and_not_while_it_moves(imported):
    world = imported.world
    with pytest.raises(InvalidArgumentError) as caught:
        await compact(world, str(TARGET))
    assert caught.value.reason is Reason.WRONG_KEY_VERSION
    await interrupted(world, after=1)
    with pytest.raises(UnavailableError) as unavailable:
        await compact(world)
    assert unavailable.value.reason is Reason.GALLERY_MOVING
