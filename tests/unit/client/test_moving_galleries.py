"""The client follows a gallery that moves to another key version."""

import pytest

from tests.unit.client.fakes import KEY_VERSION, Fakes
from veilface.client import VeilfaceClient
from veilface.client.names import parse_version
from veilface.client.results import Enrolled, Photograph
from veilface.common.errors import FailedPreconditionError, InvalidArgumentError, Reason
from veilface.common.names import KeyVersionName
from veilface.crypto.contract import TemplateUse

NEW = "keys/default/versions/2"


def keys_asked_for(fakes: Fakes) -> list[str]:
    return [request.key for request in fakes.embedding.requests]


def test_a_search_is_asked_again_under_the_new_version(client: VeilfaceClient, fakes: Fakes) -> None:
    fakes.matching.switches_to = NEW
    assert client.identify("staff", b"visitor").candidates == ()
    assert keys_asked_for(fakes) == [KEY_VERSION, NEW]


def test_a_verification_is_asked_again_under_the_new_version(client: VeilfaceClient, fakes: Fakes) -> None:
    fakes.matching.switches_to = NEW
    assert client.verify("staff", "ada", b"visitor").is_match
    assert keys_asked_for(fakes) == [KEY_VERSION, NEW]


def test_an_enrollment_is_made_again_with_the_same_request_id(client: VeilfaceClient, fakes: Fakes) -> None:
    fakes.matching.switches_to = NEW
    client.enroll("staff", b"ada", subject="ada", request_id="once")
    assert keys_asked_for(fakes) == [KEY_VERSION, NEW]
    assert [request.request_id for request in fakes.matching.enrolled] == ["once"]


def test_one_of_many_enrollments_is_made_again(client: VeilfaceClient, fakes: Fakes) -> None:
    fakes.matching.switches_to = NEW
    photographs = [Photograph(image=name, subject="ada") for name in (b"1", b"2")]
    outcomes = list(client.enroll_many("staff", photographs))
    assert all(isinstance(outcome.result, Enrolled) for outcome in outcomes)
    assert sorted(keys_asked_for(fakes)) == [KEY_VERSION, KEY_VERSION, NEW]


def test_a_template_that_was_extracted_before_is_not_made_again(client: VeilfaceClient, fakes: Fakes) -> None:
    probe = client.extract(b"visitor", TemplateUse.PROBE, key=KEY_VERSION).faces[0].template
    fakes.matching.switches_to = NEW
    with pytest.raises(FailedPreconditionError) as caught:
        client.identify_template("staff", probe)
    assert caught.value.reason is Reason.WRONG_KEY_VERSION


@pytest.mark.parametrize("version", ["staff/2", "keys/staff/versions/2"])
def test_a_version_has_a_short_and_a_full_name(version: str) -> None:
    assert parse_version(version) == KeyVersionName("staff", 2)


@pytest.mark.parametrize(
    "version", ["staff", "staff/", "staff/two", "staff/0", "keys/staff", "keys/staff/versions/x", ""]
)
def test_another_text_is_no_version(version: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        parse_version(version)
    assert caught.value.reason is Reason.INVALID_NAME
