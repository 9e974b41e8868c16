"""Every command and every program in the README does what the README says."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faces import labelled_faces

REPOSITORY = Path(__file__).resolve().parents[2]
README = (REPOSITORY / "README.md").read_text()
_BLOCK = re.compile(r"```(sh|python)\n(.*?)```", re.DOTALL)
_MARKED = re.compile(r"<!-- run: (?:commands|python) -->\n```(sh|python)\n(.*?)```", re.DOTALL)
# Run elsewhere: tests/unit/deploy/test_helm_credentials.py runs the cluster's, tests/e2e/test_compose.py Docker's.
_ELSEWHERE = re.compile(r"<!-- run: (?:cluster|docker) -->\n```(sh)\n(.*?)```", re.DOTALL)
# Run by tests of their own: the demo by test_fresh_clone, and ./tests/run is what runs this file.
_ENTRY_POINTS = ("./deploy/local/demo", "./tests/run")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that looks like the repository to the commands, with photographs of two people."""
    for name in ("protos", ".venv"):
        source = REPOSITORY / name if name != ".venv" else Path(sys.prefix)
        (tmp_path / name).symlink_to(source)
    people = sorted(labelled_faces().people, key=len, reverse=True)
    for person, photographs in zip(("ada", "grace"), people, strict=False):
        (tmp_path / "photos" / person).mkdir(parents=True)
        for number, photograph in enumerate(photographs[:3], 1):
            (tmp_path / "photos" / person / f"{number}.jpg").write_bytes(photograph.read_bytes())
    yield tmp_path
    subprocess.run(["veilface", "down"], cwd=tmp_path, check=False, capture_output=True, timeout=120)


def test_every_block_is_marked_to_be_run_or_is_an_entry_point() -> None:
    marked = {block for _, block in (*_MARKED.findall(README), *_ELSEWHERE.findall(README))}
    for _, block in _BLOCK.findall(README):
        lines = [line for line in block.splitlines() if line.strip()]
        assert block in marked or all(line.startswith(_ENTRY_POINTS) for line in lines)


def test_the_entry_points_are_executable() -> None:
    for path in _ENTRY_POINTS:
        assert path in README
        assert os.access(REPOSITORY / path, os.X_OK)


def test_the_blocks_run_one_after_the_other(folder: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VEILFACE_")}
    outputs = []
    for language, block in _MARKED.findall(README):
        command = ["bash", "-euo", "pipefail", "-c", f". .venv/bin/activate\n{block}"]
        if language == "python":
            command = [sys.executable, "-c", block]
        run = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert run.returncode == 0, f"{block}\n{run.stdout}\n{run.stderr}"
        outputs.append(run.stdout)
    commands, program, curl = outputs
    assert "ada" in commands
    assert "(1, 'ada')" in program
    assert "galleries/staff" in curl


def test_the_numbers_table_names_commands_that_exist() -> None:
    commands = set(re.findall(r"`veilface bench ([a-z]+)", README))
    assert commands
    help_text = subprocess.run(
        ["veilface", "bench", "--help"], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    for command in commands:
        assert command in help_text
