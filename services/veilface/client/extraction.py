"""Photographs in, encrypted templates out: calls to the embedding service."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import grpc

from veilface.client.calls import ServiceCalls, Trail
from veilface.client.faces import (
    Extraction,
    FaceSelection,
    Model,
    extraction_from_proto,
    model_from_proto,
    selection_to_proto,
)
from veilface.client.images import Image, read_image
from veilface.common.conversion import metric_to_proto, use_to_proto
from veilface.common.errors import DataLossError, Reason, VeilfaceError
from veilface.common.status import error_from_item
from veilface.crypto.contract import Metric, TemplateUse
from veilface.embedding.v1 import embedding_service_pb2, embedding_service_pb2_grpc


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateOrder:
    """What to make of images.

    Attributes:
        use: The side of a comparison that the templates are for.
        key: The full name of a key or key version.
        faces: Which of the faces are wanted.
        model: The recognition pipeline; empty selects the service's default.
        metric: What the templates will be compared by.
    """

    use: TemplateUse
    key: str
    faces: FaceSelection = FaceSelection.EXACTLY_ONE
    model: str = ""
    metric: Metric = Metric.COSINE


class Extractor:
    """Calls to the embedding service.

    Args:
        channel: To the embedding service.
        calls: How calls to it are made.
    """

    def __init__(self, channel: grpc.Channel, calls: ServiceCalls) -> None:
        self._stub = embedding_service_pb2_grpc.EmbeddingServiceStub(channel)
        self._calls = calls

    def models(self) -> list[Model]:
        """The recognition pipelines, the default first."""
        request = embedding_service_pb2.ListModelsRequest()
        response = self._calls.unary(self._stub.ListModels, "ListModels", request, Trail())
        return [model_from_proto(model) for model in response.models]

    def extract(self, image: Image, order: TemplateOrder, trail: Trail) -> Extraction:
        """The faces of one image. Raises a VeilfaceError that says what is wrong with the image or the order."""
        request = _request(read_image(image), order)
        response = self._calls.unary(self._stub.ExtractTemplates, "ExtractTemplates", request, trail)
        return extraction_from_proto(response, trail.finished())

    def extract_many(
        self, images: Iterable[Image], order: TemplateOrder
    ) -> Iterator[tuple[int, Extraction | VeilfaceError]]:
        """The faces of many images over one stream.

        Images are read when their turn comes, so that few are in memory at a time. Answers come as they are ready:
        in the order of the images, but for files that cannot be read, which come when they are found out.

        Yields:
            The position of the image, and its faces or what is wrong with it.

        Raises:
            VeilfaceError: If the whole stream fails, or an answer takes longer than a call may.
        """
        sent: list[tuple[int, embedding_service_pb2.ExtractTemplatesRequest | None]] = []
        unreadable: list[tuple[int, VeilfaceError]] = []

        def requests() -> Iterator[embedding_service_pb2.BatchExtractTemplatesRequest]:
            # Runs on a thread of gRPC, where an exception would end the stream without saying why.
            for position, image in enumerate(images):
                try:
                    request = _request(read_image(image), order)
                except VeilfaceError as error:
                    unreadable.append((position, error))
                    continue
                sent.append((position, request))
                yield embedding_service_pb2.BatchExtractTemplatesRequest(request=request)

        started_s = time.perf_counter()
        with self._calls.failures():
            stream = self._stub.BatchExtractTemplates(requests())
            try:
                for index, response in enumerate(self._calls.answers(stream, lambda: len(sent))):
                    while unreadable:
                        yield unreadable.pop(0)
                    position, request = _sent_at(sent, response.index, index)
                    sent[index] = (position, None)
                    trail = Trail()
                    self._calls.record_item(trail, "BatchExtractTemplates", started_s, request, response)
                    if response.WhichOneof("outcome") == "error":
                        yield position, error_from_item(response.error)
                    else:
                        yield position, extraction_from_proto(response.response, trail.finished())
                    started_s = time.perf_counter()
            finally:
                stream.cancel()
        yield from unreadable


def _sent_at(
    sent: list[tuple[int, embedding_service_pb2.ExtractTemplatesRequest | None]], index: int, expected: int
) -> tuple[int, embedding_service_pb2.ExtractTemplatesRequest]:
    if index != expected or index >= len(sent):
        raise DataLossError(Reason.STREAM_PROTOCOL, "the embedding service answered images out of order: try again")
    position, request = sent[index]
    assert request is not None
    return position, request


def _request(data: bytes, order: TemplateOrder) -> embedding_service_pb2.ExtractTemplatesRequest:
    return embedding_service_pb2.ExtractTemplatesRequest(
        image=data,
        use=use_to_proto(order.use),
        key=order.key,
        face_selection=selection_to_proto(order.faces),
        model=order.model,
        metric=metric_to_proto(order.metric),
    )
