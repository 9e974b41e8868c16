"""Asks the service beside it whether it is ready: `python -m veilface.common.probe`, for Docker's health checks."""

import os
import sys
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from veilface.common.addresses import join_host_port
from veilface.common.process import EXIT_CONFIGURATION

_PORT_VARIABLE = "VEILFACE_HEALTH_PORT"
_LOOPBACK = "127.0.0.1"
_TIMEOUT_S = 3.0


def main() -> int:
    """Answer 0 if the service is ready, 1 if it is not or does not answer, 78 if no port is set."""
    port = os.environ.get(_PORT_VARIABLE, "")
    if not port.isdecimal() or not 0 < int(port) < 65_536:
        print(f"veilface: {_PORT_VARIABLE} is not set to a port; the service and its probe share it", file=sys.stderr)
        return EXIT_CONFIGURATION
    with grpc.insecure_channel(join_host_port(_LOOPBACK, int(port))) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            response = stub.Check(health_pb2.HealthCheckRequest(), timeout=_TIMEOUT_S)
        except grpc.RpcError as error:
            print(f"veilface: no answer on port {port}: {error.code().name}", file=sys.stderr)
            return 1
    status = health_pb2.HealthCheckResponse.ServingStatus.Name(response.status)
    print(f"veilface: {status}", file=sys.stderr)
    return 0 if response.status == health_pb2.HealthCheckResponse.SERVING else 1


if __name__ == "__main__":
    sys.exit(main())
