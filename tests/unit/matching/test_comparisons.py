import hashlib

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
)
from veilface.common.names import GalleryName
from veilface.matching.domain.enrollments import NewEnrollment

STAFF = GalleryName("staff")
ANNA = np.array([1.0, 0.0, 0.0, 0.0])
BEN = np.array([0.0, 1.0, 0.0, 0.0])
PROBE = np.array([0.8, 0.6, 0.0, 0.0])


def scores(batches):
    return [float(np.frombuffer(batch.ciphertext)[0]) for batch in batches]


async def test_a_probe_is_compared_with_a_template(world):
    batches = await world.matching.comparisons.compare(world.embedder.probe(PROBE), world.embedder.reference(ANNA))
    assert scores(batches) == pytest.approx([0.8])
    ticket = world.ticket(batches[0])
    assert (ticket.circuit, ticket.gallery, ticket.subject, ticket.generation) == (Circuit.VERIFY, "", "", 0)
    assert (ticket.batch_index, ticket.batch_count, ticket.score_count) == (0, 1, 1)


async def test_a_probe_is_compared_with_an_enrollment(world):
    await world.enroll("anna", ANNA)
    made = await world.enroll("ben", BEN)
    batches = await world.matching.comparisons.compare(world.embedder.probe(PROBE), made.name)
    assert scores(batches) == pytest.approx([0.6])
    ticket = world.ticket(batches[0])
    assert (ticket.gallery, ticket.subject) == ("galleries/staff", "galleries/staff/subjects/ben")


async def test_a_probe_is_compared_with_every_enrollment_of_a_subject(world):
    await world.enroll("anna", ANNA)
    await world.enroll("ben", BEN)
    await world.enroll("anna", PROBE)
    batches = await world.matching.comparisons.compare(world.embedder.probe(PROBE), STAFF.subject("anna"))
    assert scores(batches) == pytest.approx([0.8, 1.0])
    tickets = [world.ticket(batch) for batch in batches]
    assert [(ticket.batch_index, ticket.batch_count) for ticket in tickets] == [(0, 2), (1, 2)]
    assert len({ticket.nonce for ticket in tickets}) == 1
    assert {ticket.subject for ticket in tickets} == {"galleries/staff/subjects/anna"}


async def test_every_way_to_compare_with_a_template_names_its_digest(world):
    template = world.embedder.reference(ANNA)
    made = await world.matching.enrollments.enroll(NewEnrollment(STAFF.subject("anna"), {}, "r", template))
    probe = world.embedder.probe(PROBE)
    digest = hashlib.sha256(template.ciphertext).digest()
    for target in (template, made.name, made.subject):
        (batch,) = await world.matching.comparisons.compare(probe, target)
        assert world.ticket(batch).reference_sha256 == digest
    other = await world.enroll("ben", BEN)
    (batch,) = await world.matching.comparisons.compare(probe, other.name)
    assert world.ticket(batch).reference_sha256 != digest


async def test_an_erased_enrollment_is_not_compared_with(world):
    made = await world.enroll("anna", ANNA)
    await world.enroll("anna", PROBE)
    await world.matching.enrollments.erase(made.name)
    with pytest.raises(NotFoundError) as caught:
        await world.matching.comparisons.compare(world.embedder.probe(PROBE), made.name)
    assert caught.value.reason is Reason.ENROLLMENT_NOT_FOUND
    batches = await world.matching.comparisons.compare(world.embedder.probe(PROBE), STAFF.subject("anna"))
    assert scores(batches) == pytest.approx([1.0])


async def test_whoever_is_not_enrolled_is_not_found(world):
    with pytest.raises(NotFoundError) as caught:
        await world.matching.comparisons.compare(world.embedder.probe(PROBE), STAFF.subject("nobody"))
    assert caught.value.reason is Reason.SUBJECT_NOT_FOUND
    with pytest.raises(NotFoundError) as caught:
        await world.matching.comparisons.compare(world.embedder.probe(PROBE), GalleryName("nowhere").subject("nobody"))
    assert caught.value.reason is Reason.GALLERY_NOT_FOUND


async def test_both_sides_must_be_vouched_for(world):
    stranger = type(world.embedder)()
    with pytest.raises(PermissionDeniedError):
        await world.matching.comparisons.compare(stranger.probe(PROBE), world.embedder.reference(ANNA))
    with pytest.raises(PermissionDeniedError):
        await world.matching.comparisons.compare(world.embedder.probe(PROBE), stranger.reference(ANNA))


async def test_both_sides_must_be_of_their_side(world):
    probe, reference = world.embedder.probe(PROBE), world.embedder.reference(ANNA)
    for wrong in ((reference, reference), (probe, probe), (reference, probe)):
        with pytest.raises(InvalidArgumentError) as caught:
            await world.matching.comparisons.compare(*wrong)
        assert caught.value.reason is Reason.WRONG_USE


async def test_both_sides_must_be_well_formed(world):
    probe, reference = world.embedder.probe(PROBE), world.embedder.reference(ANNA)
    broken = {"ciphertext": b"rubbish"}
    with pytest.raises(InvalidCiphertextError):
        await world.matching.comparisons.compare(world.embedder.probe(PROBE, **broken), reference)
    with pytest.raises(InvalidCiphertextError):
        await world.matching.comparisons.compare(probe, world.embedder.reference(ANNA, **broken))


async def test_both_sides_must_be_of_one_kind(world):
    await world.enroll("anna", ANNA)
    probe = world.embedder.probe(PROBE, model="facenet")
    for target in (world.embedder.reference(ANNA), STAFF.subject("anna"), STAFF.enrollment(1)):
        with pytest.raises(FailedPreconditionError) as caught:
            await world.matching.comparisons.compare(probe, target)
        assert caught.value.reason is Reason.WRONG_MODEL
