"""Pairs of functions between the messages of veilface.embedding.v1 and domain types."""

from veilface.common.attested import template_to_proto
from veilface.common.conversion import enum_from_proto, metric_from_proto, use_from_proto
from veilface.common.errors import InvalidArgumentError, Reason
from veilface.common.names import KeyName, KeyVersionName, parse_key_or_version
from veilface.crypto.contract import Metric
from veilface.embedding.domain.extraction import ExtractedFace, Extraction, ExtractionRequest
from veilface.embedding.domain.face.geometry import BoundingBox, Landmarks, LandmarkType
from veilface.embedding.domain.face.quality import Quality
from veilface.embedding.domain.face.selection import FaceSelection
from veilface.embedding.domain.pipeline import Pipeline, PipelineSet
from veilface.embedding.v1 import embedding_service_pb2 as pb

_SELECTIONS: dict[int, FaceSelection] = {
    pb.FACE_SELECTION_EXACTLY_ONE: FaceSelection.EXACTLY_ONE,
    pb.FACE_SELECTION_LARGEST: FaceSelection.LARGEST,
    pb.FACE_SELECTION_ALL: FaceSelection.ALL,
}
_LANDMARK_TYPES: dict[LandmarkType, pb.Landmark.Type.ValueType] = {
    LandmarkType.LEFT_EYE: pb.Landmark.TYPE_LEFT_EYE,
    LandmarkType.RIGHT_EYE: pb.Landmark.TYPE_RIGHT_EYE,
    LandmarkType.NOSE: pb.Landmark.TYPE_NOSE,
    LandmarkType.MOUTH_LEFT: pb.Landmark.TYPE_MOUTH_LEFT,
    LandmarkType.MOUTH_RIGHT: pb.Landmark.TYPE_MOUTH_RIGHT,
}


def request_from_proto(message: pb.ExtractTemplatesRequest) -> ExtractionRequest:
    """Convert an ExtractTemplatesRequest, all but its key.

    Raises:
        InvalidArgumentError: MISSING_FIELD or INVALID_FIELD.
    """
    return ExtractionRequest(
        image=message.image,
        use=use_from_proto(message.use),
        selection=enum_from_proto(
            "face_selection", _SELECTIONS, message.face_selection, unspecified=FaceSelection.EXACTLY_ONE
        ),
        model=message.model,
        metric=metric_from_proto(message.metric, unspecified=Metric.COSINE),
    )


def key_from_proto(message: pb.ExtractTemplatesRequest) -> KeyName | KeyVersionName:
    """The key of an ExtractTemplatesRequest.

    Raises:
        InvalidArgumentError: MISSING_FIELD or INVALID_NAME.
    """
    if not message.key:
        raise InvalidArgumentError(Reason.MISSING_FIELD, 'key is missing: name the key to encrypt under, "keys/{key}"')
    return parse_key_or_version(message.key)


def extraction_to_proto(extraction: Extraction) -> pb.ExtractTemplatesResponse:
    """Convert an ExtractTemplatesResponse."""
    return pb.ExtractTemplatesResponse(
        faces=[face_to_proto(face) for face in extraction.faces],
        image_width=extraction.width,
        image_height=extraction.height,
        model=extraction.model,
    )


def face_to_proto(face: ExtractedFace) -> pb.Face:
    """Convert a Face."""
    return pb.Face(
        bounding_box=box_to_proto(face.box),
        landmarks=landmarks_to_proto(face.landmarks),
        detection_confidence=face.confidence,
        quality=quality_to_proto(face.quality),
        template=template_to_proto(face.template),
    )


def box_to_proto(box: BoundingBox) -> pb.BoundingBox:
    """Convert a BoundingBox."""
    return pb.BoundingBox(x=box.x, y=box.y, width=box.width, height=box.height)


def landmarks_to_proto(landmarks: Landmarks) -> list[pb.Landmark]:
    """Convert Landmarks, in the order of their types."""
    return [
        pb.Landmark(type=number, x=landmarks[kind].x, y=landmarks[kind].y)
        for kind, number in _LANDMARK_TYPES.items()
        if kind in landmarks
    ]


def quality_to_proto(quality: Quality) -> pb.Quality:
    """Convert a Quality."""
    return pb.Quality(
        overall=quality.overall,
        sharpness=quality.sharpness,
        exposure=quality.exposure,
        resolution=quality.resolution,
        frontality=quality.frontality,
    )


def pipelines_to_proto(pipelines: PipelineSet) -> pb.ListModelsResponse:
    """Convert a ListModelsResponse."""
    return pb.ListModelsResponse(models=[_model_to_proto(pipeline, pipelines.default) for pipeline in pipelines])


def _model_to_proto(pipeline: Pipeline, default: Pipeline) -> pb.Model:
    return pb.Model(
        name=pipeline.name,
        dimension=pipeline.dimension,
        is_default=pipeline is default,
        weights=[pb.WeightFile(filename=file.filename, sha256=file.sha256) for file in pipeline.weights],
    )
