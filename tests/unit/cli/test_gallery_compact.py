"""veilface gallery compact, against services that answer from a script."""

from tests.unit.cli.conftest import Run
from tests.unit.client.fakes import GALLERY, KEY_VERSION, Fakes


def test_a_gallery_is_compacted_under_its_own_version_and_an_interruption_may_be_tried_again(
    veilface: Run, fakes: Fakes
) -> None:
    # The scripted service is away at first.
    assert veilface("gallery", "compact", "staff", "--json").exit_code == 4
    document = veilface("gallery", "compact", "staff", "--json").document
    assert document == {"name": GALLERY, "moved_count": 2}
    assert [(move.key_version, move.compact) for move in fakes.matching.moves] == [(KEY_VERSION, True)] * 2


def test_a_gallery_that_is_not_there_is_not_found(veilface: Run, fakes: Fakes) -> None:
    assert veilface("gallery", "compact", "nobody", "--json").document["error"]["reason"] == "GALLERY_NOT_FOUND"
    assert fakes.matching.moves == []
