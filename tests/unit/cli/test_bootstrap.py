"""The script that makes the environment, in a repository that installs in seconds."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest

BOOTSTRAP = Path(__file__).resolve().parents[3] / "deploy" / "local" / "bootstrap"
TIMEOUT_S = 300
PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "veilface"
version = "0"

[project.optional-dependencies]
demo = []

[tool.setuptools]
py-modules = []
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    (root / "deploy" / "local").mkdir(parents=True)
    shutil.copy(BOOTSTRAP, root / "deploy" / "local" / "bootstrap")
    (root / "pyproject.toml").write_text(PROJECT)
    return root


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """The only programs that the script finds: this Python, and what every Linux has."""
    folder = tmp_path / "tools"
    folder.mkdir()
    (folder / "python3").symlink_to(sys.base_prefix + "/bin/python3")
    for name in ("sh", "cat", "cksum", "dirname", "rm", "uname"):
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    return folder


def bootstrap(repository: Path, tools: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [repository / "deploy" / "local" / "bootstrap", "demo"],
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTHON")} | {"PATH": str(tools)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def is_installed(repository: Path) -> bool:
    command = [repository / ".venv" / "bin" / "python", "-m", "pip", "show", "veilface"]
    return subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, check=False).returncode == 0


def test_an_environment_that_was_left_unfinished_is_completed(repository: Path, tools: Path) -> None:
    subprocess.run(
        [str(tools / "python3"), "-m", "venv", "--without-pip", str(repository / ".venv")],
        check=True,
        timeout=TIMEOUT_S,
    )
    finished = bootstrap(repository, tools)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout == ""
    assert "completing" in finished.stderr
    assert is_installed(repository)
    again = bootstrap(repository, tools)
    assert (again.returncode, again.stderr) == (0, "")


def test_another_system_is_refused_before_anything_is_made(repository: Path, tools: Path) -> None:
    (tools / "uname").unlink()
    (tools / "uname").write_text("#!/bin/sh\necho Darwin\n")
    (tools / "uname").chmod(0o755)
    finished = bootstrap(repository, tools)
    assert finished.returncode == 5
    assert "veilface runs on Linux, and this is Darwin" in finished.stderr
    assert not (repository / ".venv").exists()


def test_a_machine_without_python_is_told_what_is_missing(repository: Path, tools: Path) -> None:
    (tools / "python3").unlink()
    finished = bootstrap(repository, tools)
    assert finished.returncode == 5
    assert "Python 3.11 or newer is needed" in finished.stderr


def test_the_lock_names_every_dependency_of_the_project() -> None:
    root = BOOTSTRAP.parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    required = {_name(line) for line in (*project["dependencies"], *chain(*extras))} - {"veilface"}
    locked = {_name(line) for line in (root / "requirements.lock").read_text().splitlines() if "==" in line}
    assert {"grpcio", "hypothesis"} <= required
    assert required <= locked


def _name(requirement: str) -> str:
    match = re.match(r"[\w.-]+", requirement)
    assert match is not None
    return match[0].lower().replace("_", "-")
