"""Places in an image, in pixels; the origin is the top left corner."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import hypot
from typing import Self, TypeAlias


class LandmarkType(StrEnum):
    """A point of a face; left and right are those of the image, not of the person."""

    LEFT_EYE = "left-eye"
    RIGHT_EYE = "right-eye"
    NOSE = "nose"
    MOUTH_LEFT = "mouth-left"
    MOUTH_RIGHT = "mouth-right"


@dataclass(frozen=True, slots=True)
class Point:
    """A point, in pixels."""

    x: float
    y: float

    def scaled(self, scale_x: float, scale_y: float) -> "Point":
        """The same point of an image that is larger by these factors."""
        return Point(self.x * scale_x, self.y * scale_y)

    def distance(self, other: "Point") -> float:
        """Pixels to another point."""
        return hypot(self.x - other.x, self.y - other.y)


def midpoint(first: Point, second: Point) -> Point:
    """The point halfway between two."""
    return Point((first.x + second.x) / 2, (first.y + second.y) / 2)


Landmarks: TypeAlias = Mapping[LandmarkType, Point]


def ordered_pair(
    first: Point | None, second: Point | None, left: LandmarkType, right: LandmarkType
) -> dict[LandmarkType, Point]:
    """Name two points by the side of the image that they are on; nothing if one of them is missing."""
    if first is None or second is None:
        return {}
    leftmost, rightmost = sorted((first, second), key=lambda point: point.x)
    return {left: leftmost, right: rightmost}


@dataclass(frozen=True, slots=True)
class BoundingBox:
    """A rectangle of whole pixels inside an image.

    Attributes:
        x: The left edge, at least 0.
        y: The top edge, at least 0.
        width: At least 1.
        height: At least 1.
    """

    x: int
    y: int
    width: int
    height: int

    @classmethod
    def inside(cls, left: float, top: float, right: float, bottom: float, width: int, height: int) -> Self:
        """The part of a rectangle that lies inside an image of this width and height; at least one pixel."""
        x = min(max(0, round(left)), width - 1)
        y = min(max(0, round(top)), height - 1)
        return cls(
            x,
            y,
            max(1, min(round(right), width) - x),
            max(1, min(round(bottom), height) - y),
        )

    @property
    def area(self) -> int:
        """Square pixels."""
        return self.width * self.height

    @property
    def center(self) -> Point:
        """The point in the middle."""
        return Point(self.x + self.width / 2, self.y + self.height / 2)
