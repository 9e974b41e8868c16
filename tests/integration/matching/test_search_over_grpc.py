import grpc
import pytest

from veilface.common.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    Reason,
)
from veilface.common.identities import CLIENT_IDENTITY, EMBEDDING_IDENTITY
from veilface.common.signing import Signer
from veilface.common.status import error_from_rpc
from veilface.crypto.contract import TemplateSpace, TemplateUse
from veilface.matching.v1 import gallery_service_pb2, matching_service_pb2


async def refusal(call):
    with pytest.raises(grpc.RpcError) as caught:
        await call
    return error_from_rpc(caught.value)


async def test_the_encrypted_scores_are_those_of_numpy(replica, people, face, assert_close):
    for number, person in enumerate(people, 1):
        await replica.enroll(f"s{number}", person)
    found, statistics = await replica.scores(face)
    assert_close(found, people, face)
    assert (statistics.enrollment_count, statistics.segment_count) == (12, 1)
    assert statistics.expand_time.ToNanoseconds() > 0
    assert statistics.score_time.ToNanoseconds() > 0
    assert statistics.gallery_bytes == 13 * 64 * 4096


async def test_an_erased_enrollment_is_not_scored_and_the_others_keep_their_scores(replica, people, face, assert_close):
    for number, person in enumerate(people, 1):
        await replica.enroll(f"s{number}", person)
    assert_close((await replica.scores(face))[0], people, face)
    await replica.erase(5)
    assert_close((await replica.scores(face))[0], people, face, erased={5})
    await replica.galleries.DeleteSubject(gallery_service_pb2.DeleteSubjectRequest(name="galleries/staff/subjects/s12"))
    assert_close((await replica.scores(face))[0], people, face, erased={5, 12})


async def test_a_directory_that_the_caller_has_is_not_sent_again(replica, people, keyset, face):
    await replica.enroll("s1", people[0])
    (first,) = await replica.search(keyset.probe(face))
    assert list(first.directory.subject_ids) == ["s1"]
    (again,) = await replica.search(keyset.probe(face), known=[first.directory_etag])
    assert not again.HasField("directory")
    assert again.directory_etag == first.directory_etag
    await replica.enroll("s2", people[1])
    (changed,) = await replica.search(keyset.probe(face), known=[first.directory_etag])
    assert list(changed.directory.subject_ids) == ["s1", "s2"]


async def test_an_empty_gallery_answers_one_message_without_scores(replica, keyset, face):
    (message,) = await replica.search(keyset.probe(face))
    assert not message.HasField("score_batch")
    assert message.HasField("statistics")


async def test_a_probe_is_compared_with_templates_enrollments_and_subjects(replica, keyset, people, face):
    await replica.enroll("anna", people[0])
    await replica.enroll("ben", people[1])
    await replica.enroll("anna", people[2])

    async def compare(**target):
        request = matching_service_pb2.CompareTemplatesRequest(probe=keyset.probe(face), **target)
        response = await replica.matcher.CompareTemplates(request)
        return [keyset.open(batch) for batch in response.score_batches]

    for target, expected in (
        ({"reference": keyset.reference(people[3])}, [people[3]]),
        ({"enrollment": "galleries/staff/enrollments/2"}, [people[1]]),
        ({"subject": "galleries/staff/subjects/anna"}, [people[0], people[2]]),
    ):
        opened = await compare(**target)
        assert [float(scores[0]) for _, scores in opened] == pytest.approx(
            [float(person @ face) for person in expected], abs=1e-3
        )
        assert [ticket.batch_index for ticket, _ in opened] == list(range(len(expected)))


async def test_a_repeated_enroll_request_answers_the_same_enrollment(replica, keyset, people):
    template = keyset.reference(people[0])
    first = await replica.enroll("anna", None, template=template, request_id="one")
    assert await replica.enroll("anna", None, template=template, request_id="one") == first
    refused = await refusal(replica.enroll("anna", people[1], request_id="one"))
    assert refused.reason is Reason.REQUEST_ID_REUSED


async def test_forged_templates_are_refused_and_genuine_ones_taken(replica, keyset, people):
    genuine = keyset.reference(people[0])
    forged = {
        "signed by a stranger of the same name": (
            keyset.reference(people[0], signer=Signer.generate(EMBEDDING_IDENTITY)),
            Reason.UNTRUSTED_SIGNER,
        ),
        "signed by a caller": (
            keyset.reference(people[0], signer=Signer.generate(CLIENT_IDENTITY)),
            Reason.UNTRUSTED_SIGNER,
        ),
    }
    swapped = keyset.reference(people[0])
    swapped.ciphertext = keyset.reference(people[1]).ciphertext
    forged["with another ciphertext"] = (swapped, Reason.DIGEST_MISMATCH)
    unsigned = keyset.reference(people[0])
    unsigned.ClearField("signature")
    forged["without a signature"] = (unsigned, Reason.MISSING_FIELD)
    restated = keyset.reference(people[0])
    restated.statement = keyset.reference(people[1]).statement
    forged["with another statement"] = (restated, Reason.BAD_SIGNATURE)
    for template, reason in forged.values():
        error = await refusal(replica.enroll("anna", None, template=template))
        assert isinstance(error, PermissionDeniedError | InvalidArgumentError)
        assert error.reason is reason
    await replica.enroll("anna", None, template=genuine)
    gallery = await replica.galleries.GetGallery(gallery_service_pb2.GetGalleryRequest(name="galleries/staff"))
    assert gallery.enrollment_count == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"key_version": "keys/faces/versions/2"}, Reason.WRONG_KEY_VERSION),
        ({"model": "facenet"}, Reason.WRONG_MODEL),
        ({"profile": "ckks-packed-192"}, Reason.WRONG_PARAMETERS),
    ],
)
async def test_a_template_of_another_kind_is_refused_everywhere(replica, keyset, people, face, changes, reason):
    await replica.enroll("anna", people[0])
    probe, reference = keyset.probe(face, **changes), keyset.reference(people[1], **changes)
    comparison = matching_service_pb2.CompareTemplatesRequest(probe=probe, subject="galleries/staff/subjects/anna")
    for call in (
        replica.enroll("ben", None, template=reference),
        replica.search(probe),
        replica.matcher.CompareTemplates(comparison),
    ):
        error = await refusal(call)
        assert isinstance(error, FailedPreconditionError)
        assert error.reason is reason
    assert len((await replica.scores(face))[0]) == 1


