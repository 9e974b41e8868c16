import asyncio
import hashlib
import sqlite3

import numpy as np
import pytest

from veilface.common.attested import SignedTemplate, sign_template, verify_template
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
)
from veilface.common.names import EnrollmentName, GalleryName
from veilface.common.signing import SignatureValue, Signer, TrustStore
from veilface.crypto.contract import TemplateSpace
from veilface.matching.domain.enrollments import NewEnrollment
from veilface.matching.domain.limits import MAX_ENROLLMENTS_PER_SUBJECT
from veilface.matching.domain.records import EnrollmentDraft
from veilface.matching.domain.store.enrollments import EnrollmentRecords

STAFF = GalleryName("staff")
ANNA = np.array([1.0, 0.0, 0.0, 0.0])
BEN = np.array([0.0, 1.0, 0.0, 0.0])


async def enroll_template(world, template, subject="anna", request_id="r1"):
    return await world.matching.enrollments.enroll(NewEnrollment(STAFF.subject(subject), {}, request_id, template))


async def counts(world):
    gallery = await world.matching.galleries.get(STAFF)
    return gallery.enrollment_count, gallery.subject_count, gallery.template_bytes


async def test_an_enrollment_is_described_as_it_was_made(world):
    made = await world.enroll("anna", ANNA, labels={"site": "north"})
    found = await world.matching.enrollments.get(made.name)
    assert found == made
    assert (str(found.name), str(found.subject)) == ("galleries/staff/enrollments/1", "galleries/staff/subjects/anna")
    assert (found.labels, found.template_bytes, found.key_version) == (
        {"site": "north"},
        33,
        "keys/faces/versions/1",
    )


async def test_counters_follow_enrollments_and_erasures(world):
    generations = []

    async def note():
        generations.append((await world.matching.galleries.get(STAFF)).generation)

    await note()
    await world.enroll("anna", ANNA)
    await note()
    await world.enroll("anna", BEN)
    await world.enroll("ben", BEN)
    await note()
    assert await counts(world) == (3, 2, 99)
    await world.matching.enrollments.erase(STAFF.enrollment(1))
    await note()
    assert await counts(world) == (2, 2, 66)
    await world.matching.enrollments.erase(STAFF.enrollment(2))
    assert await counts(world) == (1, 1, 33)
    assert await world.matching.enrollments.erase_subject(STAFF.subject("ben")) == 1
    assert await counts(world) == (0, 0, 0)
    await note()
    assert generations == sorted(set(generations))


async def test_a_repeated_request_answers_the_same_enrollment(world):
    template = world.embedder.reference(ANNA)
    first = await enroll_template(world, template)
    assert await enroll_template(world, template) == first
    assert await counts(world) == (1, 1, 33)


async def test_requests_repeated_at_the_same_time_enroll_once(world):
    template = world.embedder.reference(ANNA)
    answers = await asyncio.gather(*(enroll_template(world, template) for _ in range(8)))
    assert len({answer.name for answer in answers}) == 1
    assert await counts(world) == (1, 1, 33)


async def test_a_request_id_cannot_be_used_for_something_else(world):
    template = world.embedder.reference(ANNA)
    await enroll_template(world, template)
    for other, subject in ((world.embedder.reference(BEN), "anna"), (template, "ben")):
        with pytest.raises(AlreadyExistsError) as caught:
            await enroll_template(world, other, subject)
        assert caught.value.reason is Reason.REQUEST_ID_REUSED
    assert await counts(world) == (1, 1, 33)
    await enroll_template(world, world.embedder.reference(BEN), request_id="r2")


async def test_the_same_request_id_is_free_in_another_gallery(world):
    other = GalleryName("visitors")
    await world.create(other)
    await world.enroll("anna", ANNA, "r1")
    await world.enroll("ben", BEN, "r1", other)
    assert (await world.matching.enrollments.get(other.enrollment(1))).subject == other.subject("ben")


