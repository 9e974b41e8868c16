from pathlib import Path

import pytest

from veilface.client.images import LARGEST_IMAGE_BYTES, read_image
from veilface.common.errors import InvalidArgumentError, Reason, VeilfaceError


def test_bytes_and_files_are_read_alike(tmp_path: Path) -> None:
    path = tmp_path / "face.jpg"
    path.write_bytes(b"an image")
    assert read_image(path) == read_image(b"an image") == b"an image"


def test_an_image_of_the_largest_size_is_read(tmp_path: Path) -> None:
    path = tmp_path / "face.png"
    path.write_bytes(bytes(LARGEST_IMAGE_BYTES))
    assert len(read_image(path)) == LARGEST_IMAGE_BYTES


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", Reason.IMAGE_EMPTY), (bytes(LARGEST_IMAGE_BYTES + 1), Reason.IMAGE_TOO_LARGE)]
)
def test_images_that_no_service_would_take_are_not_sent(tmp_path: Path, content: bytes, reason: Reason) -> None:
    path = tmp_path / "face.png"
    path.write_bytes(content)
    for image in (path, content):
        with pytest.raises(InvalidArgumentError) as caught:
            read_image(image)
        assert caught.value.reason is reason


@pytest.mark.parametrize("name", ["missing.jpg", "folder"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(VeilfaceError, match=name) as caught:
        read_image(tmp_path / name)
    assert caught.value.reason is Reason.INVALID_FIELD
