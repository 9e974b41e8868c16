"""Which of the faces found are wanted."""

from collections.abc import Sequence
from enum import StrEnum

from veilface.common.errors import FailedPreconditionError, Reason
from veilface.embedding.domain.face.finding import FoundFace


class FaceSelection(StrEnum):
    """What a caller asks for."""

    EXACTLY_ONE = "exactly-one"
    LARGEST = "largest"
    ALL = "all"


def select_faces(faces: Sequence[FoundFace], selection: FaceSelection, limit: int) -> list[FoundFace]:
    """The wanted faces, largest first; of two boxes of the same size the surer one first.

    Args:
        faces: What was found.
        selection: What is wanted.
        limit: How many faces one answer may hold.

    Raises:
        FailedPreconditionError: NO_FACE; SEVERAL_FACES if one was asked for, or if there are more than `limit`.
    """
    if not faces:
        raise FailedPreconditionError(
            Reason.NO_FACE, "no face was found: the face should be upright, seen from the front, and not too small"
        )
    if selection is FaceSelection.EXACTLY_ONE and len(faces) > 1:
        raise FailedPreconditionError(
            Reason.SEVERAL_FACES,
            f"{len(faces)} faces were found where exactly one is expected: crop the image, or ask for the largest face",
        )
    if selection is FaceSelection.ALL and len(faces) > limit:
        raise FailedPreconditionError(
            Reason.SEVERAL_FACES, f"{len(faces)} faces were found; an answer holds at most {limit}: crop the image"
        )
    largest_first = sorted(faces, key=lambda face: (face.box.area, face.confidence), reverse=True)
    return largest_first[:1] if selection is FaceSelection.LARGEST else largest_first
