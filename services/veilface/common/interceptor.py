"""The shape that all server interceptors share: something around a call, whichever of the four kinds it is."""

from abc import ABC, abstractmethod
from asyncio import CancelledError
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc
import grpc.aio

if TYPE_CHECKING:
    Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
    Handler: TypeAlias = grpc.RpcMethodHandler[Any, Any]
else:
    # Generic in the stubs only.
    Context = grpc.aio.ServicerContext
    Handler = grpc.RpcMethodHandler

Behavior: TypeAlias = Callable[[Any, Context], Any]


class CallInterceptor(grpc.aio.ServerInterceptor, ABC):
    """An interceptor that enters a context manager around every call."""

    @abstractmethod
    def around(self, method: str, context: Context) -> AbstractAsyncContextManager[None]:
        """What to enter before the call and to leave after it.

        Args:
            method: The full name, "/package.Service/Method".
            context: The call.
        """

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Wrap the handler of one call; a method that nobody handles stays unhandled."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method

        async def respond(request: Any, context: Context) -> Any:
            async with self.around(method, context):
                return await behavior_of(handler)(request, context)

        async def respond_with_stream(request: Any, context: Context) -> None:
            async with self.around(method, context):
                responses = behavior_of(handler)(request, context)
                if not hasattr(responses, "__aiter__"):
                    await responses
                    return
                # Writing here, and not yielding, lets a cancellation pass through every interceptor at once.
                async with aclosing(responses):
                    async for response in responses:
                        await context.write(response)

        return with_behavior(handler, respond_with_stream if handler.response_streaming else respond)


def behavior_of(handler: Handler) -> Behavior:
    """The function behind a handler."""
    behavior: Behavior
    if handler.request_streaming:
        behavior = handler.stream_stream if handler.response_streaming else handler.stream_unary  # type: ignore[assignment]
    else:
        behavior = handler.unary_stream if handler.response_streaming else handler.unary_unary  # type: ignore[assignment]
    return behavior


def with_behavior(
    handler: Handler, behavior: Behavior, request_deserializer: Callable[[bytes], Any] | None = None
) -> Handler:
    """The same handler with another function, and perhaps another deserializer."""
    if handler.request_streaming:
        make = (
            grpc.stream_stream_rpc_method_handler
            if handler.response_streaming
            else grpc.stream_unary_rpc_method_handler
        )
    else:
        make = (
            grpc.unary_stream_rpc_method_handler if handler.response_streaming else grpc.unary_unary_rpc_method_handler
        )
    return make(
        behavior,
        request_deserializer=request_deserializer or handler.request_deserializer,
        response_serializer=handler.response_serializer,
    )


def status_of(context: Context, error: BaseException | None) -> grpc.StatusCode:
    """The status that a call ended with.

    Args:
        context: The call.
        error: What its handler raised; None if it returned.
    """
    if isinstance(error, CancelledError):
        remaining_s = context.time_remaining()
        expired = remaining_s is not None and remaining_s <= 0
        return grpc.StatusCode.DEADLINE_EXCEEDED if expired else grpc.StatusCode.CANCELLED
    code = context.code()
    if isinstance(code, int):
        code = next(known for known in grpc.StatusCode if known.value[0] == code)
    if code is None or (code is grpc.StatusCode.OK and error is not None):
        return grpc.StatusCode.OK if error is None else grpc.StatusCode.UNKNOWN
    return code
