from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.conftest import Run
from tests.unit.client.fakes import LAST_STRAW, NO_FACE, Fakes
from veilface.cli.exit_codes import ExitCode
from veilface.client import VeilfaceClient
from veilface.client.results import EnrollmentOutcome


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two photographs of one person and one of another."""
    for person, count in (("ada", 2), ("bob", 1)):
        (tmp_path / person).mkdir()
        for number in range(count):
            (tmp_path / person / f"{number}.jpg").write_bytes(f"{person}{number}".encode())
    return tmp_path


def test_each_person_is_enrolled(veilface: Run, fakes: Fakes, folder: Path) -> None:
    document = veilface("enroll-folder", "staff", str(folder), "--json").document
    assert (document["enrolled_count"], document["failed_count"], document["already_enrolled_count"]) == (3, 0, 0)
    assert [each["enrollment"]["subject"] for each in document["photographs"]] == ["ada", "ada", "bob"]
    assert document["photographs"][0]["face"]["bounding_box"] == {"x": 1, "y": 2, "width": 30, "height": 40}


def test_run_again_it_enrolls_only_what_is_new(veilface: Run, fakes: Fakes, folder: Path) -> None:
    assert veilface("enroll-folder", "staff", str(folder)).exit_code == ExitCode.DONE
    (folder / "bob" / "new.jpg").write_bytes(b"bob again")
    again = veilface("enroll-folder", "staff", str(folder), "--json")
    assert again.exit_code == ExitCode.DONE
    assert (again.document["enrolled_count"], again.document["already_enrolled_count"]) == (1, 3)
    assert [request.template.ciphertext for request in fakes.matching.enrolled][3:] == [b"of:bob again"]


def test_of_one_photograph_enrolled_by_hand_there_may_be_several_templates(
    veilface: Run, fakes: Fakes, folder: Path
) -> None:
    for _ in range(2):
        finished = veilface("enroll", "staff", str(folder / "ada" / "0.jpg"), "--subject", "ada", "--json")
        assert finished.document["enrolled_count"] == 1
    assert len(fakes.matching.enrolled) == 2


def test_what_was_enrolled_before_a_service_went_away_is_reported(veilface: Run, fakes: Fakes, folder: Path) -> None:
    (folder / "ada" / "1.jpg").write_bytes(LAST_STRAW)
    stopped = veilface("enroll-folder", "staff", str(folder), "--json")
    assert stopped.exit_code == ExitCode.UNAVAILABLE
    assert stopped.document["enrolled_count"] == len(fakes.matching.enrolled) == 1
    assert stopped.document["not_reached_count"] == 2
    assert stopped.document["error"]["reason"] == "DEPENDENCY_UNAVAILABLE"
    assert "stopped before 2 of 3 photographs" in stopped.stderr

    (folder / "ada" / "1.jpg").write_bytes(b"ada in better health")
    again = veilface("enroll-folder", "staff", str(folder), "--json").document
    assert (again["enrolled_count"], again["already_enrolled_count"]) == (2, 1)


def test_what_was_enrolled_before_the_keyboard_stopped_it_is_reported(
    veilface: Run, fakes: Fakes, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enroll_many = VeilfaceClient.enroll_many

    def stopped_after_one(*arguments: Any, **options: Any) -> Iterator[EnrollmentOutcome]:
        yield next(enroll_many(*arguments, **options))
        raise KeyboardInterrupt

    monkeypatch.setattr(VeilfaceClient, "enroll_many", stopped_after_one)
    stopped = veilface("enroll-folder", "staff", str(folder), "--json")
    assert stopped.exit_code == ExitCode.INTERRUPTED
    assert (stopped.document["enrolled_count"], stopped.document["not_reached_count"]) == (1, 2)


def test_whoever_was_erased_does_not_come_back_with_the_folder(veilface: Run, fakes: Fakes, folder: Path) -> None:
    veilface("enroll-folder", "staff", str(folder))
    fakes.matching.erased = {fakes.matching.enrolled[0].request_id}
    again = veilface("enroll-folder", "staff", str(folder), "--json")
    assert again.exit_code == ExitCode.REFUSED
    assert (again.document["failed_count"], again.document["already_enrolled_count"]) == (1, 2)
    assert "'veilface enroll' enrolls it again" in again.document["photographs"][0]["error"]["message"]


def test_people_read_what_failed_and_why(veilface: Run, fakes: Fakes, folder: Path) -> None:
    (folder / "ada" / "0.jpg").write_bytes(NO_FACE)
    finished = veilface("enroll-folder", "staff", str(folder))
    assert finished.exit_code == ExitCode.REFUSED
    assert "enrolled 2 of 3 photographs of 2 people in staff" in finished.stdout
    assert "NO_FACE" in finished.stdout


def test_the_matcher_is_told_nothing_that_a_photograph_could_be_found_by(
    veilface: Run, fakes: Fakes, folder: Path
) -> None:
    veilface("enroll-folder", "staff", str(folder))
    before = [request.request_id for request in fakes.matching.enrolled]
    fakes.matching.enrolled.clear()
    for path in folder.glob("*/*.jpg"):
        path.write_bytes(b"other pixels")
    veilface("enroll-folder", "staff", str(folder))
    assert [request.request_id for request in fakes.matching.enrolled] == before
