"""The commands do the same under a key of any scheme."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.integration.conformance.conftest import System
from typer.testing import CliRunner

from veilface.cli.exit_codes import ExitCode
from veilface.cli.local_stack.stack import LocalStack
from veilface.cli.root import app
from veilface.common.errors import Reason
from veilface.embedding.settings import DEFAULT_PIPELINE


class Terminal:
    """Runs commands on the stack inside this process."""

    def __init__(self, stack: LocalStack) -> None:
        self._state = str(stack.layout.root)

    def document(self, *arguments: str | Path, expected: ExitCode = ExitCode.DONE) -> dict[str, Any]:
        result = CliRunner().invoke(app, [*map(str, arguments), "--json", "--state", self._state])
        assert result.exit_code == expected, result.output
        document = json.loads(result.stdout)
        assert isinstance(document, dict)
        return document


@pytest.fixture
def terminal(stack: LocalStack) -> Terminal:
    return Terminal(stack)


def test_a_person_is_enrolled_verified_and_identified(system: System, terminal: Terminal) -> None:
    gallery, people = f"typed-{system.case.profile}", system.people
    terminal.document("gallery", "create", gallery, "--key", system.key)
    enrolled = terminal.document("enroll", gallery, people.references[0], "--subject", "ada")
    assert (enrolled["enrolled_count"], enrolled["failed_count"]) == (1, 0)
    assert terminal.document("verify", gallery, "ada", people.probes[0])["decision"] == "match"
    refused = terminal.document("verify", gallery, "ada", people.stranger, expected=ExitCode.NO_MATCH)
    assert refused["decision"] == "no_match"
    found = terminal.document("identify", gallery, people.probes[0])
    assert [candidate["subject"] for candidate in found["candidates"]] == ["ada"]
    terminal.document("identify", gallery, people.stranger, expected=ExitCode.NO_MATCH)


def test_embeddings_are_imported_where_the_scheme_has_segments(
    system: System, terminal: Terminal, tmp_path: Path
) -> None:
    gallery, vectors, ids = f"typed-import-{system.case.profile}", tmp_path / "vectors.npy", tmp_path / "ids.txt"
    np.save(vectors, np.array(system.embeddings))
    ids.write_text("".join(f"person-{number}\n" for number in range(len(system.embeddings))))
    terminal.document("gallery", "create", gallery, "--key", system.key)
    arguments = ("import", gallery, vectors, "--ids", ids, "--model", DEFAULT_PIPELINE)
    if not system.case.searches_packed:
        refused = terminal.document(*arguments, expected=ExitCode.REFUSED)
        assert refused["error"]["reason"] == Reason.UNSUPPORTED_BY_SCHEME
        return
    assert terminal.document(*arguments)["enrollment_count"] == len(system.embeddings)
    found = terminal.document("identify", gallery, system.people.probes[0])
    assert [candidate["subject"] for candidate in found["candidates"]] == ["person-0"]


def test_two_photographs_are_compared(system: System, terminal: Terminal) -> None:
    people = system.people
    asked = ("--key", system.key)
    assert terminal.document("compare", people.references[0], people.probes[0], *asked)["decision"] == "match"
    terminal.document("compare", people.references[0], people.stranger, *asked, expected=ExitCode.NO_MATCH)
