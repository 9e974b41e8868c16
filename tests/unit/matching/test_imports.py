"""Bulk import over a real record store and a real folder; the scheme encrypts nothing."""

import asyncio
import hashlib
from datetime import UTC, datetime

import numpy as np
import pytest

from veilface.common.attested_segments import SegmentStatement, SignedSegmentStatement, sign_segment, subject_ids_sha256
from veilface.common.errors import (
    AlreadyExistsError,
    DataLossError,
    FailedPreconditionError,
    InvalidArgumentError,
    InvalidCiphertextError,
    NotFoundError,
    PermissionDeniedError,
    Reason,
    ResourceExhaustedError,
    VeilfaceError,
)
from veilface.common.identities import CLIENT_IDENTITY, EMBEDDING_IDENTITY, OPERATOR_IDENTITY
from veilface.common.names import GalleryName
from veilface.common.signing import Signer
from veilface.crypto.contract import Metric, Scheme, TemplateSpace
from veilface.matching.domain.blobs.folder import BlobFolder
from veilface.matching.domain.imports import ImportPiece, NewImport
from veilface.matching.domain.segments.cache import Origin
from veilface.matching.domain.store.schema import SegmentImportRow

STAFF = GalleryName("staff")
DIMENSION = 4
CAPACITY = 4


@pytest.fixture
def blob_root(tmp_path):
    return tmp_path / "blobs"


@pytest.fixture
async def make_import_world(make_world, blob_root):
    async def make(**changes):
        world = make_world(blobs=BlobFolder(blob_root, "store", grace_s=0.0), **changes)
        await world.create()
        return world

    return make


@pytest.fixture
async def world(make_import_world):
    return await make_import_world()


@pytest.fixture
def people():
    return np.random.default_rng(3).normal(size=(12, DIMENSION))


@pytest.fixture
def probe():
    return np.random.default_rng(4).normal(size=DIMENSION)


def ids(count, first=1):
    return [f"s{number}" for number in range(first, first + count)]


def serialized(rows):
    segment = np.zeros((CAPACITY, DIMENSION))
    segment[: len(rows)] = rows
    return segment.tobytes()


def statement_for(data, subject_ids, **changes):
    values = {
        "key_version": "keys/faces/versions/1",
        "scheme": Scheme.CKKS_PACKED,
        "profile": "ckks-packed-128",
        "model": "dlib-resnet/hog/chip",
        "space": TemplateSpace(DIMENSION),
        "gallery": STAFF,
        "slot_count": len(subject_ids),
        "segment_bytes": len(data),
        "segment_sha256": hashlib.sha256(data).digest(),
        "subject_ids_sha256": subject_ids_sha256(subject_ids),
        "create_time": datetime.now(UTC),
    }
    return SegmentStatement(**(values | changes))


async def pieces(data, subject_ids, size=50):
    yield ImportPiece(b"", subject_ids[:1])
    yield ImportPiece(b"", subject_ids[1:])
    for start in range(0, len(data), size):
        yield ImportPiece(data[start : start + size], [])


async def add(world, rows, subject_ids, request_id="one", caller=OPERATOR_IDENTITY, signer=None, **changes):
    """Import rows. `sent` and `sent_ids` replace what is streamed, other changes what is signed."""
    data = serialized(rows)
    sent, sent_ids = changes.pop("sent", data), changes.pop("sent_ids", subject_ids)
    gallery = changes.pop("into", STAFF)
    signed = sign_segment(signer or world.operator, statement_for(data, subject_ids, **changes))
    wanted = NewImport(gallery, request_id, signed)
    return await world.matching.imports.add(caller, wanted, pieces(sent, sent_ids))


async def refusal(call, kind=VeilfaceError):
    with pytest.raises(kind) as caught:
        await call
    return caught.value.reason


def blob_files(blob_root):
    return sorted(path for path in blob_root.rglob("*") if path.is_file())


async def assert_scores(world, people, probe, erased=()):
    expected = {n: float(row @ probe) for n, row in enumerate(people, 1) if n not in erased}
    assert await world.scores(probe) == pytest.approx(expected)


async def test_an_imported_segment_is_searched_from_its_blob(world, people, probe, blob_root):
    made = await add(world, people[:4], ids(4))
    assert (made.request_id, made.first_enrollment, made.enrollment_count) == ("one", 1, 4)
    await assert_scores(world, people[:4], probe)
    await assert_scores(world, people[:4], probe)
    assert world.events.origins == [Origin.DISK, Origin.MEMORY]
    assert len(blob_files(blob_root)) == 1


