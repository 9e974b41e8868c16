"""DeepFace's detectors, with DeepFace's alignment or with another."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from veilface.embedding.domain.face.finding import FoundFace
from veilface.embedding.domain.face.geometry import BoundingBox, Landmarks, LandmarkType, Point, ordered_pair
from veilface.embedding.domain.image.pixels import Pixels
from veilface.embedding.domain.image.resizing import WorkingImage, working_image
from veilface.embedding.models.detection import Detection
from veilface.embedding.models.engine import DeepFaceEngine, LoadedModel

# The others borrow the eyes from OpenCV's cascades.
DETECTORS_WITH_EYES: Final = frozenset(("centerface", "dlib", "fastmtcnn", "mediapipe", "mtcnn", "retinaface", "yunet"))


class DeepFaceDetector:
    """A detector of DeepFace whose alignment is left to others.

    Args:
        engine: DeepFace.
        model: The detector, loaded by it.
    """

    def __init__(self, engine: DeepFaceEngine, model: LoadedModel) -> None:
        self._client = model.client
        self._lock = engine.lock

    def detect(self, image: Pixels) -> list[Detection]:
        """Every face of an image."""
        with self._lock:
            areas = self._client.detect_faces(_bgr(image))
        return [
            Detection(area.x, area.y, area.x + area.w, area.y + area.h, _clip(area.confidence or 0.0))
            for area in areas
            if area.w > 0 and area.h > 0
        ]


class DeepFaceFinder:
    """A detector of DeepFace with DeepFace's alignment: the face is turned until its eyes are level.

    Args:
        engine: DeepFace, which has loaded the detector.
        detector_name: By DeepFace's names.
    """

    def __init__(self, engine: DeepFaceEngine, detector_name: str) -> None:
        self._deepface: Any = engine.deepface
        self._no_face = engine.no_face_errors
        self._detector_name = detector_name
        self._lock = engine.lock

    def find(self, image: Pixels) -> list[FoundFace]:
        """Every face of an upright image."""
        working = working_image(image)
        try:
            with self._lock:
                faces = self._deepface.extract_faces(
                    img_path=_bgr(working.pixels),
                    detector_backend=self._detector_name,
                    color_face="rgb",
                    normalize_face=False,
                )
        except self._no_face:
            return []
        return [_found_face(face, working, image) for face in faces]


def _found_face(face: Mapping[str, Any], working: WorkingImage, original: Pixels) -> FoundFace:
    area = face["facial_area"]
    height, width = original.shape[:2]
    return FoundFace(
        box=BoundingBox.inside(
            area["x"] * working.scale_x,
            area["y"] * working.scale_y,
            (area["x"] + area["w"]) * working.scale_x,
            (area["y"] + area["h"]) * working.scale_y,
            width,
            height,
        ),
        confidence=_clip(face["confidence"]),
        aligned=np.ascontiguousarray(face["face"], dtype=np.uint8),
        landmarks=_landmarks(area, working),
    )


def _landmarks(area: Mapping[str, Any], working: WorkingImage) -> Landmarks:
    def point(name: str) -> Point | None:
        place = area.get(name)
        return None if place is None else Point(*map(float, place)).scaled(working.scale_x, working.scale_y)

    nose = point("nose")
    return {
        **ordered_pair(point("left_eye"), point("right_eye"), LandmarkType.LEFT_EYE, LandmarkType.RIGHT_EYE),
        **({} if nose is None else {LandmarkType.NOSE: nose}),
        **ordered_pair(point("mouth_left"), point("mouth_right"), LandmarkType.MOUTH_LEFT, LandmarkType.MOUTH_RIGHT),
    }


def _bgr(image: Pixels) -> Pixels:
    return np.ascontiguousarray(image[:, :, ::-1])


def _clip(confidence: float) -> float:
    return min(1.0, max(0.0, float(confidence)))
