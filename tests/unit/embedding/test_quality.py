import numpy as np
import pytest
from PIL import Image, ImageFilter
from tests.unit.embedding.faces_in_images import found_face

from veilface.embedding.domain.face.finding import FoundFace
from veilface.embedding.domain.face.geometry import BoundingBox, LandmarkType, Point
from veilface.embedding.domain.face.quality import measure_quality

BOX = BoundingBox(0, 0, 100, 100)
TEXTURE = Image.fromarray(np.random.default_rng(5).integers(90, 166, (150, 150, 3), dtype=np.uint8))


def face_of(image: Image.Image) -> FoundFace:
    return FoundFace(BOX, 0.9, np.asarray(image.convert("RGB")))


def plain(level: int) -> FoundFace:
    return FoundFace(BOX, 0.9, np.full((150, 150, 3), level, dtype=np.uint8))


def face_with_nose_at(x: float) -> FoundFace:
    landmarks = {
        LandmarkType.LEFT_EYE: Point(30, 40),
        LandmarkType.RIGHT_EYE: Point(70, 40),
        LandmarkType.NOSE: Point(x, 60),
    }
    return found_face(landmarks=landmarks)


def test_a_plain_face_has_no_sharpness() -> None:
    assert measure_quality(plain(128)).sharpness == 0.0


def test_blur_lowers_sharpness() -> None:
    blurred = TEXTURE.filter(ImageFilter.GaussianBlur(2))
    assert measure_quality(face_of(blurred)).sharpness < 0.5 < measure_quality(face_of(TEXTURE)).sharpness


def test_sharpness_does_not_depend_on_the_size_of_the_aligned_face() -> None:
    soft = TEXTURE.filter(ImageFilter.GaussianBlur(1.5))
    larger = soft.resize((600, 600), Image.Resampling.BICUBIC)
    expected = measure_quality(face_of(soft)).sharpness
    assert measure_quality(face_of(larger)).sharpness == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize(("level", "exposure"), [(0, 0.0), (64, 0.5), (128, 1.0), (191, 0.5), (255, 0.0)])
def test_exposure_is_highest_at_mid_gray(level: int, exposure: float) -> None:
    assert measure_quality(plain(level)).exposure == pytest.approx(exposure, abs=0.005)


@pytest.mark.parametrize(("eye_distance", "resolution"), [(16, 0.25), (32, 0.5), (64, 1.0), (200, 1.0)])
def test_resolution_is_the_distance_between_the_eyes(eye_distance: int, resolution: float) -> None:
    eyes = {LandmarkType.LEFT_EYE: Point(10, 10), LandmarkType.RIGHT_EYE: Point(10, 10 + eye_distance)}
    assert measure_quality(found_face(landmarks=eyes)).resolution == pytest.approx(resolution)


def test_resolution_without_eyes_is_estimated_from_the_box() -> None:
    assert measure_quality(found_face(side=80)).resolution == pytest.approx(0.5)


@pytest.mark.parametrize(("nose_x", "frontality"), [(50, 1.0), (40, 0.5), (60, 0.5), (30, 0.0), (10, 0.0)])
def test_frontality_falls_as_the_nose_leaves_the_middle(nose_x: float, frontality: float) -> None:
    assert measure_quality(face_with_nose_at(nose_x)).frontality == pytest.approx(frontality)


def test_frontality_does_not_depend_on_the_tilt_of_the_head() -> None:
    upright = {
        LandmarkType.LEFT_EYE: Point(30, 40),
        LandmarkType.RIGHT_EYE: Point(70, 40),
        LandmarkType.NOSE: Point(45, 60),
    }
    tilted = {kind: Point(-point.y, point.x) for kind, point in upright.items()}
    first, second = measure_quality(found_face(landmarks=upright)), measure_quality(found_face(landmarks=tilted))
    assert first.frontality == pytest.approx(second.frontality)


def test_without_a_nose_the_mouth_tells_the_frontality() -> None:
    landmarks = {
        LandmarkType.LEFT_EYE: Point(30, 40),
        LandmarkType.RIGHT_EYE: Point(70, 40),
        LandmarkType.MOUTH_LEFT: Point(30, 70),
        LandmarkType.MOUTH_RIGHT: Point(50, 70),
    }
    assert measure_quality(found_face(landmarks=landmarks)).frontality == pytest.approx(0.5)


def test_without_nose_and_mouth_the_box_tells_the_frontality() -> None:
    eyes = {LandmarkType.LEFT_EYE: Point(20, 40), LandmarkType.RIGHT_EYE: Point(60, 40)}
    assert measure_quality(found_face(side=100, landmarks=eyes)).frontality == pytest.approx(0.5)


def test_frontality_without_landmarks_is_unknown() -> None:
    assert measure_quality(found_face()).frontality == 0.5


def test_eyes_in_one_place_are_no_frontal_face() -> None:
    eyes = {LandmarkType.LEFT_EYE: Point(50, 40), LandmarkType.RIGHT_EYE: Point(50, 40)}
    assert measure_quality(found_face(landmarks=eyes)).frontality == 0.0


def test_overall_is_the_mean() -> None:
    quality = measure_quality(face_with_nose_at(40))
    parts = quality.sharpness, quality.exposure, quality.resolution, quality.frontality
    assert quality.overall == pytest.approx(sum(parts) / 4)