async def test_an_import_counts_in_the_gallery_and_binds_it(world, people):
    await add(world, people[:3], ids(3))
    gallery = await world.matching.galleries.get(STAFF)
    assert (gallery.enrollment_count, gallery.subject_count) == (3, 3)
    assert (gallery.model, gallery.dimension) == ("dlib-resnet/hog/chip", DIMENSION)
    assert gallery.template_bytes == CAPACITY * DIMENSION * 8


async def test_imported_enrollments_are_listed_like_others(world, people):
    await add(world, people[:3], ["ada", "ben", "ada"])
    found, token = await world.matching.enrollments.page(STAFF, None, 10, "")
    assert [(str(each.name), each.subject.subject, each.template_bytes) for each in found] == [
        ("galleries/staff/enrollments/1", "ada", 0),
        ("galleries/staff/enrollments/2", "ben", 0),
        ("galleries/staff/enrollments/3", "ada", 0),
    ]
    subjects, token = await world.matching.enrollments.page_subjects(STAFF, 10, "")
    assert [(each.name.subject, each.enrollment_count) for each in subjects] == [("ada", 2), ("ben", 1)]
    assert token == ""


async def test_enrollments_and_imports_may_follow_each_other(world, people, probe):
    await world.enroll("s1", people[0])
    await add(world, people[1:4], ids(3, first=2), "one")
    for number in range(5, 8):
        await world.enroll(f"s{number}", people[number - 1])
    await add(world, people[7:11], ids(4, first=8), "two")
    await world.enroll("s12", people[11])
    await assert_scores(world, people, probe)
    await world.settle()
    await assert_scores(world, people, probe)


async def test_rows_on_top_of_an_import_are_searched_by_a_new_replica(
    make_import_world, make_world, blob_root, people, probe
):
    first = await make_import_world()
    await add(first, people[:3], ids(3))
    await first.enroll("s4", people[3])
    await assert_scores(first, people[:4], probe)
    second = make_world(shared_cache=type(first.shared)(), blobs=BlobFolder(blob_root, "store"))
    await assert_scores(second, people[:4], probe)


async def one_to_one(world, probe, target):
    batches = await world.matching.comparisons.compare(world.embedder.probe(probe), target)
    tickets = [world.ticket(batch) for batch in batches]
    assert [(ticket.batch_index, ticket.batch_count, ticket.score_count) for ticket in tickets] == [
        (index, len(batches), 1) for index in range(len(batches))
    ]
    return [float(np.frombuffer(batch.ciphertext)[0]) for batch in batches]


async def test_imported_enrollments_are_verified_one_to_one(world, people, probe):
    await add(world, people[:3], ["ada", "ben", "ada"])
    await world.enroll("ada", people[3])
    assert await one_to_one(world, probe, STAFF.enrollment(2)) == pytest.approx([people[1] @ probe])
    expected = [people[number] @ probe for number in (3, 0, 2)]
    assert await one_to_one(world, probe, STAFF.subject("ada")) == pytest.approx(expected)
    await world.matching.enrollments.erase(STAFF.enrollment(1))
    assert await one_to_one(world, probe, STAFF.subject("ada")) == pytest.approx([expected[0], expected[2]])
    call = world.matching.comparisons.compare(world.embedder.probe(probe), STAFF.enrollment(1))
    assert await refusal(call, NotFoundError) is Reason.ENROLLMENT_NOT_FOUND


async def test_an_imported_segment_is_not_copied_into_the_caches(world, people, probe):
    await add(world, people[:4], ids(4))
    await world.scores(probe)
    await world.settle()
    await world.matching.sweeper.sweep()
    await world.settle()
    assert world.shared.stores == 0
    await world.enroll("s5", people[4])
    await world.scores(probe)
    await world.settle()
    assert world.shared.stores == 1


async def test_the_same_request_answers_the_same_import(world, people, blob_root):
    made = await add(world, people[:4], ids(4))
    assert await add(world, people[:4], ids(4)) == made
    assert (await world.matching.galleries.get(STAFF)).enrollment_count == 4
    assert len(blob_files(blob_root)) == 1


async def test_a_repeated_request_is_answered_before_its_segment_is_read(world, people):
    made = await add(world, people[:4], ids(4))
    assert await add(world, people[:4], ids(4), sent=b"", sent_ids=[]) == made


