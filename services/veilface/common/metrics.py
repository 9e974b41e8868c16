"""Counts and durations of calls, for Prometheus."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from threading import Thread
from typing import Self
from wsgiref.simple_server import WSGIServer

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    start_http_server,
)

from veilface.common.errors import ConfigurationError, Reason
from veilface.common.interceptor import CallInterceptor, Context, status_of

_DURATION_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class ServerMetrics:
    """What every server measures. A service adds its own measures to `registry`; labels never carry content.

    Args:
        registry: Where the measures are registered; a new registry by default.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or process_registry()
        self.calls = Counter(
            "veilface_calls", "Calls that ended, by method and status.", ("method", "code"), registry=self.registry
        )
        self.call_duration = Histogram(
            "veilface_call_duration_seconds",
            "How long calls took, by method and status.",
            ("method", "code"),
            buckets=_DURATION_BUCKETS_S,
            registry=self.registry,
        )
        self.calls_running = Gauge(
            "veilface_calls_running", "Calls that run now, by method.", ("method",), registry=self.registry
        )


class MetricsInterceptor(CallInterceptor):
    """Counts and times calls. Only methods that the server has are seen, so the labels are few."""

    def __init__(self, metrics: ServerMetrics) -> None:
        self._metrics = metrics

    @asynccontextmanager
    async def around(self, method: str, context: Context) -> AsyncIterator[None]:
        """Measure when the call has ended."""
        running = self._metrics.calls_running.labels(method)
        running.inc()
        started_s = time.perf_counter()
        error: BaseException | None = None
        try:
            yield
        except BaseException as raised:
            error = raised
            raise
        finally:
            running.dec()
            code = status_of(context, error).name
            self._metrics.calls.labels(method, code).inc()
            self._metrics.call_duration.labels(method, code).observe(time.perf_counter() - started_s)


class MetricsEndpoint:
    """The HTTP server that Prometheus scrapes, on a thread of its own.

    Args:
        host: The address to listen on.
        port: The port; 0 selects a free one.
        registry: What to show.

    Raises:
        ConfigurationError: INVALID_SETTING if the address cannot be listened on.
    """

    def __init__(self, host: str, port: int, registry: CollectorRegistry) -> None:
        try:
            server, thread = start_http_server(port, addr=host, registry=registry)
        except OSError as error:
            raise ConfigurationError(
                Reason.INVALID_SETTING,
                f"cannot serve metrics on {host} port {port} ({error.strerror}): change VEILFACE_METRICS_HOST or "
                "VEILFACE_METRICS_PORT",
            ) from error
        self._server: WSGIServer = server
        self._thread: Thread = thread

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._server.server_port

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def process_registry() -> CollectorRegistry:
    """A new registry that knows about the process, the platform and the garbage collector."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry
