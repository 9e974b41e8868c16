from hypothesis import given
from hypothesis import strategies as st

from veilface.embedding.domain.face.geometry import BoundingBox, LandmarkType, Point, ordered_pair

EYES = LandmarkType.LEFT_EYE, LandmarkType.RIGHT_EYE
edges = st.floats(-2000, 2000)
sides = st.integers(1, 1000)


@given(edges, edges, edges, edges, sides, sides)
def test_a_box_lies_inside_its_image_and_has_an_area(
    left: float, top: float, right: float, bottom: float, width: int, height: int
) -> None:
    box = BoundingBox.inside(left, top, right, bottom, width, height)
    assert 0 <= box.x < box.x + box.width <= width
    assert 0 <= box.y < box.y + box.height <= height


def test_a_box_inside_its_image_is_kept() -> None:
    assert BoundingBox.inside(10.2, 20.4, 30.6, 50.0, 100, 100) == BoundingBox(10, 20, 21, 30)


def test_the_part_of_a_box_outside_of_its_image_is_cut_off() -> None:
    assert BoundingBox.inside(-10, 80, 20, 130, 100, 100) == BoundingBox(0, 80, 20, 20)


def test_eyes_are_named_by_the_side_of_the_image() -> None:
    left, right = Point(10, 50), Point(40, 45)
    assert ordered_pair(right, left, *EYES) == {LandmarkType.LEFT_EYE: left, LandmarkType.RIGHT_EYE: right}


def test_one_eye_is_no_pair() -> None:
    assert ordered_pair(Point(10, 50), None, *EYES) == {}