@pytest.mark.parametrize("other_ids", [ids(4), ids(4, first=2)])
async def test_a_request_id_is_for_one_segment(world, people, other_ids):
    await add(world, people[:4], ids(4))
    reason = await refusal(add(world, people[4:8], other_ids), AlreadyExistsError)
    assert reason is Reason.REQUEST_ID_REUSED
    assert (await world.matching.galleries.get(STAFF)).enrollment_count == 4


async def test_imports_are_listed_in_order_page_by_page(world, people):
    for number in range(3):
        await add(world, people[4 * number : 4 * number + 4], ids(4, first=4 * number), f"request-{number}")
    first, token = await world.matching.imports.page(STAFF, 2, "")
    second, end = await world.matching.imports.page(STAFF, 2, token)
    assert [each.request_id for each in (*first, *second)] == ["request-0", "request-1", "request-2"]
    assert [each.first_enrollment for each in (*first, *second)] == [1, 5, 9]
    assert end == ""


async def test_who_does_not_sign_as_a_trusted_operator_is_refused(world, people, blob_root):
    strangers = [
        ({"signer": Signer.generate(OPERATOR_IDENTITY)}, Reason.UNTRUSTED_SIGNER),
        ({"signer": world.embedder.signer, "caller": EMBEDDING_IDENTITY}, Reason.POLICY_DENIED),
        ({"caller": CLIENT_IDENTITY}, Reason.IDENTITY_DENIED),
        ({"signer": world.embedder.signer}, Reason.IDENTITY_DENIED),
    ]
    for changes, reason in strangers:
        assert await refusal(add(world, people[:4], ids(4), **changes), PermissionDeniedError) is reason
    assert blob_files(blob_root) == []
    assert (await add(world, people[:4], ids(4))).enrollment_count == 4


async def test_a_changed_statement_is_refused(world, people):
    data = serialized(people[:4])
    signed = sign_segment(world.operator, statement_for(data, ids(4)))
    other = sign_segment(world.operator, statement_for(data, ids(4, first=2)))
    forged = SignedSegmentStatement(other.statement_bytes, signed.signature)
    call = world.matching.imports.add(OPERATOR_IDENTITY, NewImport(STAFF, "one", forged), pieces(data, ids(4, first=2)))
    assert await refusal(call, PermissionDeniedError) is Reason.BAD_SIGNATURE


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"key_version": "keys/faces/versions/2"}, Reason.WRONG_KEY_VERSION),
        ({"profile": "ckks-packed-192"}, Reason.WRONG_PARAMETERS),
        ({"scheme": Scheme.PAILLIER}, Reason.WRONG_PARAMETERS),
        ({"model": "another"}, Reason.WRONG_MODEL),
        ({"space": TemplateSpace(DIMENSION + 1)}, Reason.WRONG_DIMENSION),
        ({"space": TemplateSpace(DIMENSION, Metric.SQUARED_EUCLIDEAN)}, Reason.WRONG_METRIC),
    ],
)
async def test_a_segment_that_does_not_fit_the_gallery_is_refused(world, people, blob_root, changes, reason):
    await add(world, people[:4], ids(4), "first")
    call = add(world, people[4:8], ids(4, first=5), "second", **changes)
    assert await refusal(call, FailedPreconditionError) is reason
    assert len(blob_files(blob_root)) == 1


async def test_a_segment_signed_for_another_gallery_is_refused(world, people):
    await world.create(GalleryName("others"))
    call = add(world, people[:4], ids(4), into=GalleryName("others"))
    assert await refusal(call, InvalidArgumentError) is Reason.INVALID_FIELD


async def test_a_gallery_that_does_not_exist_takes_no_import(world, people):
    nowhere = GalleryName("nowhere")
    call = add(world, people[:4], ids(4), into=nowhere, gallery=nowhere)
    assert await refusal(call, NotFoundError) is Reason.GALLERY_NOT_FOUND


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sent": serialized(np.ones((4, 4)))}, Reason.DIGEST_MISMATCH),
        ({"sent": bytes(10)}, Reason.STREAM_PROTOCOL),
        ({"sent": bytes(1000)}, Reason.STREAM_PROTOCOL),
        ({"sent_ids": ids(3)}, Reason.STREAM_PROTOCOL),
        ({"sent_ids": ids(5)}, Reason.STREAM_PROTOCOL),
        ({"sent_ids": ids(4, first=2)}, Reason.DIGEST_MISMATCH),
        ({"slot_count": 5}, Reason.WRONG_SIZE),
    ],
)
async def test_a_stream_that_is_not_what_was_signed_leaves_nothing(world, people, blob_root, changes, reason):
    assert await refusal(add(world, people[:4], ids(4), **changes), InvalidArgumentError) is reason
    assert blob_files(blob_root) == []
    assert (await world.matching.galleries.get(STAFF)).enrollment_count == 0
    assert (await add(world, people[:4], ids(4))).enrollment_count == 4


