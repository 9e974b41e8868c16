"""Calls to one service: bounded, measured, and failing with errors of the veilface tree."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any, Self, TypeVar

import grpc
from google.protobuf.message import Message

from veilface.client.steps import Service, Step, payloads_of
from veilface.common.errors import Reason, UnavailableError, VeilfaceError
from veilface.common.status import error_from_rpc

M = TypeVar("M", bound=Message)

# Said by the transport, not by a service, so the message does not say who is meant.
_ON_THE_WAY = frozenset(
    (Reason.DEPENDENCY_UNAVAILABLE, Reason.DEADLINE_EXCEEDED, Reason.CANCELLED, Reason.TRANSPORT, Reason.NOT_READY)
)


@dataclass(slots=True)
class Trail:
    """The steps of one operation, in order."""

    steps: list[Step] = field(default_factory=list)

    def finished(self) -> tuple[Step, ...]:
        """The steps so far."""
        return tuple(self.steps)


@dataclass(frozen=True, slots=True)
class ServiceCalls:
    """Makes calls to one service.

    Attributes:
        service: Which one.
        target: Its address, for messages.
        timeout_s: How long one call may take.
    """

    service: Service
    target: str
    timeout_s: float

    def unary(self, method: "Callable[..., M]", name: str, request: Message, trail: Trail) -> M:
        """One request, one response.

        Raises:
            VeilfaceError: As the service answered, or as the transport failed.
        """
        started_s = time.perf_counter()
        with self.failures():
            response = method(request, timeout=self.timeout_s)
        self._record(trail, name, started_s, (request,), (response,))
        return response

    def server_stream(self, method: "Callable[..., Iterable[M]]", name: str, request: Message, trail: Trail) -> list[M]:
        """One request, all responses of a stream; errors as for `unary`."""
        started_s = time.perf_counter()
        with self.failures():
            responses = list(method(request, timeout=self.timeout_s))
        self._record(trail, name, started_s, (request,), responses)
        return responses

    def open_stream(self, method: "Callable[..., Iterable[M]]", request: Message) -> Iterator[M]:
        """One request, the responses as they come, without a time limit; not recorded. Errors as for `unary`."""
        with self.failures():
            stream: Any = method(request)
            try:
                yield from stream
            finally:
                stream.cancel()

    def answers(self, stream: Any, asked_count: Callable[[], int]) -> Iterator[Any]:
        """The responses of a stream in both directions, each of which may take as long as one call.

        Args:
            stream: The call.
            asked_count: How many requests were sent so far, each of which is owed one response: while none is owed,
                nobody is impatient.

        Raises:
            UnavailableError: DEADLINE_EXCEEDED if the service owes a response for too long; the stream is canceled.
        """
        for answered_count in count():
            patience = _Patience(self.timeout_s, partial(_is_owed, asked_count, answered_count), stream.cancel)
            try:
                with patience:
                    response = next(stream)
            except StopIteration:
                return
            except grpc.RpcError:
                if not patience.is_over:
                    raise
                raise self._named(
                    UnavailableError(Reason.DEADLINE_EXCEEDED, f"it did not answer within {self.timeout_s:g} s")
                ) from None
            yield response

    def client_stream(self, method: "Callable[..., M]", name: str, requests: Sequence[Message], trail: Trail) -> M:
        """All requests of a stream, one response; errors as for `unary`."""
        started_s = time.perf_counter()
        with self.failures():
            response = method(iter(requests), timeout=self.timeout_s)
        self._record(trail, name, started_s, requests, (response,))
        return response

    def record_item(self, trail: Trail, name: str, started_s: float, request: Message, response: Message) -> None:
        """Record one exchange of a stream that goes on."""
        self._record(trail, name, started_s, (request,), (response,))

    @contextmanager
    def failures(self) -> Iterator[None]:
        """Turn a failed call into an error of the veilface tree that says which service failed."""
        try:
            yield
        except grpc.RpcError as failure:
            error = error_from_rpc(failure)
            if error.reason in _ON_THE_WAY:
                raise self._named(error) from failure
            raise error from failure

    def _named(self, error: VeilfaceError) -> VeilfaceError:
        return type(error)(error.reason, f"the {self.service} service at {self.target}: {error.message}")

    def _record(
        self, trail: Trail, name: str, started_s: float, requests: Sequence[Message], responses: Sequence[Message]
    ) -> None:
        trail.steps.append(
            Step(
                service=self.service,
                call=name,
                milliseconds=(time.perf_counter() - started_s) * 1000,
                sent_bytes=_size(requests),
                received_bytes=_size(responses),
                sent=payloads_of(requests),
                received=payloads_of(responses),
            )
        )


def _is_owed(asked_count: Callable[[], int], answered_count: int) -> bool:
    return asked_count() > answered_count


class _Patience:
    """Waits for something on a thread beside, and acts once it was awaited for too long."""

    def __init__(self, timeout_s: float, is_awaited: Callable[[], bool], give_up: Callable[[], object]) -> None:
        self.is_over = False
        self._timeout_s = timeout_s
        self._is_awaited = is_awaited
        self._give_up = give_up
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()
        self._has_ended = False

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._has_ended = True
            if self._timer is not None:
                self._timer.cancel()

    def _start(self) -> None:
        self._timer = threading.Timer(self._timeout_s, self._expire)
        self._timer.daemon = True
        self._timer.start()

    def _expire(self) -> None:
        with self._lock:
            if self._has_ended:
                return
            if not self._is_awaited():
                self._start()
                return
            self.is_over = True
        self._give_up()


def pages(fetch: Callable[[str], tuple[Iterable[Any], str]]) -> Iterator[Any]:
    """Everything in a paginated list.

    Args:
        fetch: Answers the items of the page with a given token, and the token of the next page or "".
    """
    token = ""
    while True:
        items, token = fetch(token)
        yield from items
        if not token:
            return


def _size(messages: Sequence[Message]) -> int:
    return sum(message.ByteSize() for message in messages)
