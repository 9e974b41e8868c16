"""What an image file says about itself, read by this project's own code before a decoder sees a byte.

A decoder may allocate memory for the size that a header claims, so the size is checked first. Each format's module
walks the whole structure of a file: one that ends early is told apart from one that is damaged.
"""

from dataclasses import dataclass
from enum import StrEnum

from veilface.common.errors import InvalidArgumentError, Reason


class ImageFormat(StrEnum):
    """The formats that are accepted, by the names that Pillow gives them."""

    JPEG = "JPEG"
    PNG = "PNG"
    WEBP = "WEBP"


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """The facts in a file's header.

    Attributes:
        format: What the bytes are, whatever the file was called.
        width: Pixels, at least 1, before the EXIF orientation is applied.
        height: Pixels, at least 1, before the EXIF orientation is applied.
        animated: Whether the file is an animation.
    """

    format: ImageFormat
    width: int
    height: int
    animated: bool = False

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise corrupt(self.format, f"its header says {self.width} x {self.height} pixels")


def truncated(image_format: ImageFormat, problem: str) -> InvalidArgumentError:
    """The error for a file that ends too early."""
    return InvalidArgumentError(
        Reason.IMAGE_TRUNCATED, f"the {image_format} image is cut off: {problem}; send the whole file"
    )


def corrupt(image_format: ImageFormat, problem: str) -> InvalidArgumentError:
    """The error for a damaged file."""
    return InvalidArgumentError(
        Reason.IMAGE_CORRUPT, f"the {image_format} image is damaged: {problem}; save it anew and send that"
    )
