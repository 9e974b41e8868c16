from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.unit.client.fakes import NO_FACE, Fakes
from veilface.cli.demo.collection import collection_from_folder
from veilface.cli.demo.findings import Findings
from veilface.cli.demo.questions import Interview
from veilface.client import VeilfaceClient
from veilface.common.errors import Reason


@contextmanager
def unseen(what: str, total: int) -> Iterator[Callable[[], None]]:
    yield lambda: None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three people with two photographs each."""
    for person in ("ada", "bob", "cyd"):
        (tmp_path / person).mkdir()
        for number in (1, 2):
            (tmp_path / person / f"{number}.jpg").write_bytes(f"{person} {number}".encode())
    return tmp_path


def interview(folder: Path) -> Findings:
    with VeilfaceClient.connect() as client:
        return Interview(client, "default", collection_from_folder(folder), unseen).run()


def enrolled(fakes: Fakes) -> dict[str, bytes]:
    return {request.subject_id: request.template.ciphertext for request in fakes.matching.enrolled}


def test_the_first_photograph_of_each_person_is_enrolled(folder: Path, fakes: Fakes) -> None:
    findings = interview(folder)
    assert not findings.failed
    assert len(findings.pairs) == 15
    assert enrolled(fakes) == {"ada": b"of:ada 1", "bob": b"of:bob 1", "cyd": b"of:cyd 1"}


def test_of_a_person_whose_first_photograph_has_no_face_the_next_is_enrolled(folder: Path, fakes: Fakes) -> None:
    (folder / "ada" / "1.jpg").write_bytes(NO_FACE)
    findings = interview(folder)
    assert [(path.name, error.reason) for path, error in findings.failed] == [("1.jpg", Reason.NO_FACE)]
    # Of bob and cyd two photographs are left, and of ada one.
    assert enrolled(fakes) == {"bob": b"of:bob 1", "cyd": b"of:cyd 1", "ada": b"of:ada 2"}
    assert len(findings.pairs) == 10


def test_nobody_is_asked_about_a_person_without_a_usable_photograph(folder: Path, fakes: Fakes) -> None:
    for number in (1, 2):
        (folder / "ada" / f"{number}.jpg").write_bytes(NO_FACE)
    findings = interview(folder)
    assert set(enrolled(fakes)) == {"bob", "cyd"}
    assert {finding.claim.subject for finding in findings.claims} == {"bob", "cyd"}
    assert {finding.search.subject for finding in findings.searches} == {"bob", "cyd"}
    assert not findings.all_right


def test_without_any_usable_photograph_nothing_is_decided(folder: Path, fakes: Fakes) -> None:
    for path in folder.glob("*/*.jpg"):
        path.write_bytes(NO_FACE)
    findings = interview(folder)
    assert len(findings.failed) == 6
    assert (findings.pairs, findings.claims, findings.searches) == ([], [], [])
    assert not findings.all_right
