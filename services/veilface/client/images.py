"""Images as callers give them: bytes, or files that are read when their turn comes."""

from pathlib import Path
from typing import TypeAlias

from veilface.common.errors import InvalidArgumentError, Reason
from veilface.common.settings import MEBIBYTE

Image: TypeAlias = bytes | Path

LARGEST_IMAGE_BYTES = 16 * MEBIBYTE


def read_image(image: Image) -> bytes:
    """The encoded image.

    Raises:
        InvalidArgumentError: IMAGE_EMPTY; INVALID_FIELD if the file cannot be read; IMAGE_TOO_LARGE above 16 MiB,
            which no service would accept.
    """
    if isinstance(image, bytes):
        data, name = image, "the image"
    else:
        name = str(image)
        try:
            with image.open("rb") as file:
                data = file.read(LARGEST_IMAGE_BYTES + 1)
        except OSError as error:
            raise InvalidArgumentError(
                Reason.INVALID_FIELD, f"{name} cannot be read: {error.strerror or type(error).__name__}"
            ) from error
    if not data:
        raise InvalidArgumentError(Reason.IMAGE_EMPTY, f"{name} is empty")
    if len(data) > LARGEST_IMAGE_BYTES:
        raise InvalidArgumentError(
            Reason.IMAGE_TOO_LARGE, f"{name} is larger than {LARGEST_IMAGE_BYTES // MEBIBYTE} MiB: send a smaller one"
        )
    return data
