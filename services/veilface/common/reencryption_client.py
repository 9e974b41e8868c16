"""The client of the matching service's moves: the key service re-encrypts stored templates for a newer key version."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
import grpc.aio
import numpy as np
from numpy.typing import NDArray

from veilface.common.attested import SignedTemplate, template_from_proto, template_to_proto
from veilface.common.chunks import ChunkAssembler, split_into_chunks
from veilface.common.conversion import metric_to_proto
from veilface.common.errors import (
    DataLossError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    Reason,
    ResourceExhaustedError,
    UnavailableError,
    VeilfaceError,
)
from veilface.common.names import KeyVersionName
from veilface.common.settings import MEBIBYTE
from veilface.common.status import error_from_item, error_from_rpc
from veilface.crypto.contract import TemplateSpace
from veilface.keys.v1 import key_service_pb2_grpc, reencryption_pb2

# What the key service says about the versions and its policy concerns the caller; its other troubles do not.
_PASSED_ON = (
    NotFoundError,
    FailedPreconditionError,
    InvalidArgumentError,
    PermissionDeniedError,
    ResourceExhaustedError,
)


class ReencryptionClient:
    """Has templates and segments moved from one version of a key to a newer one.

    Args:
        channel: To the key service. The caller closes it.
        largest_segment_bytes: The largest segment accepted.
        timeout_s: How long one call may take.
    """

    def __init__(
        self, channel: grpc.aio.Channel, *, largest_segment_bytes: int = 1024 * MEBIBYTE, timeout_s: float = 600.0
    ) -> None:
        self._stub = key_service_pb2_grpc.KeyServiceStub(channel)
        self._largest_segment_bytes = largest_segment_bytes
        self._timeout_s = timeout_s

    async def move_templates(
        self, source: KeyVersionName, target: KeyVersionName, templates: Sequence[SignedTemplate]
    ) -> list[SignedTemplate | VeilfaceError]:
        """The templates under the target version, in order; an error in the place of one that cannot be moved.

        Raises:
            NotFoundError, FailedPreconditionError, PermissionDeniedError, InvalidArgumentError,
            ResourceExhaustedError: The key service's own answer about the versions, its policy or its quotas.
            UnavailableError: DEPENDENCY_UNAVAILABLE if it does not answer, or not as agreed.
        """

        async def requests() -> AsyncIterator[reencryption_pb2.ReencryptTemplatesRequest]:
            yield _options(source, target)
            for template in templates:
                yield reencryption_pb2.ReencryptTemplatesRequest(template=template_to_proto(template))

        moved: list[SignedTemplate | VeilfaceError] = []
        async for response in self._responses(requests()):
            kind = response.WhichOneof("outcome")
            if response.index != len(moved) or kind == "segment" or kind is None:
                raise _not_as_agreed("an answer came out of turn")
            if kind == "error":
                moved.append(error_from_item(response.error))
            else:
                moved.append(template_from_proto(response.template))
        if len(moved) != len(templates):
            raise _not_as_agreed(f"{len(moved)} of {len(templates)} templates came back")
        return moved

    async def move_segment(
        self,
        source: KeyVersionName,
        target: KeyVersionName,
        space: TemplateSpace,
        slots: NDArray[np.intp],
        serialized: bytes,
    ) -> bytes:
        """A packed segment under the target version, which holds the slots given, ascending, at 0, 1, 2, and so on.

        Raises:
            VeilfaceError: As `move_templates`, and what is wrong with the segment.
        """

        async def requests() -> AsyncIterator[reencryption_pb2.ReencryptTemplatesRequest]:
            yield _options(source, target)
            description = reencryption_pb2.SegmentDescription(
                dimension=space.dimension, metric=metric_to_proto(space.metric), slots=slots.tolist()
            )
            for index, chunk in enumerate(split_into_chunks(serialized)):
                piece = reencryption_pb2.SegmentPiece(description=None if index else description, chunk=chunk)
                yield reencryption_pb2.ReencryptTemplatesRequest(segment=piece)

        assembler = ChunkAssembler("a moved segment", self._largest_segment_bytes)
        try:
            async for response in self._responses(requests()):
                if response.WhichOneof("outcome") == "error":
                    raise error_from_item(response.error)
                assembler.add(response.segment)
            return assembler.finish()
        except InvalidArgumentError as error:
            if error.reason is Reason.DIGEST_MISMATCH:
                raise DataLossError(error.reason, error.message) from error
            raise

    async def _responses(
        self, requests: AsyncIterator[reencryption_pb2.ReencryptTemplatesRequest]
    ) -> AsyncIterator[reencryption_pb2.ReencryptTemplatesResponse]:
        stream: grpc.aio.StreamStreamCall[Any, Any] = self._stub.ReencryptTemplates(requests, timeout=self._timeout_s)
        try:
            async for response in stream:
                yield response
        except grpc.RpcError as error:
            raise _explain(error_from_rpc(error)) from error
        finally:
            stream.cancel()


def _options(source: KeyVersionName, target: KeyVersionName) -> reencryption_pb2.ReencryptTemplatesRequest:
    options = reencryption_pb2.ReencryptionOptions(source=str(source), target=str(target))
    return reencryption_pb2.ReencryptTemplatesRequest(options=options)


def _explain(error: VeilfaceError) -> VeilfaceError:
    if isinstance(error, _PASSED_ON):
        return error
    return UnavailableError(
        Reason.DEPENDENCY_UNAVAILABLE, f"the key service does not move templates ({error.reason}): {error.message}"
    )


def _not_as_agreed(problem: str) -> UnavailableError:
    return UnavailableError(Reason.DEPENDENCY_UNAVAILABLE, f"the key service does not answer as agreed: {problem}")