async def test_bytes_that_are_no_segment_are_refused_though_they_are_signed(world, blob_root):
    data = b"not a segment"
    signed = sign_segment(world.operator, statement_for(data, ids(2)))
    call = world.matching.imports.add(OPERATOR_IDENTITY, NewImport(STAFF, "one", signed), pieces(data, ids(2)))
    assert await refusal(call, InvalidCiphertextError) is Reason.WRONG_SIZE
    assert blob_files(blob_root) == []


async def test_a_subject_id_that_is_none_is_refused(world, people, blob_root):
    call = add(world, people[:2], ["ada", "not an id"])
    assert await refusal(call, InvalidArgumentError) is Reason.INVALID_NAME
    assert blob_files(blob_root) == []


async def test_a_subject_takes_no_more_enrollments_than_its_limit(world, people):
    for number in range(16):
        await add(world, people[:4], ["ada"] * 4, f"request-{number}")
    call = add(world, people[:1], ["ada"], "one too many")
    assert await refusal(call, ResourceExhaustedError) is Reason.SUBJECT_FULL
    assert (await world.matching.galleries.get(STAFF)).enrollment_count == 64
    assert (await add(world, people[:1], ["ben"], "another")).first_enrollment == 65


async def test_a_replica_without_a_folder_takes_no_import(make_world, people):
    world = make_world()
    await world.create()
    assert await refusal(add(world, people[:4], ids(4)), FailedPreconditionError) is Reason.INVALID_SETTING


async def test_a_scheme_without_segments_takes_no_import(make_import_world, loop_comparer, people):
    world = await make_import_world(comparer=loop_comparer)
    assert await refusal(add(world, people[:4], ids(4)), InvalidArgumentError) is Reason.UNSUPPORTED_BY_SCHEME


async def test_an_erased_enrollment_is_never_scored_again(world, people, probe):
    await add(world, people[:4], ids(4))
    await assert_scores(world, people[:4], probe)
    await world.matching.enrollments.erase(STAFF.enrollment(2))
    await assert_scores(world, people[:4], probe, erased={2})
    await world.enroll("s5", people[4])
    await assert_scores(world, people[:5], probe, erased={2})
    await world.settle()
    await world.matching.sweeper.sweep()
    await assert_scores(world, people[:5], probe, erased={2})


async def test_another_replica_does_not_score_what_was_erased(make_import_world, make_world, blob_root, people, probe):
    first = await make_import_world()
    second = make_world(blobs=BlobFolder(blob_root, "store"))
    await add(first, people[:4], ids(4))
    await assert_scores(second, people[:4], probe)
    await first.matching.enrollments.erase_subject(STAFF.subject("s3"))
    await assert_scores(second, people[:4], probe, erased={3})
    await second.matching.sweeper.sweep()
    await assert_scores(second, people[:4], probe, erased={3})


async def test_a_retry_enrolls_nobody_who_was_erased_and_keeps_no_digest_of_them(world, people, probe):
    made = await add(world, people[:4], ids(4))
    await world.matching.enrollments.erase(STAFF.enrollment(2))
    assert await add(world, people[:4], ids(4)) == made
    await assert_scores(world, people[:4], probe, erased={2})
    with world.database.read() as connection:
        row = connection.execute(SegmentImportRow.__table__.select()).one()
    assert row.subject_ids_sha256 is None


async def test_the_blob_goes_with_the_last_enrollment_in_it(world, people, probe, blob_root):
    await add(world, people[:3], ids(3))
    await world.enroll("s4", people[3])
    for number in (1, 2):
        await world.matching.enrollments.erase(STAFF.enrollment(number))
    await world.matching.sweeper.sweep()
    assert len(blob_files(blob_root)) == 1
    await world.matching.enrollments.erase(STAFF.enrollment(3))
    await world.matching.sweeper.sweep()
    assert blob_files(blob_root) == []
    await assert_scores(world, people[:4], probe, erased={1, 2, 3})
    assert (await world.matching.galleries.get(STAFF)).template_bytes == 1 + 8 * DIMENSION


