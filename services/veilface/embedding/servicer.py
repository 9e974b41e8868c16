"""The gRPC face of the embedding service: convert, call, return."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import structlog

from veilface.common.errors import Reason
from veilface.common.interceptor import Context
from veilface.common.key_client import KeyMaterialClient
from veilface.common.names import KeyVersionName
from veilface.common.pool import BoundedPool
from veilface.common.status import describe_exception, item_error_from
from veilface.embedding.conversion import extraction_to_proto, key_from_proto, pipelines_to_proto, request_from_proto
from veilface.embedding.domain.extraction import TemplateExtractor
from veilface.embedding.ordered import map_in_order
from veilface.embedding.v1 import embedding_service_pb2 as pb
from veilface.embedding.v1 import embedding_service_pb2_grpc


class EmbeddingServicer(embedding_service_pb2_grpc.EmbeddingServiceServicer):
    """Serves veilface.embedding.v1.EmbeddingService.

    Args:
        extractor: What does the work, once its models are loaded. No call arrives before the server is ready.
        keys: Where public keys come from.
        pool: Where the work is done.
        batch_in_flight: How many images of one stream are worked on at once.
    """

    def __init__(
        self,
        extractor: asyncio.Future[TemplateExtractor],
        keys: KeyMaterialClient,
        pool: BoundedPool,
        batch_in_flight: int,
    ) -> None:
        self._extractor = extractor
        self._keys = keys
        self._pool = pool
        self._batch_in_flight = batch_in_flight

    async def ExtractTemplates(  # noqa: N802
        self, request: pb.ExtractTemplatesRequest, context: Context
    ) -> pb.ExtractTemplatesResponse:
        """Extract the faces of one image."""
        return await self._extract(request)

    async def BatchExtractTemplates(  # noqa: N802
        self, request_iterator: AsyncIterator[pb.BatchExtractTemplatesRequest], context: Context
    ) -> AsyncIterator[pb.BatchExtractTemplatesResponse]:
        """Extract the faces of many images; an image that fails does not end the stream."""
        responses = map_in_order(request_iterator, self._extract_item, self._batch_in_flight)
        async with aclosing(responses):
            async for response in responses:
                yield response

    async def ListModels(  # noqa: N802
        self, request: pb.ListModelsRequest, context: Context
    ) -> pb.ListModelsResponse:
        """List the pipelines."""
        return pipelines_to_proto((await self._extractor).pipelines)

    async def _extract_item(
        self, index: int, item: pb.BatchExtractTemplatesRequest
    ) -> pb.BatchExtractTemplatesResponse:
        try:
            return pb.BatchExtractTemplatesResponse(index=index, response=await self._extract(item.request))
        except Exception as error:  # noqa: BLE001 - the edge of one item: whatever it is, the others go on
            item_error = item_error_from(error)
            if item_error.reason == Reason.INTERNAL:
                structlog.get_logger().error("internal_error", index=index, **describe_exception(error))
            return pb.BatchExtractTemplatesResponse(index=index, error=item_error)

    async def _extract(self, message: pb.ExtractTemplatesRequest) -> pb.ExtractTemplatesResponse:
        request, key_name = request_from_proto(message), key_from_proto(message)
        extractor = await self._extractor
        key = await self._keys.fetch_public(key_name)
        seed = None
        if key.embedding_transform:
            seed = await self._keys.fetch_transform_seed(KeyVersionName.parse(key.key_version))
        return extraction_to_proto(await self._pool.run(extractor.extract, request, key, seed))
