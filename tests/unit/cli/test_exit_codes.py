import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Run
from tests.unit.client.fakes import NO_FACE, Fakes
from veilface.cli.exit_codes import ExitCode, error_of, exit_code_of
from veilface.common.errors import (
    ConfigurationError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    Reason,
    ResourceExhaustedError,
    UnavailableError,
    VeilfaceError,
)
from veilface.keys.v1 import key_service_pb2


@pytest.fixture
def photograph(tmp_path: Path) -> str:
    path = tmp_path / "visitor.jpg"
    path.write_bytes(b"visitor")
    return str(path)


@pytest.mark.parametrize(
    ("decision", "expected"),
    [(key_service_pb2.DECISION_MATCH, ExitCode.DONE), (key_service_pb2.DECISION_NO_MATCH, ExitCode.NO_MATCH)],
)
def test_a_decision_is_told_apart_from_failures(
    veilface: Run, fakes: Fakes, photograph: str, decision: int, expected: ExitCode
) -> None:
    fakes.keys.decision = decision
    assert veilface("verify", "staff", "ada", photograph).exit_code == expected
    assert veilface("compare", photograph, photograph).exit_code == expected


def test_a_search_that_finds_nobody_is_no_match(veilface: Run, fakes: Fakes, photograph: str) -> None:
    assert veilface("identify", "staff", photograph).exit_code == ExitCode.NO_MATCH


def test_what_a_service_refuses_is_neither_match_nor_no_match(veilface: Run, fakes: Fakes, photograph: str) -> None:
    assert veilface("verify", "nobody", "ada", photograph).exit_code == ExitCode.REFUSED


@pytest.mark.parametrize(
    "arguments",
    [
        ("verify", "staff"),
        ("verify", "staff", "ada", "no-such-file.jpg"),
        ("identify", "staff", "{photograph}", "--top", "0"),
        ("compare", "{photograph}", "{photograph}", "--face", "ugliest"),
        ("enroll", "staff", "{photograph}"),
        ("enroll", "staff", "{photograph}", "--subject", "ada", "--label", "without-a-value"),
        ("no-such-command",),
    ],
)
def test_a_command_written_wrong_is_a_usage_error(
    veilface: Run, fakes: Fakes, photograph: str, arguments: tuple[str, ...]
) -> None:
    finished = veilface(*(argument.format(photograph=photograph) for argument in arguments))
    assert finished.exit_code == ExitCode.USAGE
    assert finished.stdout == ""


def test_without_a_stack_the_way_out_is_told(veilface: Run, tmp_path: Path) -> None:
    finished = veilface("gallery", "list", "--json", "--state", str(tmp_path / "nowhere"))
    assert finished.exit_code == ExitCode.SETUP
    assert finished.document["error"]["reason"] == "INVALID_SETTING"
    assert finished.document["error"]["exit_code"] == ExitCode.SETUP
    assert "veilface up" in finished.document["error"]["message"]
    assert "INVALID_SETTING" in finished.stderr


def test_an_unreachable_service_is_worth_another_try(veilface: Run, tmp_path: Path) -> None:
    nobody = f"unix:{tmp_path / 'nobody.sock'}"
    finished = veilface(
        "models",
        VEILFACE_EMBEDDING_SERVICE=nobody,
        VEILFACE_KEY_SERVICE=nobody,
        VEILFACE_MATCHING_SERVICE=nobody,
        VEILFACE_INSECURE="true",
    )
    assert finished.exit_code == ExitCode.UNAVAILABLE
    assert "the embedding service" in finished.stderr.replace("\n", " ")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (InvalidArgumentError(Reason.IMAGE_FORMAT, ""), ExitCode.REFUSED),
        (FailedPreconditionError(Reason.NO_FACE, ""), ExitCode.REFUSED),
        (NotFoundError(Reason.GALLERY_NOT_FOUND, ""), ExitCode.REFUSED),
        (PermissionDeniedError(Reason.IDENTITY_DENIED, ""), ExitCode.REFUSED),
        (ResourceExhaustedError(Reason.QUOTA_EXCEEDED, ""), ExitCode.REFUSED),
        (ResourceExhaustedError(Reason.OVERLOADED, ""), ExitCode.UNAVAILABLE),
        (UnavailableError(Reason.DEADLINE_EXCEEDED, ""), ExitCode.UNAVAILABLE),
        (UnavailableError(Reason.STACK_FAILED, ""), ExitCode.SETUP),
        (ConfigurationError(Reason.INVALID_SETTING, ""), ExitCode.SETUP),
        (VeilfaceError(Reason.INTERNAL, ""), ExitCode.INTERNAL),
    ],
)
def test_errors_have_exit_codes_above_two(error: VeilfaceError, expected: ExitCode) -> None:
    assert exit_code_of(error) is expected
    assert expected > ExitCode.USAGE


def test_a_crash_is_not_mistaken_for_no_match(tmp_path: Path) -> None:
    # Python itself ends with 1 after an exception, which would mean "no match".
    program = (
        "import veilface.cli.root, veilface.cli.app\n"
        "def crash(**_): raise RuntimeError('planted')\n"
        "veilface.cli.root.app = crash\n"
        "veilface.cli.app.main()\n"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert finished.returncode == ExitCode.INTERNAL
    assert "planted" in finished.stderr


def test_one_bad_photograph_of_several_is_told(veilface: Run, fakes: Fakes, photograph: str, tmp_path: Path) -> None:
    tree = tmp_path / "tree.jpg"
    tree.write_bytes(NO_FACE)
    finished = veilface("enroll", "staff", photograph, str(tree), "--subject", "ada", "--json")
    assert finished.exit_code == ExitCode.REFUSED
    assert (finished.document["enrolled_count"], finished.document["failed_count"]) == (1, 1)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (ExitCode.SETUP, Reason.INVALID_SETTING),
        (ExitCode.SETUP, Reason.STACK_FAILED),
        (ExitCode.UNAVAILABLE, Reason.DEPENDENCY_UNAVAILABLE),
        (ExitCode.UNAVAILABLE, Reason.OVERLOADED),
        (ExitCode.REFUSED, Reason.KEY_EXISTS),
        (ExitCode.INTERNAL, Reason.INTERNAL),
    ],
)
def test_an_error_of_another_process_keeps_its_exit_code(code: ExitCode, reason: Reason) -> None:
    error = error_of(code, reason, "what was wrong")
    assert (exit_code_of(error), error.reason, error.message) == (code, reason, "what was wrong")


@pytest.mark.parametrize("arguments", [("gallery", "delete", "staff"), ("keys", "destroy", "default/1", "--now")])
def test_a_question_that_nobody_can_answer_is_a_usage_error(
    veilface: Run, fakes: Fakes, arguments: tuple[str, ...]
) -> None:
    finished = veilface(*arguments, "--json")
    assert finished.exit_code == ExitCode.USAGE
    assert "--yes" in finished.stderr
