"""Who is at which position of a segment's score batch."""

import hashlib
from dataclasses import dataclass
from typing import Self

import numpy as np

from veilface.matching.domain.segments.content import SegmentContent


@dataclass(frozen=True, slots=True)
class EnrollmentRun:
    """Consecutive enrollment numbers at consecutive positions."""

    first_enrollment: int
    count: int


@dataclass(frozen=True, slots=True)
class Directory:
    """The enrollments and subjects of the occupied slots, in slot order.

    Attributes:
        etag: Names the content: the hexadecimal SHA-256 over it.
        runs: Together as many enrollments as there are subject ids.
        subject_ids: One for each position.
    """

    etag: str
    runs: tuple[EnrollmentRun, ...]
    subject_ids: tuple[str, ...]

    @classmethod
    def of(cls, content: SegmentContent, subject_ids: tuple[str, ...]) -> Self:
        """The directory of a segment's occupied slots."""
        digest = hashlib.sha256(content.enrollments.astype("<u8").tobytes())
        # A subject id holds no line break, so the joined text can be read in one way only.
        digest.update("\n".join(subject_ids).encode())
        return cls(digest.hexdigest(), _runs(content), subject_ids)


def _runs(content: SegmentContent) -> tuple[EnrollmentRun, ...]:
    numbers = content.enrollments.astype(np.int64)
    starts = np.flatnonzero(np.diff(numbers, prepend=numbers[:1] - 2) != 1)
    counts = np.diff(starts, append=len(numbers))
    return tuple(EnrollmentRun(int(numbers[start]), int(count)) for start, count in zip(starts, counts, strict=True))
