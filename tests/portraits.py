"""Portraits that come inside Python packages, for tests on machines without photographs of their own.

- face_recognition 1.3.0 (MIT), tests/test_images of its source distribution: two presidents of the United States.
- scikit-image (BSD-3-Clause), skimage/data: the astronaut Eileen Collins, a NASA photograph in the public domain.

The source distribution is fetched once with pip and kept in a cache folder.
"""

import hashlib
import os
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

SDIST = "face_recognition-1.3.0"
SDIST_SHA256 = "5e5efdd1686aa566af0d3cc1313b131e4b197657a8ffd03669e6d3fad92705ec"
REQUIREMENT = "face_recognition==1.3.0"
FETCH_TIMEOUT_S = 180


@dataclass(frozen=True, slots=True)
class Portrait:
    """A photograph that shows one face.

    Attributes:
        person: Who it is.
        filename: Without its folder.
        sha256: Of the file.
    """

    person: str
    filename: str
    sha256: str


SDIST_PORTRAITS = (
    Portrait("obama", "obama.jpg", "0930e3aa8cae5920329c0c8cbc6a2ab70f47b0e67b432875beaa95cbf7e741f6"),
    Portrait("obama", "obama2.jpg", "a7efcc907375274796f39646510704aa86672d59f6d5469d69af3c85590976a6"),
    Portrait("obama", "obama3.jpg", "76ac6bf97c36dc2da0ad16a537d6a5ac1b10f48d49aac29a0cca9a17cdbc3ca3"),
    Portrait("obama", "obama_partial_face.jpg", "c2d1f09e7ef3042352b41e41286e6eb0522f64f88308be13886991b95db52117"),
    Portrait("obama", "obama_partial_face2.jpg", "9a812347f97633542b8cd9992de22def11b74f79d82056bc3ee830f13878e028"),
    Portrait("biden", "biden.jpg", "3c17508bb91554c637a2eabddfae790e5bb1caba93130814fc2ac50be9760c4c"),
)
ASTRONAUT = Portrait("collins", "astronaut.png", "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5")


def portrait_files() -> dict[Portrait, Path]:
    """Every portrait and its file, checked.

    Raises:
        RuntimeError: If a package cannot be had or holds something else than expected.
    """
    folder = _sdist_images()
    files = {portrait: folder / portrait.filename for portrait in SDIST_PORTRAITS}
    files[ASTRONAUT] = _astronaut()
    for portrait, path in files.items():
        if _sha256(path) != portrait.sha256:
            raise RuntimeError(f"{path} is not the portrait that was expected: delete it and try again")
    return files


def portrait_path(filename: str) -> Path:
    """The file of one portrait; errors as for `portrait_files`."""
    return next(path for portrait, path in portrait_files().items() if portrait.filename == filename)


def cache_folder() -> Path:
    """Where the source distribution is kept: VEILFACE_TEST_CACHE, or below the user's cache folder."""
    own = os.environ.get("VEILFACE_TEST_CACHE")
    base = os.environ.get("XDG_CACHE_HOME")
    return Path(own) if own else (Path(base) if base else Path.home() / ".cache") / "veilface-tests"


def _sdist_images() -> Path:
    cache = cache_folder()
    images = cache / SDIST / "tests" / "test_images"
    if all((images / portrait.filename).is_file() for portrait in SDIST_PORTRAITS):
        return images
    archive = cache / f"{SDIST}.tar.gz"
    if not archive.is_file():
        _fetch(cache)
    if not archive.is_file() or _sha256(archive) != SDIST_SHA256:
        raise RuntimeError(f"{archive} is not the source distribution of {REQUIREMENT}: delete it and try again")
    with tarfile.open(archive) as content:
        content.extractall(cache, filter="data")
    return images


def _fetch(cache: Path) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    arguments = ["download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest", str(cache), REQUIREMENT]
    finished = subprocess.run(
        [sys.executable, "-m", "pip", *arguments], capture_output=True, text=True, timeout=FETCH_TIMEOUT_S, check=False
    )
    if finished.returncode != 0:
        raise RuntimeError(f"pip cannot download {REQUIREMENT}: {finished.stderr[-500:]}")


def _astronaut() -> Path:
    spec = find_spec("skimage")
    if spec is None or spec.origin is None:
        raise RuntimeError("scikit-image is not installed: pip install 'veilface[dev]'")
    return Path(spec.origin).parent / "data" / ASTRONAUT.filename


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