async def test_a_deleted_gallery_takes_its_blobs_and_its_imports_with_it(world, people, blob_root):
    await add(world, people[:4], ids(4))
    await world.matching.galleries.delete(STAFF)
    assert blob_files(blob_root) == []
    await world.create()
    assert (await world.matching.imports.page(STAFF, 10, ""))[0] == ()
    assert (await add(world, people[:4], ids(4))).first_enrollment == 1


async def test_what_an_import_left_that_was_not_committed_is_swept(world, people, blob_root, probe):
    await add(world, people[:4], ids(4))
    uid = (await world.matching.galleries.get(STAFF)).uid
    left = blob_root / "store" / str(uid) / f"{'ab' * 32}.segment"
    left.write_bytes(b"left behind")
    await world.matching.sweeper.sweep()
    assert not left.exists()
    await assert_scores(world, people[:4], probe)


async def test_a_blob_that_was_tampered_with_is_data_loss_and_nobody_is_scored(
    make_import_world, make_world, blob_root, people, probe
):
    first = await make_import_world()
    await add(first, people[:4], ids(4))
    (path,) = blob_files(blob_root)
    intact = path.read_bytes()
    path.write_bytes(serialized(people[4:8]))
    second = make_world(blobs=BlobFolder(blob_root, "store"))
    assert await refusal(second.scores(probe), DataLossError) is Reason.DATA_LOSS
    path.write_bytes(intact)
    await assert_scores(second, people[:4], probe)


async def test_a_gallery_larger_than_the_memory_is_searched_in_windows_from_disk(make_import_world, people, probe):
    segment_bytes = CAPACITY * DIMENSION * 8
    world = await make_import_world(memory_bytes=3 * segment_bytes, window_bytes=2 * segment_bytes)
    everybody = np.random.default_rng(5).normal(size=(40, DIMENSION))
    for number in range(10):
        await add(world, everybody[4 * number : 4 * number + 4], ids(4, first=4 * number), f"request-{number}")
    await assert_scores(world, everybody, probe)
    world.events.origins.clear()
    world.comparer.passes.clear()
    await assert_scores(world, everybody, probe)
    # One stays in memory; of the others, one is scored while the next is brought.
    assert world.comparer.passes == [2, 1, 1, 1, 1, 1, 1, 1, 1]
    assert world.events.origins == [Origin.MEMORY] + [Origin.DISK] * 9
    assert world.matching.library.memory.used_bytes == segment_bytes


async def test_all_imported_enrollments_of_a_subject_are_compared_in_one_pass(world, people, probe):
    await add(world, people[:4], ["anna", "ben", "anna", "chloe"])
    await add(world, people[4:8], ["ben", "anna", "ben", "chloe"], "two")
    world.comparer.passes.clear()
    world.comparer.expanded = 0
    expected = [people[number] @ probe for number in (0, 2, 5)]
    assert await one_to_one(world, probe, STAFF.subject("anna")) == pytest.approx(expected)
    assert world.comparer.passes == [3]
    assert world.comparer.expanded == 1


async def test_a_comparison_with_an_imported_enrollment_does_not_wait_behind_every_search(world, people, probe):
    await add(world, people[:4], ids(4))
    world.comparer.may_pass.clear()
    searches = []
    for number in range(3):
        # Of another generation each, so that they share nothing.
        await add(world, people[4:8], ids(4, first=4 * number + 5), f"request-{number}")
        searches.append(asyncio.create_task(world.scores(probe)))
        await world.until_expanded(number + 1)
    comparing = asyncio.create_task(one_to_one(world, probe, STAFF.enrollment(1)))
    scoring = world.matching.search._preparation._scans._scoring
    async with asyncio.timeout(20):
        while (len(scoring._long), len(scoring._short)) != (2, 1):
            await asyncio.sleep(0.005)
    world.comparer.may_pass.set()
    assert await comparing == pytest.approx([people[0] @ probe])
    await asyncio.gather(*searches)
    assert world.comparer.passes[1] == 1


async def test_a_comparison_with_an_imported_enrollment_waits_for_its_memory(make_import_world, people, probe):
    world = await make_import_world(search_bytes=1, waiting_searches=0)
    await add(world, people[:4], ids(4))
    world.comparer.may_pass.clear()
    search = asyncio.create_task(world.scores(probe))
    await world.until_expanded(1)
    call = world.matching.comparisons.compare(world.embedder.probe(probe), STAFF.enrollment(1))
    assert await refusal(call, ResourceExhaustedError) is Reason.OVERLOADED
    world.comparer.may_pass.set()
    await search
