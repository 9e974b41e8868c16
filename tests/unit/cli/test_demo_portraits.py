import hashlib
import io
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from veilface.cli.demo.portraits import Portrait, PortraitPackage, packaged_portraits, unpack_portraits
from veilface.common.errors import Reason, UnavailableError

IMAGE = b"an image of somebody"
MEMBER = "package-1.0/images/ada.jpg"
PORTRAIT = Portrait("ada", "ada.jpg", MEMBER, hashlib.sha256(IMAGE).hexdigest())


def source_distribution(folder: Path) -> Path:
    path = folder / "package-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        entry = tarfile.TarInfo(MEMBER)
        entry.size = len(IMAGE)
        archive.addfile(entry, io.BytesIO(IMAGE))
    return path


def wheel(folder: Path) -> Path:
    path = folder / "package-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(MEMBER, IMAGE)
    return path


def package(archive: Path) -> PortraitPackage:
    return PortraitPackage("package==1.0", (), hashlib.sha256(archive.read_bytes()).hexdigest(), (PORTRAIT,))


@pytest.fixture(params=[source_distribution, wheel], ids=["source distribution", "wheel"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    made = request.param(tmp_path)
    assert isinstance(made, Path)
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "portraits"
    made.mkdir()
    return made


def test_portraits_are_taken_out_of_an_archive(archive: Path, folder: Path) -> None:
    unpack_portraits(package(archive), archive, folder)
    assert (folder / "ada.jpg").read_bytes() == IMAGE


def test_another_archive_than_expected_is_refused(archive: Path, folder: Path) -> None:
    other = replace(package(archive), sha256="0" * 64)
    with pytest.raises(UnavailableError, match=r"the archive of package==1\.0 is not the one that was expected"):
        unpack_portraits(other, archive, folder)
    assert list(folder.iterdir()) == []


def test_another_portrait_than_expected_is_refused(archive: Path, folder: Path) -> None:
    other = replace(package(archive), portraits=(replace(PORTRAIT, sha256="0" * 64),))
    with pytest.raises(UnavailableError, match="is not the portrait that was expected"):
        unpack_portraits(other, archive, folder)
    assert list(folder.iterdir()) == []


def test_an_archive_without_the_portrait_is_refused(archive: Path, folder: Path) -> None:
    other = replace(package(archive), portraits=(replace(PORTRAIT, member="elsewhere.jpg"),))
    with pytest.raises(UnavailableError, match=r"holds no elsewhere\.jpg"):
        unpack_portraits(other, archive, folder)


@pytest.fixture
def without_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing can be downloaded; answers the folder of cached portraits."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "veilface" / "portraits"


def test_intact_portraits_are_not_fetched_again(without_index: Path, archive: Path) -> None:
    without_index.mkdir(parents=True)
    (without_index / "ada.jpg").write_bytes(IMAGE)
    notes: list[str] = []
    assert packaged_portraits(notes.append, [package(archive)]) == {without_index / "ada.jpg": "ada"}
    assert notes == []


@pytest.mark.parametrize("content", [None, b"an image of somebody else"], ids=["missing", "damaged"])
def test_what_cannot_be_downloaded_is_an_error_that_says_what_to_do(
    without_index: Path, archive: Path, content: bytes | None
) -> None:
    without_index.mkdir(parents=True)
    if content is not None:
        (without_index / "ada.jpg").write_bytes(content)
    notes: list[str] = []
    with pytest.raises(UnavailableError, match="--photos DIR") as refused:
        packaged_portraits(notes.append, [package(archive)])
    assert refused.value.reason is Reason.DEPENDENCY_UNAVAILABLE
    assert notes == ["fetching portraits from package==1.0"]
