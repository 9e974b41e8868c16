"""Health checks on a port of their own, without TLS: Kubernetes' gRPC probes and Docker's show no certificate."""

from collections.abc import Collection
from typing import Self

import grpc.aio
from grpc_health.v1 import health_pb2_grpc

from veilface.common.addresses import join_host_port
from veilface.common.errors import ConfigurationError, Reason
from veilface.common.health import LIVENESS, HealthServicer, Readiness
from veilface.common.status import StatusInterceptor

_MOST_CALLS = 16
_LARGEST_REQUEST_BYTES = 1024


class HealthEndpoint:
    """A gRPC server that answers grpc.health.v1.Health and nothing else. Made by `start`."""

    def __init__(self, server: grpc.aio.Server, port: int) -> None:
        self._server = server
        self.port = port

    @classmethod
    async def start(cls, host: str, port: int, readiness: Readiness, services: Collection[str]) -> Self:
        """Serve until it is closed.

        Args:
            host: The address to listen on.
            port: The port; 0 selects a free one.
            readiness: What the answers depend on.
            services: The full names of the services that are asked about.

        Raises:
            ConfigurationError: INVALID_SETTING if the address cannot be listened on.
        """
        server = grpc.aio.server(
            interceptors=(StatusInterceptor(),),
            options=[
                ("grpc.max_receive_message_length", _LARGEST_REQUEST_BYTES),
                # By default a second process could listen on the same port and answer for this one.
                ("grpc.so_reuseport", 0),
            ],
            maximum_concurrent_rpcs=_MOST_CALLS,
        )
        health_pb2_grpc.add_HealthServicer_to_server(HealthServicer(readiness, (LIVENESS, *services)), server)
        try:
            bound = server.add_insecure_port(join_host_port(host, port))
        except RuntimeError as error:
            raise ConfigurationError(
                Reason.INVALID_SETTING,
                f"cannot answer health checks on {host} port {port}: the address is malformed, in use or not of this "
                "machine; change VEILFACE_HEALTH_HOST or VEILFACE_HEALTH_PORT",
            ) from error
        await server.start()
        return cls(server, bound)

    async def close(self) -> None:
        """Stop answering."""
        await self._server.stop(None)
