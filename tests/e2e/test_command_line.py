"""The commands on the running stack, as a person or a script would type them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.faces import LabelledFaces
from veilface.cli.exit_codes import ExitCode
from veilface.cli.local_stack.stack import LocalStack
from veilface.client import VeilfaceClient
from veilface.embedding.settings import DEFAULT_PIPELINE

TIMEOUT_S = 120
GALLERY = "typed"


class Terminal:
    def __init__(self, stack: LocalStack) -> None:
        self._state = stack.layout.root

    def run(self, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "veilface.cli.app", *map(str, arguments), "--state", str(self._state)]
        return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)

    def document(self, *arguments: str | Path, expected: ExitCode = ExitCode.DONE) -> dict[str, Any]:
        finished = self.run(*arguments, "--json")
        assert finished.returncode == expected, finished.stderr
        document = json.loads(finished.stdout)
        assert isinstance(document, dict)
        return document


@pytest.fixture(scope="module")
def terminal(stack: LocalStack) -> Terminal:
    return Terminal(stack)


@pytest.fixture(scope="module")
def people(terminal: Terminal, faces: LabelledFaces, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three people enrolled from a folder; answers another photograph of each."""
    folder = tmp_path_factory.mktemp("people")
    others = {}
    several = [photographs for photographs in faces.people if len(photographs) > 1]
    for number, photographs in enumerate((several or faces.people)[-3:]):
        person = f"person-{number}"
        (folder / person).mkdir()
        (folder / person / photographs[0].name).write_bytes(photographs[0].read_bytes())
        others[person] = photographs[-1]
    terminal.document("gallery", "create", GALLERY)
    enrolled = terminal.document("enroll-folder", GALLERY, folder)
    assert (enrolled["enrolled_count"], enrolled["failed_count"]) == (len(others), 0)
    return others


def test_a_person_is_verified_and_another_is_not(terminal: Terminal, people: dict[str, Path]) -> None:
    (person, photograph), *rest = people.items()
    verified = terminal.document("verify", GALLERY, person, photograph)
    assert verified["decision"] == "match"
    for _, other in rest:
        refused = terminal.document("verify", GALLERY, person, other, expected=ExitCode.NO_MATCH)
        assert refused["decision"] == "no_match"


def test_a_person_is_identified(terminal: Terminal, people: dict[str, Path]) -> None:
    for person, photograph in people.items():
        answer = terminal.document("identify", GALLERY, photograph, "--top", "3")
        assert answer["candidates"][0]["subject"] == person
        services = {step["service"] for step in answer["steps"]}
        assert services == {"embedding", "matching", "keys"}


def test_an_enrolled_photograph_can_be_erased(terminal: Terminal, people: dict[str, Path]) -> None:
    photograph = next(iter(people.values()))
    terminal.document("enroll", GALLERY, photograph, "--subject", "temporary")
    assert terminal.document("verify", GALLERY, "temporary", photograph)["decision"] == "match"
    assert terminal.document("subject", "delete", GALLERY, "temporary")["enrollment_count"] == 1
    gone = terminal.document("verify", GALLERY, "temporary", photograph, expected=ExitCode.REFUSED)
    assert gone["error"]["reason"] == "SUBJECT_NOT_FOUND"


def test_two_photographs_are_compared(terminal: Terminal, people: dict[str, Path]) -> None:
    first, second, *_ = people.values()
    assert terminal.document("compare", first, first)["decision"] == "match"
    assert terminal.document("compare", first, second, expected=ExitCode.NO_MATCH)["decision"] == "no_match"


def test_two_photographs_are_compared_by_another_metric_with_a_named_model(
    terminal: Terminal, people: dict[str, Path]
) -> None:
    first, second, *_ = people.values()
    named = ("--model", DEFAULT_PIPELINE, "--metric", "squared-euclidean")
    assert terminal.document("compare", first, first, *named)["decision"] == "match"
    refused = terminal.document("compare", first, second, *named, expected=ExitCode.NO_MATCH)
    assert refused["decision"] == "no_match"


def test_a_search_with_a_probe_in_the_clear_needs_a_key_that_allows_it(
    terminal: Terminal, people: dict[str, Path], client: VeilfaceClient
) -> None:
    photograph = next(iter(people.values()))
    refused = terminal.document("identify", GALLERY, photograph, "--plaintext-probe", expected=ExitCode.REFUSED)
    assert refused["error"]["reason"] == "POLICY_DENIED"

    terminal.document("keys", "create", "open", "--allow-plaintext-probe")
    client.galleries.create("seen", "open")
    client.enroll("seen", photograph, subject="ada")
    shown = {}
    for options in ((), ("--plaintext-probe",)):
        answer = terminal.document("identify", "seen", photograph, *options)
        assert [candidate["subject"] for candidate in answer["candidates"]] == ["ada"]
        shown[options] = {payload["kind"] for step in answer["steps"] for payload in step["sent"]}
    assert "probe in the clear" in shown["--plaintext-probe",]
    assert "probe in the clear" not in shown[()]


def test_keys_models_and_status_are_shown(terminal: Terminal) -> None:
    assert {"keys/default"} <= {key["name"] for key in terminal.document("keys", "list")["keys"]}
    assert terminal.document("models")["models"][0]["is_default"]
    status = terminal.document("status")
    assert status["is_ready"]
    assert list(status["services"]) == ["redis", "keys", "embedding", "matching"]


def test_people_read_words(terminal: Terminal, people: dict[str, Path]) -> None:
    person, photograph = next(iter(people.items()))
    finished = terminal.run("verify", GALLERY, person, photograph, "--steps")
    assert finished.returncode == ExitCode.DONE
    assert finished.stdout.startswith("match")
    assert "DecideVerification" in finished.stdout
