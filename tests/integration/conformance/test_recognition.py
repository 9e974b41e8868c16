"""Every scheme enrolls, verifies, identifies, erases and rotates through the same calls."""

import pytest
from tests.integration.conformance.conftest import System, policy_of

from veilface.common.errors import NotFoundError, Reason


def test_the_key_and_the_gallery_have_the_scheme_that_was_asked_for(system: System) -> None:
    key, gallery = system.client.keys.get(system.key), system.client.galleries.get(system.gallery)
    assert (key.scheme, key.profile) == (system.case.scheme, system.case.profile)
    assert (gallery.scheme, gallery.profile) == (system.case.scheme, system.case.profile)
    assert gallery.enrollment_count == len(system.references)


def test_a_mated_probe_matches(system: System) -> None:
    for number, probe in enumerate(system.probes):
        assert system.client.verify_template(system.gallery, f"person-{number}", probe).is_match


def test_a_non_mated_probe_does_not_match(system: System) -> None:
    for number, probe in enumerate(system.probes):
        other = (number + 1) % len(system.probes)
        if other != number:
            assert not system.client.verify_template(system.gallery, f"person-{other}", probe).is_match
    assert not system.client.verify_template(system.gallery, "person-0", system.stranger).is_match


def test_two_templates_are_compared_without_enrolling(system: System) -> None:
    assert system.client.compare_templates(system.references[0], system.probes[0]).is_match
    assert not system.client.compare_templates(system.references[0], system.stranger).is_match


def test_photographs_are_verified_and_identified_by_the_client_alone(system: System) -> None:
    # The client asks for the kind of probe that the gallery's scheme can compare.
    photograph = system.people.probes[0]
    assert system.client.verify(system.gallery, "person-0", photograph).is_match
    assert system.client.identify(system.gallery, photograph).candidates[0].subject == "person-0"


def test_each_person_is_found_first(system: System) -> None:
    for number, probe in enumerate(system.probes):
        answer = system.client.identify_template(system.gallery, probe, top_k=2)
        assert answer.candidates[0].subject == f"person-{number}"
        assert answer.score_count == len(system.references)


def test_a_stranger_is_not_found(system: System) -> None:
    answer = system.client.identify_template(system.gallery, system.stranger)
    assert not answer.candidates
    assert answer.score_count == len(system.references)


def test_an_enrollment_with_the_same_request_id_is_the_same(system: System, own_gallery: str) -> None:
    template = system.reference(0)
    first = system.client.enrollments.create(own_gallery, template, "ada", request_id="again")
    second = system.client.enrollments.create(own_gallery, template, "ada", request_id="again")
    assert first.name == second.name
    assert system.client.galleries.get(own_gallery).enrollment_count == 2


def test_what_is_erased_is_not_found(system: System, own_gallery: str) -> None:
    assert system.client.identify_template(own_gallery, system.probes[0]).candidates
    (enrollment,) = system.client.enrollments.list(own_gallery)
    system.client.enrollments.delete(enrollment.name)
    assert not system.client.identify_template(own_gallery, system.probes[0]).candidates
    with pytest.raises(NotFoundError) as refused:
        system.client.verify_template(own_gallery, "ada", system.probes[0])
    assert refused.value.reason is Reason.SUBJECT_NOT_FOUND
    with pytest.raises(NotFoundError) as refused:
        system.client.enrollments.get(enrollment.name)
    assert refused.value.reason is Reason.ENROLLMENT_NOT_FOUND


def test_the_others_are_found_after_one_is_erased(system: System, own_gallery: str) -> None:
    for number in range(len(system.references)):
        template = system.reference(number)
        system.client.enrollments.create(own_gallery, template, f"person-{number}", request_id=f"person-{number}")
    system.client.subjects.delete(own_gallery, "ada")
    for number, probe in enumerate(system.probes):
        assert system.client.identify_template(own_gallery, probe).candidates[0].subject == f"person-{number}"


def test_a_gallery_moves_to_a_new_key_version_without_enrolling_again(system: System) -> None:
    name = f"moving-{system.case.profile}"
    photograph, probe_photograph = system.people.references[0], system.people.probes[0]
    key = system.operator.keys.create(name, system.case.scheme, system.case.profile, policy_of()).name
    gallery = system.client.galleries.create(name, key).name
    system.client.enroll(gallery, photograph, subject="ada")
    assert system.client.verify(gallery, "ada", probe_photograph).is_match

    rotated = system.operator.keys.rotate(key)
    target = f"{key}/versions/{rotated.primary_version}"
    *_, last = system.operator.galleries.rotate(gallery, target)

    assert last.moved_count == 1
    assert system.client.galleries.get(gallery).key_version == target
    assert system.client.verify(gallery, "ada", probe_photograph).is_match
    assert system.client.identify(gallery, probe_photograph).candidates[0].subject == "ada"
    assert not system.client.verify(gallery, "ada", system.people.stranger).is_match
