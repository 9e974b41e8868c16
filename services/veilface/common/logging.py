"""Structured logs: one line per call, never the content of a message."""

import logging
import re
import sys
import time
import uuid
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from typing import Any, Literal

import grpc
import numpy as np
import structlog
from google.protobuf.message import Message
from structlog.typing import EventDict, Processor, WrappedLogger

from veilface.common.identity import HEALTH_SERVICE
from veilface.common.interceptor import CallInterceptor, Context, status_of
from veilface.common.status import describe_exception

REQUEST_ID_KEY = "x-request-id"

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SECRET_FIELDS = frozenset(
    ("image", "embedding", "score", "scores", "secret_key", "private_key", "master_key", "password", "token")
)
_LEVELS: dict[grpc.StatusCode, int] = {
    grpc.StatusCode.INTERNAL: logging.ERROR,
    grpc.StatusCode.UNKNOWN: logging.ERROR,
    grpc.StatusCode.DATA_LOSS: logging.ERROR,
    grpc.StatusCode.UNAVAILABLE: logging.WARNING,
    grpc.StatusCode.RESOURCE_EXHAUSTED: logging.WARNING,
    grpc.StatusCode.PERMISSION_DENIED: logging.WARNING,
    grpc.StatusCode.UNAUTHENTICATED: logging.WARNING,
}


def configure_logging(
    level: Literal["debug", "info", "warning", "error"] = "info",
    log_format: Literal["auto", "json", "pretty"] = "auto",
) -> None:
    """Send this process's logs, and those of its libraries, to standard error.

    Args:
        level: The lowest level shown. Libraries are shown from "warning" on.
        log_format: One JSON object per line, lines for people, or whichever fits where standard error goes.
    """
    pretty = log_format == "pretty" or (log_format == "auto" and sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        withhold_exception_text,
        withhold_content,
    ]
    renderer: Processor = structlog.dev.ConsoleRenderer() if pretty else structlog.processors.JSONRenderer()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    # What the standard library prints when it fails to write a line includes exceptions with their text.
    logging.raiseExceptions = False
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("veilface").setLevel(level.upper())
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=_named_logger,
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def withhold_content(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """A structlog processor that replaces bytes, arrays, messages and fields with secret names by their kind."""
    for field, value in event.items():
        if field in _SECRET_FIELDS:
            event[field] = "<withheld>"
        else:
            event[field] = _without_content(value)
    return event


def withhold_exception_text(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """A structlog processor that keeps an exception's type and place; its text may quote what it was given."""
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        event.update(describe_exception(error))
    return event


class LoggingInterceptor(CallInterceptor):
    """Logs how each call ended: method, status, reason, milliseconds, caller and request id.

    The request id is the caller's `x-request-id`, or a new one, and goes back in the trailing metadata.
    """

    @asynccontextmanager
    async def around(self, method: str, context: Context) -> AsyncIterator[None]:
        """Log when the call has ended."""
        request_id = _request_id(context)
        structlog.contextvars.bind_contextvars(request_id=request_id)
        context.set_trailing_metadata(((REQUEST_ID_KEY, request_id),))
        started_s = time.perf_counter()
        error: BaseException | None = None
        try:
            yield
        except BaseException as raised:
            error = raised
            raise
        finally:
            status = status_of(context, error)
            structlog.get_logger().log(
                _level(method, status),
                "call",
                method=method,
                code=status.name,
                duration_ms=round((time.perf_counter() - started_s) * 1000, 3),
            )


def _level(method: str, status: grpc.StatusCode) -> int:
    if method.startswith(f"/{HEALTH_SERVICE}/"):
        return logging.DEBUG
    return _LEVELS.get(status, logging.INFO)


def _request_id(context: Context) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == REQUEST_ID_KEY and isinstance(value, str) and _REQUEST_ID.fullmatch(value):
            return value
    return uuid.uuid4().hex


def _without_content(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    if isinstance(value, np.ndarray):
        return f"<array {value.shape}>"
    if isinstance(value, Message):
        return f"<{value.DESCRIPTOR.full_name}>"
    if isinstance(value, MutableMapping):
        return {key: "<withheld>" if key in _SECRET_FIELDS else _without_content(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_without_content(inner) for inner in value]
    return value


def _named_logger(*arguments: Any) -> logging.Logger:
    return logging.getLogger(*arguments) if arguments else logging.getLogger("veilface")