async def test_a_late_retry_does_not_bring_an_erased_enrollment_back(world):
    template = world.embedder.reference(ANNA)
    made = await enroll_template(world, template)
    await world.matching.enrollments.erase(made.name)
    with pytest.raises(NotFoundError) as caught:
        await enroll_template(world, template)
    assert caught.value.reason is Reason.ENROLLMENT_NOT_FOUND
    assert await counts(world) == (0, 0, 0)
    again = await enroll_template(world, world.embedder.reference(-ANNA), request_id="r2")
    assert again.name.enrollment == 2


async def enrolled_before(world, subject, template):
    with pytest.raises(AlreadyExistsError) as caught:
        await world.matching.enrollments.enroll(NewEnrollment(subject, {}, "again", template))
    assert caught.value.reason is Reason.TEMPLATE_ENROLLED
    return True


async def test_a_template_is_good_for_one_enrollment_under_any_name(world):
    other = GalleryName("other")
    await world.create(other)
    template = world.embedder.reference(ANNA)
    await enroll_template(world, template)
    for subject in (STAFF.subject("anna"), STAFF.subject("ben"), other.subject("anna")):
        assert await enrolled_before(world, subject, template)
    assert await counts(world) == (1, 1, 33)
    await enroll_template(world, world.embedder.reference(ANNA * 0.99), "ben", "again")


async def test_a_template_stays_used_when_its_enrollment_is_erased_or_its_gallery_made_again(world):
    template = world.embedder.reference(ANNA)
    made = await enroll_template(world, template)
    await world.matching.enrollments.erase(made.name)
    assert await enrolled_before(world, STAFF.subject("anna"), template)
    await world.matching.galleries.delete(STAFF)
    await world.create()
    assert await enrolled_before(world, STAFF.subject("anna"), template)


async def test_a_refused_enrollment_does_not_use_its_template_up(world):
    template = world.embedder.reference(ANNA)
    await enroll_template(world, template)
    fresh = world.embedder.reference(BEN)
    with pytest.raises(AlreadyExistsError) as caught:
        await enroll_template(world, fresh)
    assert caught.value.reason is Reason.REQUEST_ID_REUSED
    await enroll_template(world, fresh, "ben", "r2")


async def test_one_template_enrolled_in_two_galleries_at_once_is_enrolled_once(world):
    other = GalleryName("other")
    await world.create(other)
    template = world.embedder.reference(ANNA)
    outcomes = await asyncio.gather(
        *(
            world.matching.enrollments.enroll(NewEnrollment(gallery.subject("anna"), {}, "r", template))
            for gallery in (STAFF, other) * 4
        ),
        return_exceptions=True,
    )
    made = {str(each.name) for each in outcomes if not isinstance(each, BaseException)}
    refused = [each for each in outcomes if isinstance(each, BaseException)]
    assert len(made) == 1
    assert {type(each) for each in refused} == {AlreadyExistsError}
    assert len(refused) == 4


async def test_a_template_that_was_moved_from_an_enrolled_one_is_not_enrolled(world):
    template = world.embedder.reference(ANNA)
    embedder = world.embedder.signer
    statement = verify_template(TrustStore({embedder.identity: [embedder.public_key_bytes]}), template)
    moved = sign_template(world.reencryption.signer, statement, template.ciphertext)
    assert await enrolled_before(world, STAFF.subject("anna"), moved)
    await enroll_template(world, template)


async def test_a_subject_can_be_enrolled_a_bounded_number_of_times(make_world):
    world = make_world()
    await world.create()
    for number in range(MAX_ENROLLMENTS_PER_SUBJECT):
        await world.enroll("anna", ANNA, f"r{number}")
    with pytest.raises(ResourceExhaustedError) as caught:
        await world.enroll("anna", ANNA, "one-more")
    assert caught.value.reason is Reason.SUBJECT_FULL
    await world.enroll("ben", ANNA, "one-more")
    await world.matching.enrollments.erase(STAFF.enrollment(1))
    await world.enroll("anna", ANNA, "now-it-fits")


