"""Whether the processes of a local stack answer."""

import socket
import time
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from veilface.cli.local_stack.process import StackProcess
from veilface.common.channel import open_sync_channel
from veilface.common.errors import Reason, UnavailableError
from veilface.common.settings import TlsSettings

_POLL_S = 0.1
_PING = b"*1\r\n$4\r\nPING\r\n"


def is_serving(address: str, tls: TlsSettings, timeout_s: float = 2.0) -> bool:
    """Whether a service says that it is ready."""
    # A channel of its own: one that was refused before would wait before it tries again.
    with open_sync_channel(address, tls) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            response = stub.Check(health_pb2.HealthCheckRequest(), timeout=timeout_s)
        except grpc.RpcError:
            return False
    return bool(response.status == health_pb2.HealthCheckResponse.SERVING)


def redis_answers(path: Path, timeout_s: float = 1.0) -> bool:
    """Whether Redis answers a ping on its unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        try:
            connection.connect(str(path))
            connection.sendall(_PING)
            return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False


def wait_until_serving(process: StackProcess, address: str, tls: TlsSettings, timeout_s: float) -> None:
    """Wait for a service to be ready.

    Raises:
        UnavailableError: STACK_FAILED if it ends or is not ready in time, with the end of its log.
    """
    deadline_s = time.monotonic() + timeout_s
    while not is_serving(address, tls):
        _check_patience(process, deadline_s, timeout_s)


def wait_for_redis(process: StackProcess, path: Path, timeout_s: float) -> None:
    """Wait for Redis to answer; errors as for `wait_until_serving`."""
    deadline_s = time.monotonic() + timeout_s
    while not redis_answers(path):
        _check_patience(process, deadline_s, timeout_s)


def _check_patience(process: StackProcess, deadline_s: float, timeout_s: float) -> None:
    process.check()
    if time.monotonic() > deadline_s:
        raise UnavailableError(
            Reason.STACK_FAILED,
            f"{process.name} is not ready after {timeout_s:.0f} s. The end of {process.log}:\n{process.log_tail()}",
        )
    time.sleep(_POLL_S)
