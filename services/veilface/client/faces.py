"""Faces as the embedding service finds them: where they are, how good they are, and their encrypted templates."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from veilface.client.steps import Step
from veilface.common.attested import SignedTemplate, template_from_proto
from veilface.embedding.v1 import embedding_service_pb2


class FaceSelection(StrEnum):
    """Which of the faces in an image are wanted."""

    EXACTLY_ONE = "exactly-one"
    LARGEST = "largest"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class BoundingBox:
    """A rectangle in pixels of the oriented image; the origin is the top left corner."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Landmark:
    """A point of a face in pixels.

    Attributes:
        name: "left eye", "right eye", "nose", "mouth left", "mouth right" or "unspecified", as seen in the image.
    """

    name: str
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Quality:
    """How fit a face is for comparison; each in [0, 1], larger is better."""

    overall: float
    sharpness: float
    exposure: float
    resolution: float
    frontality: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """A face and its encrypted template.

    Attributes:
        detection_confidence: In [0, 1].
        template: Opaque here; only the key service's answers say anything about it.
    """

    bounding_box: BoundingBox
    landmarks: tuple[Landmark, ...]
    detection_confidence: float
    quality: Quality
    template: SignedTemplate = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """The faces of one image.

    Attributes:
        faces: Largest first, at least one.
        image_width: In pixels, after the EXIF orientation was applied.
        image_height: In pixels, after the EXIF orientation was applied.
        model: The recognition pipeline that was used.
        steps: What was asked of whom.
    """

    faces: tuple[Face, ...]
    image_width: int
    image_height: int
    model: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Model:
    """A recognition pipeline: model, detector and alignment.

    Attributes:
        weights: The file names it was loaded from, and their SHA-256 in hexadecimal.
    """

    name: str
    dimension: int
    is_default: bool
    weights: tuple[tuple[str, str], ...]


def selection_to_proto(selection: FaceSelection) -> embedding_service_pb2.FaceSelection.ValueType:
    """Convert a FaceSelection."""
    return {
        FaceSelection.EXACTLY_ONE: embedding_service_pb2.FACE_SELECTION_EXACTLY_ONE,
        FaceSelection.LARGEST: embedding_service_pb2.FACE_SELECTION_LARGEST,
        FaceSelection.ALL: embedding_service_pb2.FACE_SELECTION_ALL,
    }[selection]


def extraction_from_proto(message: embedding_service_pb2.ExtractTemplatesResponse, steps: Sequence[Step]) -> Extraction:
    """Convert an ExtractTemplatesResponse. Raises InvalidArgumentError for a template without its parts."""
    return Extraction(
        faces=tuple(_face(face) for face in message.faces),
        image_width=message.image_width,
        image_height=message.image_height,
        model=message.model,
        steps=tuple(steps),
    )


def model_from_proto(message: embedding_service_pb2.Model) -> Model:
    """Convert a Model."""
    return Model(
        message.name,
        message.dimension,
        message.is_default,
        tuple((weight.filename, weight.sha256) for weight in message.weights),
    )


def _face(message: embedding_service_pb2.Face) -> Face:
    box, quality = message.bounding_box, message.quality
    return Face(
        bounding_box=BoundingBox(box.x, box.y, box.width, box.height),
        landmarks=tuple(Landmark(_point_name(point.type), point.x, point.y) for point in message.landmarks),
        detection_confidence=message.detection_confidence,
        quality=Quality(quality.overall, quality.sharpness, quality.exposure, quality.resolution, quality.frontality),
        template=template_from_proto(message.template),
    )


def _point_name(number: int) -> str:
    known = embedding_service_pb2.Landmark.Type
    name = known.Name(known.ValueType(number)) if number in known.values() else "TYPE_UNSPECIFIED"
    return name.removeprefix("TYPE_").lower().replace("_", " ")