async def test_an_unsigned_template_is_refused(world):
    template = world.embedder.reference(ANNA)
    unsigned = SignedTemplate(
        template.statement_bytes, template.ciphertext, SignatureValue(template.signature.signer, bytes(8), bytes(64))
    )
    with pytest.raises(PermissionDeniedError):
        await enroll_template(world, unsigned)
    await enroll_template(world, template)


async def test_a_template_signed_by_a_stranger_is_refused(world):
    stranger = type(world.embedder)()
    with pytest.raises(PermissionDeniedError) as caught:
        await enroll_template(world, stranger.reference(ANNA))
    assert caught.value.reason is Reason.UNTRUSTED_SIGNER


async def test_a_template_signed_by_another_service_is_refused(world):
    other = type(world.embedder)()
    other.signer = Signer("spiffe://veilface/client", world.embedder.signer._private_key)
    with pytest.raises(PermissionDeniedError) as caught:
        await enroll_template(world, other.reference(ANNA))
    assert caught.value.reason is Reason.UNTRUSTED_SIGNER


async def test_a_ciphertext_that_is_not_the_signed_one_is_refused(world):
    anna, ben = world.embedder.reference(ANNA), world.embedder.reference(BEN)
    swapped = SignedTemplate(anna.statement_bytes, ben.ciphertext, anna.signature)
    with pytest.raises(InvalidArgumentError) as caught:
        await enroll_template(world, swapped)
    assert caught.value.reason is Reason.DIGEST_MISMATCH


async def test_a_statement_that_was_changed_is_refused(world):
    template = world.embedder.reference(ANNA)
    forged = SignedTemplate(template.statement_bytes.replace(b"dlib", b"dlab"), template.ciphertext, template.signature)
    with pytest.raises(PermissionDeniedError) as caught:
        await enroll_template(world, forged)
    assert caught.value.reason is Reason.BAD_SIGNATURE


async def test_a_signed_template_that_is_not_well_formed_is_refused(world):
    with pytest.raises(InvalidCiphertextError):
        await enroll_template(world, world.embedder.reference(ANNA, ciphertext=b"rubbish"))


async def test_a_probe_cannot_be_enrolled(world):
    with pytest.raises(InvalidArgumentError) as caught:
        await enroll_template(world, world.embedder.probe(ANNA))
    assert caught.value.reason is Reason.WRONG_USE


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"key_version": "keys/faces/versions/2"}, Reason.WRONG_KEY_VERSION),
        ({"model": "facenet"}, Reason.WRONG_MODEL),
        ({"space": TemplateSpace(5)}, Reason.WRONG_DIMENSION),
    ],
)
async def test_a_template_of_another_kind_than_the_gallery_is_refused(world, change, reason):
    await world.enroll("anna", ANNA)
    with pytest.raises(FailedPreconditionError) as caught:
        await enroll_template(world, world.embedder.reference(BEN, **change), "ben")
    assert caught.value.reason is reason
    assert await counts(world) == (1, 1, 33)


async def test_a_gallery_that_does_not_exist_is_not_found(world):
    with pytest.raises(NotFoundError) as caught:
        await world.enroll("anna", ANNA, gallery=GalleryName("nowhere"))
    assert caught.value.reason is Reason.GALLERY_NOT_FOUND


async def test_enrollments_are_listed_in_order_page_by_page(world):
    for number in range(7):
        await world.enroll(f"s{number % 3}", ANNA, f"r{number}")
    seen, token = [], ""
    while True:
        enrollments, token = await world.matching.enrollments.page(STAFF, None, 3, token)
        seen += [enrollment.name.enrollment for enrollment in enrollments]
        if not token:
            break
    assert seen == list(range(1, 8))


async def test_a_page_goes_on_behind_an_erased_enrollment(world):
    for number in range(5):
        await world.enroll("anna", ANNA, f"r{number}")
    _, token = await world.matching.enrollments.page(STAFF, None, 2, "")
    await world.matching.enrollments.erase(STAFF.enrollment(2))
    enrollments, token = await world.matching.enrollments.page(STAFF, None, 5, token)
    assert [enrollment.name.enrollment for enrollment in enrollments] == [3, 4, 5]
    assert token == ""


async def test_one_subjects_enrollments_can_be_listed(world):
    for number in range(6):
        await world.enroll("anna" if number % 2 else "ben", ANNA, f"r{number}")
    enrollments, token = await world.matching.enrollments.page(STAFF, STAFF.subject("anna"), 10, "")
    assert [enrollment.name.enrollment for enrollment in enrollments] == [2, 4, 6]
    assert token == ""


async def test_subjects_are_listed_in_order_of_their_names_with_their_counts(world):
    for number, subject in enumerate(["ben", "Anna", "anna", "ben", "_x"]):
        await world.enroll(subject, ANNA, f"r{number}")
    first, token = await world.matching.enrollments.page_subjects(STAFF, 3, "")
    rest, last = await world.matching.enrollments.page_subjects(STAFF, 3, token)
    listed = [(subject.name.subject, subject.enrollment_count) for subject in (*first, *rest)]
    assert listed == [("Anna", 1), ("_x", 1), ("anna", 1), ("ben", 2)]
    assert last == ""


async def test_erasing_what_is_not_there_is_not_found(world):
    await world.enroll("anna", ANNA)
    with pytest.raises(NotFoundError) as caught:
        await world.matching.enrollments.erase(EnrollmentName("staff", 2))
    assert caught.value.reason is Reason.ENROLLMENT_NOT_FOUND
    with pytest.raises(NotFoundError) as caught:
        await world.matching.enrollments.erase_subject(STAFF.subject("ben"))
    assert caught.value.reason is Reason.SUBJECT_NOT_FOUND
    await world.matching.enrollments.erase(EnrollmentName("staff", 1))
    with pytest.raises(NotFoundError):
        await world.matching.enrollments.get(EnrollmentName("staff", 1))


async def test_the_bytes_of_an_erased_template_leave_the_record_store(world, tmp_path):
    canaries = [np.random.default_rng(seed).bytes(3000) for seed in (1, 2)]
    trust = TrustStore({world.embedder.signer.identity: [world.embedder.signer.public_key_bytes]})
    records = EnrollmentRecords(world.database)
    # The scheme would refuse them, the record store does not look inside.
    for subject, canary in zip(("anna", "ben"), canaries, strict=True):
        signed = world.embedder.reference(ANNA, ciphertext=canary)
        draft = EnrollmentDraft(STAFF.subject(subject), {}, subject, verify_template(trust, signed), signed)
        records.enroll(draft, 4)

    def stored():
        return b"".join(path.read_bytes() for path in tmp_path.iterdir())

    assert all(canary[:64] in stored() for canary in canaries)
    await world.matching.enrollments.erase(STAFF.enrollment(1))
    remaining = stored()
    assert not any(canaries[0][start : start + 64] in remaining for start in range(0, 2900, 64))
    assert canaries[1][:64] in remaining


async def test_a_damaged_template_is_noticed_and_can_still_be_erased(world, tmp_path):
    await world.enroll("anna", ANNA)
    await world.settle()
    world.matching.library.memory.drop(world.matching.library.memory.places[0])
    world.shared.entries.clear()
    connection = sqlite3.connect(tmp_path / "matching.db")
    connection.execute("UPDATE templates SET ciphertext = ?", (bytes(33),))
    connection.commit()
    connection.close()
    with pytest.raises(DataLossError):
        await world.search(ANNA)
    await world.matching.enrollments.erase(STAFF.enrollment(1))
    assert await world.scores(ANNA) == {}


async def test_request_ids_keep_no_digest_of_what_was_erased(world, tmp_path):
    await world.enroll("anna", ANNA, "r1")
    await world.enroll("ben", BEN, "r2")
    await world.matching.enrollments.erase(STAFF.enrollment(1))
    connection = sqlite3.connect(tmp_path / "matching.db")
    rows = dict(connection.execute("SELECT request_id, content_sha256 FROM requests"))
    connection.close()
    assert rows["r1"] is None
    assert len(rows["r2"]) == hashlib.sha256().digest_size
