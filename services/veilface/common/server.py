"""A gRPC server from its first breath to its last: mutual TLS, health, reflection, interceptors, drain."""

import asyncio
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc.aio
import structlog
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from veilface.common.addresses import join_host_port
from veilface.common.errors import ConfigurationError, Reason
from veilface.common.health import HealthServicer, Readiness, ReadinessInterceptor
from veilface.common.health_endpoint import HealthEndpoint
from veilface.common.identity import ANYONE, HEALTH_SERVICE, REFLECTION_SERVICES, AccessInterceptor, AccessPolicy
from veilface.common.logging import LoggingInterceptor
from veilface.common.metrics import MetricsEndpoint, MetricsInterceptor, ServerMetrics
from veilface.common.settings import ServerSettings
from veilface.common.status import StatusInterceptor
from veilface.common.tls import server_credentials

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True)
class Registration:
    """A service to serve.

    Attributes:
        descriptor: `x_pb2.DESCRIPTOR.services_by_name["XService"]`.
        servicer: Its implementation; every method is a coroutine function or an async generator function.
        add_to_server: `x_pb2_grpc.add_XServiceServicer_to_server`.
    """

    descriptor: ServiceDescriptor
    servicer: Any
    add_to_server: Callable[[Any, Any], None]

    @property
    def service_name(self) -> str:
        """The full name of the service."""
        return self.descriptor.full_name

    @property
    def methods(self) -> frozenset[str]:
        """The full names of its methods."""
        return frozenset(f"/{self.service_name}/{method.name}" for method in self.descriptor.methods)


class RunningServer:
    """A server that takes calls. Made by `start_server`."""

    def __init__(
        self,
        server: grpc.aio.Server,
        address: str,
        readiness: Readiness,
        metrics_endpoint: MetricsEndpoint | None,
        health_endpoint: HealthEndpoint | None,
        drain_timeout_s: float,
    ) -> None:
        self._server = server
        self._readiness = readiness
        self._metrics_endpoint = metrics_endpoint
        self._health_endpoint = health_endpoint
        self._drain_timeout_s = drain_timeout_s
        self.address = address

    @property
    def metrics_port(self) -> int | None:
        """The port that serves metrics, if any."""
        return None if self._metrics_endpoint is None else self._metrics_endpoint.port

    @property
    def health_port(self) -> int | None:
        """The port that answers health checks without TLS, if any."""
        return None if self._health_endpoint is None else self._health_endpoint.port

    async def drain(self) -> None:
        """Say NOT_SERVING, refuse new calls, wait for running ones up to the drain timeout, cancel the rest."""
        self._readiness.drain()
        structlog.get_logger().info("draining", timeout_s=self._drain_timeout_s)
        await self._server.stop(self._drain_timeout_s)
        if self._metrics_endpoint is not None:
            await asyncio.to_thread(self._metrics_endpoint.close)
        if self._health_endpoint is not None:
            await self._health_endpoint.close()
        structlog.get_logger().info("stopped")


async def serve(
    settings: ServerSettings,
    registrations: Sequence[Registration],
    readiness: Readiness,
    policy: AccessPolicy,
    *,
    metrics: ServerMetrics | None = None,
    on_started: Callable[[RunningServer], None] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then drain. A second signal ends the process at once.

    Args:
        settings: Address, TLS and limits.
        registrations: The services.
        readiness: While it is not ready, health is NOT_SERVING and calls are answered UNAVAILABLE.
        policy: Who may call what; health is open to all, and reflection to every identity.
        metrics: Where to measure; served over HTTP if the settings give a port.
        on_started: Called once the address is bound.

    Raises:
        ConfigurationError: INVALID_SETTING if the address, the TLS files or the policy cannot be used.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def stop_once() -> None:
        for number in _STOP_SIGNALS:
            loop.remove_signal_handler(number)
        stop.set()

    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, stop_once)
    try:
        server = await start_server(settings, registrations, readiness, policy, metrics=metrics)
        try:
            if on_started is not None:
                on_started(server)
            await stop.wait()
        finally:
            await server.drain()
    finally:
        for number in _STOP_SIGNALS:
            loop.remove_signal_handler(number)


