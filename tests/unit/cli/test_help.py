import subprocess
import sys
from typing import Any

import pytest
import typer
from rich.text import Text

from tests.unit.cli.conftest import Run
from veilface.cli.root import app


def leaves(command: Any, words: tuple[str, ...] = ()) -> dict[str, Any]:
    """Every command that does something, by the words that call it."""
    children = getattr(command, "commands", {})
    if not children:
        return {" ".join(words): command}
    return {line: leaf for name, child in children.items() for line, leaf in leaves(child, (*words, name)).items()}


COMMANDS = leaves(typer.main.get_command(app))

HEAVY = ("deepface", "grpc", "numba", "numpy", "pydantic", "sqlalchemy", "tenseal", "veilface.client.client")


def test_help_lists_every_command_and_the_exit_codes(veilface: Run) -> None:
    finished = veilface("--help")
    assert finished.exit_code == 0
    assert {"up", "enroll", "identify", "keys rotate", "bench papers"} <= COMMANDS.keys()
    for command in COMMANDS:
        assert command.split()[0] in finished.stdout
    assert "1 no match" in finished.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_and_knows_json(veilface: Run, command: str) -> None:
    finished = veilface(*command.split(), "--help")
    assert finished.exit_code == 0
    assert "--json" in finished.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_no_word_of_a_help_text_is_taken_for_markup(command: str) -> None:
    for parameter in COMMANDS[command].params:
        text = getattr(parameter, "help", None) or ""
        assert Text.from_markup(text).plain == text


def test_a_help_text_that_would_lose_words_is_noticed() -> None:
    lost = "The folder. [default: here]"
    assert Text.from_markup(lost).plain != lost


def test_help_imports_nothing_heavy() -> None:
    program = f"import sys, veilface.cli.root; print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert finished.stdout.strip() == "[]"


def test_the_names_of_the_options_are_those_of_the_domain() -> None:
    from typing import get_args

    from veilface.cli.commands.galleries import MetricOption
    from veilface.cli.options import FaceOption
    from veilface.client.faces import FaceSelection
    from veilface.crypto.contract import Metric

    def choices(annotated: object) -> set[str]:
        return set(get_args(get_args(annotated)[0]))

    assert choices(MetricOption) == {metric.value for metric in Metric}
    assert choices(FaceOption) == {FaceSelection.EXACTLY_ONE.value, FaceSelection.LARGEST.value}
