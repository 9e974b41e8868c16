import subprocess
import sys

import pytest

from tests.unit.cli.conftest import Run

COMMANDS = (
    "up",
    "down",
    "status",
    "demo",
    "enroll",
    "enroll-folder",
    "verify",
    "compare",
    "identify",
    "models",
    "import",
    "evaluate",
    "bench search",
    "bench papers",
    "certs create-authority",
    "certs issue",
    "certs renew",
    "certs show",
    "keys create",
    "keys list",
    "keys show",
    "gallery create",
    "gallery list",
    "gallery show",
    "gallery delete",
    "subject list",
    "subject show",
    "subject delete",
)
HEAVY = ("deepface", "grpc", "numba", "numpy", "pydantic", "sqlalchemy", "tenseal", "veilface.client.client")


def test_help_lists_every_command_and_the_exit_codes(veilface: Run) -> None:
    finished = veilface("--help")
    assert finished.exit_code == 0
    for command in COMMANDS:
        assert command.split()[0] in finished.stdout
    assert "1 no match" in finished.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_and_knows_json(veilface: Run, command: str) -> None:
    finished = veilface(*command.split(), "--help")
    assert finished.exit_code == 0
    assert "--json" in finished.stdout


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