async def start_server(
    settings: ServerSettings,
    registrations: Sequence[Registration],
    readiness: Readiness,
    policy: AccessPolicy,
    *,
    metrics: ServerMetrics | None = None,
) -> RunningServer:
    """Start a server; arguments and errors as for `serve`. The caller drains it."""
    _check_policy(policy, registrations)
    metrics = metrics or ServerMetrics()
    if settings.reflection:
        policy = policy.with_rules({f"/{service}/*": (ANYONE,) for service in REFLECTION_SERVICES})
    server = grpc.aio.server(
        # The first is the outermost: the log and the metrics see the status that the others decide on.
        interceptors=(
            LoggingInterceptor(),
            MetricsInterceptor(metrics),
            StatusInterceptor(),
            AccessInterceptor(policy, settings.insecure_identity),
            ReadinessInterceptor(readiness),
        ),
        options=_server_options(settings),
        maximum_concurrent_rpcs=settings.max_concurrent_calls,
    )
    service_names = [registration.service_name for registration in registrations]
    for registration in registrations:
        registration.add_to_server(registration.servicer, server)
    health_pb2_grpc.add_HealthServicer_to_server(HealthServicer(readiness, service_names), server)
    if settings.reflection:
        reflection.enable_server_reflection((*service_names, HEALTH_SERVICE, reflection.SERVICE_NAME), server)
    address = _bind(server, settings)
    health_endpoint = None
    if settings.health_port is not None:
        health_endpoint = await HealthEndpoint.start(
            settings.health_host, settings.health_port, readiness, service_names
        )
    metrics_endpoint = None
    if settings.metrics_port is not None:
        metrics_endpoint = MetricsEndpoint(settings.metrics_host, settings.metrics_port, metrics.registry)
    await server.start()
    running = RunningServer(server, address, readiness, metrics_endpoint, health_endpoint, settings.drain_timeout_s)
    structlog.get_logger().info(
        "listening",
        address=address,
        services=service_names,
        tls=not settings.insecure,
        metrics_port=running.metrics_port,
        health_port=running.health_port,
    )
    return running


def _bind(server: grpc.aio.Server, settings: ServerSettings) -> str:
    tls = settings.tls
    try:
        if tls is None:
            port = server.add_insecure_port(settings.listen)
        else:
            port = server.add_secure_port(settings.listen, server_credentials(tls))
    except RuntimeError as error:
        raise ConfigurationError(
            Reason.INVALID_SETTING,
            f"cannot listen on {settings.listen}: the address is malformed, in use or not of this machine; "
            "change VEILFACE_LISTEN",
        ) from error
    if settings.listen.startswith("unix"):
        return settings.listen
    host, _, _ = settings.listen.rpartition(":")
    return join_host_port(host.strip("[]"), port)


def _server_options(settings: ServerSettings) -> list[tuple[str, Any]]:
    return [
        ("grpc.max_receive_message_length", settings.max_receive_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.keepalive_time_ms", round(settings.keepalive_s * 1000)),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
        ("grpc.max_connection_age_ms", round(settings.max_connection_age_s * 1000)),
        # By default a second process could listen on the same port and get half of the calls.
        ("grpc.so_reuseport", 0),
    ]


def _check_policy(policy: AccessPolicy, registrations: Sequence[Registration]) -> None:
    known = {method for registration in registrations for method in registration.methods}
    known |= {f"/{registration.service_name}/*" for registration in registrations}
    known |= {f"/{service}/*" for service in REFLECTION_SERVICES}
    unknown = policy.methods - known
    if unknown:
        raise ConfigurationError(
            Reason.INVALID_SETTING,
            f"the access policy has rules for {', '.join(sorted(unknown))}, which this server does not have",
        )
