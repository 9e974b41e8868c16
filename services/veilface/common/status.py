"""Errors of the veilface tree as gRPC statuses, and back."""

import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import structlog
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from veilface.common.errors import (
    AlreadyExistsError,
    DataLossError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    Reason,
    ResourceExhaustedError,
    UnauthenticatedError,
    UnavailableError,
    VeilfaceError,
)
from veilface.common.interceptor import CallInterceptor, Context, Handler, behavior_of, with_behavior
from veilface.types.v1 import chunk_pb2

ERROR_DOMAIN = "veilface"
INTERNAL_MESSAGE = "an error inside the service; its log has the details under the request id of this call"
STATUS_DETAILS_KEY = "grpc-status-details-bin"

# A header block has about 8 KiB and the message is in it twice, once as base64.
_LONGEST_MESSAGE = 1000

_CODES: dict[type[VeilfaceError], grpc.StatusCode] = {
    InvalidArgumentError: grpc.StatusCode.INVALID_ARGUMENT,
    FailedPreconditionError: grpc.StatusCode.FAILED_PRECONDITION,
    NotFoundError: grpc.StatusCode.NOT_FOUND,
    AlreadyExistsError: grpc.StatusCode.ALREADY_EXISTS,
    UnauthenticatedError: grpc.StatusCode.UNAUTHENTICATED,
    PermissionDeniedError: grpc.StatusCode.PERMISSION_DENIED,
    ResourceExhaustedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    UnavailableError: grpc.StatusCode.UNAVAILABLE,
    DataLossError: grpc.StatusCode.DATA_LOSS,
}
_ERRORS: dict[grpc.StatusCode, type[VeilfaceError]] = {code: error for error, code in _CODES.items()} | {
    grpc.StatusCode.DEADLINE_EXCEEDED: UnavailableError,
    grpc.StatusCode.CANCELLED: UnavailableError,
}
_TRANSPORT_REASONS = {
    grpc.StatusCode.UNAVAILABLE: Reason.DEPENDENCY_UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: Reason.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED: Reason.CANCELLED,
}


def status_code(error: BaseException) -> grpc.StatusCode:
    """The status of an error; INTERNAL for whatever has none of its own, such as a ConfigurationError."""
    for error_class in type(error).__mro__:
        if error_class in _CODES:
            return _CODES[error_class]
    return grpc.StatusCode.INTERNAL


def status_from_error(error: BaseException) -> status_pb2.Status:
    """The status that a caller gets for an error: reason and message of a known one, a fixed text for any other."""
    code = status_code(error)
    if code is grpc.StatusCode.INTERNAL or not isinstance(error, VeilfaceError):
        reason, message = Reason.INTERNAL, INTERNAL_MESSAGE
    else:
        reason, message = error.reason, error.message[:_LONGEST_MESSAGE]
    status = status_pb2.Status(code=code.value[0], message=message)
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason.value, domain=ERROR_DOMAIN))
    return status


def item_error_from(error: BaseException) -> chunk_pb2.ItemError:
    """The same for one item of a batch whose other items go on."""
    status = status_from_error(error)
    reason = error.reason if isinstance(error, VeilfaceError) else Reason.INTERNAL
    if status_code(error) is grpc.StatusCode.INTERNAL:
        reason = Reason.INTERNAL
    return chunk_pb2.ItemError(code=status.code, reason=reason.value, message=status.message)


def error_from_item(message: chunk_pb2.ItemError) -> VeilfaceError:
    """The error that `item_error_from` was given."""
    code = _CODE_OF_NUMBER.get(message.code, grpc.StatusCode.UNKNOWN)
    return _error(code, _parse_reason(message.reason), message.message)


def error_from_rpc(error: grpc.RpcError) -> VeilfaceError:
    """The error of a failed call, from the synchronous or the asyncio API.

    Its class follows from the status; its reason is the server's, or tells that the call failed on the way
    (DEPENDENCY_UNAVAILABLE, DEADLINE_EXCEEDED, CANCELLED, TRANSPORT).
    """
    # RpcError itself promises nothing; what a failed call raises is a grpc.Call or an AioRpcError.
    code: grpc.StatusCode = error.code() if hasattr(error, "code") else grpc.StatusCode.UNKNOWN
    details: str = (error.details() if hasattr(error, "details") else None) or code.name
    reason = _reason_in(error.trailing_metadata() if hasattr(error, "trailing_metadata") else None)
    return _error(code, reason or _TRANSPORT_REASONS.get(code, Reason.TRANSPORT), details)