async def test_a_template_of_another_dimension_is_refused(replica, keyset, people, face):
    await replica.enroll("anna", people[0])
    space = TemplateSpace(32)
    short = face[:32] / (face[:32] @ face[:32]) ** 0.5
    assert (await refusal(replica.search(keyset.probe(short, space=space)))).reason is Reason.WRONG_DIMENSION
    error = await refusal(replica.enroll("ben", None, template=keyset.reference(short, space=space)))
    assert error.reason is Reason.WRONG_DIMENSION


async def test_a_template_for_the_other_side_is_refused(replica, keyset, people, face):
    await replica.enroll("anna", people[0])
    assert (await refusal(replica.search(keyset.reference(face)))).reason is Reason.WRONG_USE
    error = await refusal(replica.enroll("ben", None, template=keyset.probe(people[1])))
    assert error.reason is Reason.WRONG_USE


@pytest.mark.parametrize("damage", ["cut off", "empty", "header", "residue", "of another side"])
async def test_a_signed_ciphertext_that_is_not_well_formed_is_refused(replica, keyset, people, damage):
    good = keyset.reference(people[0]).ciphertext
    bad = {
        "cut off": good[:-1],
        "empty": b"\0",
        "header": b"XXXX" + good[4:],
        "residue": good[:-4] + b"\xff\xff\xff\xff",
        "of another side": keyset.encryptor.encrypt(people[0], keyset.space, TemplateUse.PROBE),
    }[damage]
    error = await refusal(replica.enroll("anna", None, template=keyset.reference(None, ciphertext=bad)))
    assert isinstance(error, InvalidArgumentError)
    await replica.enroll("anna", None, template=keyset.reference(None, ciphertext=good))


async def test_what_does_not_exist_is_not_found(replica, keyset, people, face):
    await replica.enroll("anna", people[0])
    names = {
        Reason.GALLERY_NOT_FOUND: replica.search(keyset.probe(face), gallery="nowhere"),
        Reason.ENROLLMENT_NOT_FOUND: replica.erase(2),
        Reason.SUBJECT_NOT_FOUND: replica.matcher.CompareTemplates(
            matching_service_pb2.CompareTemplatesRequest(
                probe=keyset.probe(face), subject="galleries/staff/subjects/nobody"
            )
        ),
    }
    for reason, call in names.items():
        error = await refusal(call)
        assert isinstance(error, NotFoundError)
        assert error.reason is reason


async def test_a_caller_that_hangs_up_during_a_search_leaves_the_service_well(
    replica, keyset, people, face, assert_close
):
    for number, person in enumerate(people, 1):
        await replica.enroll(f"s{number}", person)
    request = matching_service_pb2.SearchGalleryRequest(gallery="galleries/staff", probe=keyset.probe(face))
    for _ in range(5):
        call = replica.matcher.SearchGallery(request)
        await call.wait_for_connection()
        call.cancel()
    assert_close((await replica.scores(face))[0], people, face)


async def test_lists_go_page_by_page_and_their_tokens_fit_nowhere_else(replica, people):
    for number in range(5):
        await replica.enroll(f"s{number % 3}", people[number])
    request = gallery_service_pb2.ListEnrollmentsRequest(parent="galleries/staff", page_size=2)
    names = []
    while True:
        page = await replica.galleries.ListEnrollments(request)
        names += [enrollment.name.rpartition("/")[2] for enrollment in page.enrollments]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert names == ["1", "2", "3", "4", "5"]
    subjects = gallery_service_pb2.ListSubjectsRequest(parent="galleries/staff", page_token=request.page_token)
    error = await refusal(replica.galleries.ListSubjects(subjects))
    assert error.reason is Reason.INVALID_PAGE_TOKEN
    listed = await replica.galleries.ListSubjects(gallery_service_pb2.ListSubjectsRequest(parent="galleries/staff"))
    assert [(subject.name.rpartition("/")[2], subject.enrollment_count) for subject in listed.subjects] == [
        ("s0", 2),
        ("s1", 2),
        ("s2", 1),
    ]
