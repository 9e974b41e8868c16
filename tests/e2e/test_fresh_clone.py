"""The README's first command in a clone of what is committed: no environment, nothing installed, one command."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faces import MASTER, REPOSITORY, faces_folder, packaged_faces

CLONE_TIMEOUT_S = 120
# Time to download and install everything, several hundred megabytes, and to run the demo.
TIMEOUT_S = 1200


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone of the work tree's HEAD."""
    git = shutil.which("git")
    assert git is not None, "git is needed: apt-get install git"
    folder = tmp_path / "veilface"
    command = [git, "-c", f"safe.directory={REPOSITORY}", "clone", "--quiet", str(REPOSITORY), str(folder)]
    subprocess.run(command, check=True, timeout=CLONE_TIMEOUT_S)
    return folder


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """A flat folder with a master.csv."""
    found = faces_folder()
    if found is not None:
        return found
    folder = tmp_path / "photographs"
    folder.mkdir()
    faces = packaged_faces()
    for path in faces.photographs:
        shutil.copy(path, folder)
    with (folder / MASTER).open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("file_x", "file_y", "Decision"))
        rows.writerows((pair.first.name, pair.second.name, "Yes" if pair.mated else "No") for pair in faces.pairs)
    return folder


def bare_environment() -> dict[str, str]:
    """This one without what the tests' own virtual environment adds to it; how pip reaches its index stays."""
    own = str(Path(sys.prefix) / "bin")
    path = os.pathsep.join(folder for folder in os.environ["PATH"].split(os.pathsep) if folder != own)
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("VEILFACE_", "PYTHON")) and name != "VIRTUAL_ENV"
    }
    return kept | {"PATH": path}


def test_one_command_decides_every_labelled_pair_rightly(clone: Path, photographs: Path) -> None:
    finished = subprocess.run(
        ["./deploy/local/demo", "--photos", str(photographs), "--json"],
        cwd=clone,
        env=bare_environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    document = json.loads(finished.stdout)
    with (photographs / MASTER).open(newline="") as file:
        labelled = len(list(csv.DictReader(file)))
    assert document["pair_count"] == labelled
    assert document["all_right"]
    assert (document["accuracy"], document["rank_1_rate"]) == (1.0, 1.0)
    assert (clone / ".venv" / "bin" / "veilface").exists()
    status = subprocess.run(["git", "status", "--porcelain"], cwd=clone, capture_output=True, text=True, check=True)
    assert status.stdout == ""