class StatusInterceptor(CallInterceptor):
    """Ends a call that raised with the status of its error. Outside of it nothing but aborts and cancellations pass."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Wrap the handler of one call."""

        async def continue_checked(details: grpc.HandlerCallDetails) -> Handler | None:
            handler = await continuation(details)
            return None if handler is None else _refuse_malformed_requests(handler)

        return await super().intercept_service(continue_checked, handler_call_details)

    @asynccontextmanager
    async def around(self, method: str, context: Context) -> AsyncIterator[None]:
        """Map what is raised inside."""
        try:
            yield
        except grpc.aio.AbortError:
            raise
        except Exception as error:  # noqa: BLE001 - the edge of the process: whatever it is, the caller gets a status
            if status_code(error) is grpc.StatusCode.INTERNAL:
                # The text of an unforeseen exception may quote a value, so only its type and place are logged.
                structlog.get_logger().error("internal_error", method=method, **describe_exception(error))
            await _abort(context, error)


def describe_exception(error: BaseException) -> dict[str, Any]:
    """The type and place of an exception, and the text of those only whose text is known to be harmless."""
    frames = traceback.extract_tb(error.__traceback__)
    description: dict[str, Any] = {
        "exception": type(error).__qualname__,
        "frames": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-8:]],
    }
    if isinstance(error, VeilfaceError):
        description |= {"exception_reason": error.reason.value, "exception_message": error.message}
    if error.__cause__ is not None:
        description["cause"] = describe_exception(error.__cause__)
    return description


async def _abort(context: Context, error: Exception) -> None:
    status = status_from_error(error)
    reason = error.reason.value if isinstance(error, VeilfaceError) else Reason.INTERNAL.value
    structlog.contextvars.bind_contextvars(reason=reason)
    metadata = (*(context.trailing_metadata() or ()), (STATUS_DETAILS_KEY, status.SerializeToString()))
    await context.abort(status_code(error), status.message, metadata)


class _MalformedRequest:
    """Stands for a request that could not be parsed until the handler is called, where a status can be sent."""


def _refuse_malformed_requests(handler: Handler) -> Handler:
    # gRPC would answer UNKNOWN with the parser's own words.
    deserialize = handler.request_deserializer
    behavior = behavior_of(handler)
    if deserialize is None:
        return handler

    def deserialize_or_mark(data: bytes) -> Any:
        try:
            return deserialize(data)
        except DecodeError:
            if handler.request_streaming:
                raise _malformed_request() from None
            return _MalformedRequest()

    def call(request: Any, context: Context) -> Any:
        if isinstance(request, _MalformedRequest):
            raise _malformed_request()
        return behavior(request, context)

    return with_behavior(handler, call, deserialize_or_mark)


def _malformed_request() -> InvalidArgumentError:
    return InvalidArgumentError(
        Reason.INVALID_FIELD,
        "the bytes of the request are not a message of the method's type: compare the .proto files",
    )


_CODE_OF_NUMBER: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


def _error(code: grpc.StatusCode, reason: Reason, message: str) -> VeilfaceError:
    return _ERRORS.get(code, VeilfaceError)(reason, message)


def _reason_in(metadata: Iterable[Any] | None) -> Reason | None:
    for key, value in metadata or ():
        if key != STATUS_DETAILS_KEY or not isinstance(value, bytes):
            continue
        try:
            status = status_pb2.Status.FromString(value)
        except DecodeError:
            return None
        for detail in status.details:
            info = error_details_pb2.ErrorInfo()
            if detail.Unpack(info) and info.domain == ERROR_DOMAIN:
                return _parse_reason(info.reason)
    return None


def _parse_reason(text: str) -> Reason:
    # A newer server may know reasons that this process does not.
    return Reason(text) if text in Reason.__members__ else Reason.TRANSPORT
