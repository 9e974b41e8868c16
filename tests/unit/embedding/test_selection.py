import pytest
from tests.unit.embedding.faces_in_images import found_face

from veilface.common.errors import FailedPreconditionError, Reason
from veilface.embedding.domain.face.selection import FaceSelection, select_faces

SMALL, MEDIUM, LARGE = found_face(side=50), found_face(side=80), found_face(side=120)
LIMIT = 3


def test_the_only_face_is_taken() -> None:
    assert select_faces([MEDIUM], FaceSelection.EXACTLY_ONE, LIMIT) == [MEDIUM]


def test_several_faces_are_refused_where_one_is_expected() -> None:
    with pytest.raises(FailedPreconditionError, match="2 faces") as raised:
        select_faces([MEDIUM, LARGE], FaceSelection.EXACTLY_ONE, LIMIT)
    assert raised.value.reason is Reason.SEVERAL_FACES


@pytest.mark.parametrize("selection", FaceSelection)
def test_no_face_is_refused_whatever_is_wanted(selection: FaceSelection) -> None:
    with pytest.raises(FailedPreconditionError) as raised:
        select_faces([], selection, LIMIT)
    assert raised.value.reason is Reason.NO_FACE


def test_the_largest_face_is_taken() -> None:
    assert select_faces([SMALL, LARGE, MEDIUM], FaceSelection.LARGEST, LIMIT) == [LARGE]


def test_the_largest_of_many_faces_is_taken() -> None:
    assert select_faces([SMALL] * 5 + [LARGE], FaceSelection.LARGEST, LIMIT) == [LARGE]


def test_all_faces_come_largest_first() -> None:
    assert select_faces([SMALL, LARGE, MEDIUM], FaceSelection.ALL, LIMIT) == [LARGE, MEDIUM, SMALL]


def test_of_faces_of_the_same_size_the_surer_one_comes_first() -> None:
    unsure, sure = found_face(confidence=0.6), found_face(confidence=0.9)
    assert select_faces([unsure, sure], FaceSelection.ALL, LIMIT)[0] is sure


def test_more_faces_than_an_answer_holds_are_refused() -> None:
    with pytest.raises(FailedPreconditionError, match="at most 3") as raised:
        select_faces([SMALL] * 4, FaceSelection.ALL, LIMIT)
    assert raised.value.reason is Reason.SEVERAL_FACES
