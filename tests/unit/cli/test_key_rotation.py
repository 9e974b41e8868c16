"""veilface keys rotate, against services that answer from a script."""

import pytest

from tests.unit.cli.conftest import Finished, Run
from tests.unit.client.fakes import KEY_VERSION, Fakes

NEW = "keys/default/versions/2"


@pytest.fixture
def rotate(veilface: Run, fakes: Fakes) -> Run:
    def run(*arguments: str) -> Finished:
        return veilface("keys", "rotate", "default", *arguments, "--json")

    return run


def test_the_galleries_move_to_the_new_version_and_an_interruption_is_overcome(rotate: Run, fakes: Fakes) -> None:
    document = rotate().document
    assert document["key_version"] == NEW
    (gallery,) = document["galleries"]
    assert (gallery["previous_key_version"], gallery["key_version"]) == (KEY_VERSION, NEW)
    assert gallery["enrollment_count"] == 2
    assert [request.key_version for request in fakes.matching.moves] == [NEW, NEW]


def test_resuming_makes_no_new_version(rotate: Run, fakes: Fakes) -> None:
    rotate("--galleries", "none")
    assert fakes.matching.moves == []
    document = rotate("--resume").document
    assert document["key"]["primary_version"] == 2
    assert [gallery["name"] for gallery in document["galleries"]] == ["galleries/staff"]
    assert rotate("--resume").document["galleries"] == []


def test_a_gallery_of_another_key_is_refused(rotate: Run, fakes: Fakes) -> None:
    fakes.matching.key_version = "keys/other/versions/1"
    finished = rotate("--galleries", "staff")
    assert finished.exit_code == 3
    assert finished.document["error"]["reason"] == "WRONG_KEY_VERSION"
