"""gRPC channels to veilface's servers: mutual TLS, load balancing over all replicas, retries where they do no harm."""

import json
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio

from veilface.common.addresses import is_local
from veilface.common.errors import ConfigurationError, Reason
from veilface.common.reloading_channel import ReloadingChannel
from veilface.common.settings import MEBIBYTE, TlsSettings
from veilface.common.tls import TlsContents, WatchedTlsFiles, channel_credentials

# Reads, computations that leave no trace, Enroll, which carries a request id, and RotateGallery, which goes on where it
# was. Not decisions: they use up a ticket.
RETRIED_METHODS: dict[str, tuple[str, ...]] = {
    "grpc.health.v1.Health": ("Check",),
    "veilface.embedding.v1.EmbeddingService": ("ExtractTemplates", "ListModels"),
    "veilface.keys.v1.KeyService": ("GetKey", "ListKeys", "GetPublicKey", "GetEvaluationKeys"),
    "veilface.matching.v1.GalleryService": (
        "GetGallery",
        "ListGalleries",
        "RotateGallery",
        "Enroll",
        "GetEnrollment",
        "ListEnrollments",
        "ListSegmentImports",
        "ListSubjects",
    ),
    "veilface.matching.v1.MatchingService": ("CompareTemplates", "SearchGallery"),
}

_RETRY_POLICY: dict[str, Any] = {
    "maxAttempts": 4,
    "initialBackoff": "0.1s",
    "maxBackoff": "2s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelOptions:
    """How a channel behaves.

    Attributes:
        server_name: The name that the server's certificate must carry, if it is not the target's host.
        max_receive_bytes: The largest response message.
        keepalive_s: Seconds between keepalive pings while calls are running.
        connect_timeout_s: Seconds that one attempt to connect may take.
    """

    server_name: str | None = None
    max_receive_bytes: int = 20 * MEBIBYTE
    keepalive_s: float = 60.0
    connect_timeout_s: float = 10.0


DEFAULT_OPTIONS = ChannelOptions()


def open_channel(target: str, tls: TlsSettings | None, options: ChannelOptions = DEFAULT_OPTIONS) -> grpc.aio.Channel:
    """Open an asyncio channel; it connects when it is first used, and follows changes of the TLS files.

    Args:
        target: "host:port", "dns:///host:port" (every address of a headless service) or "unix:/path".
        tls: This party's files; None only for unix sockets and loopback addresses.
        options: How the channel behaves.

    Raises:
        ConfigurationError: INVALID_SETTING if TLS is missing or its files cannot be used now.
    """
    arguments = channel_arguments(options)
    if tls is None:
        _check_insecure(target)
        return grpc.aio.insecure_channel(target, options=arguments)

    def open_inner(contents: TlsContents) -> grpc.aio.Channel:
        return grpc.aio.secure_channel(target, channel_credentials(contents), options=arguments)

    return ReloadingChannel(WatchedTlsFiles(tls), open_inner)


def open_sync_channel(target: str, tls: TlsSettings | None, options: ChannelOptions = DEFAULT_OPTIONS) -> grpc.Channel:
    """Open a synchronous channel, which keeps the TLS files as they are; the rest as for `open_channel`."""
    arguments = channel_arguments(options)
    if tls is None:
        _check_insecure(target)
        return grpc.insecure_channel(target, options=arguments)
    return grpc.secure_channel(target, channel_credentials(WatchedTlsFiles(tls).contents), options=arguments)


def channel_arguments(options: ChannelOptions) -> list[tuple[str, Any]]:
    """The options in gRPC's own terms."""
    arguments: list[tuple[str, Any]] = [
        ("grpc.service_config", json.dumps(service_config())),
        ("grpc.max_receive_message_length", options.max_receive_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.keepalive_time_ms", round(options.keepalive_s * 1000)),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.min_reconnect_backoff_ms", round(options.connect_timeout_s * 1000)),
        ("grpc.max_reconnect_backoff_ms", 5_000),
        # A template fits; a call whose request is larger than this is not retried.
        ("grpc.per_rpc_retry_buffer_size", MEBIBYTE),
    ]
    if options.server_name is not None:
        arguments.append(("grpc.ssl_target_name_override", options.server_name))
    return arguments


def service_config() -> dict[str, Any]:
    """gRPC's service config: round robin, and retries of RETRIED_METHODS on UNAVAILABLE."""
    names = [
        {"service": service, "method": method} for service, methods in RETRIED_METHODS.items() for method in methods
    ]
    return {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [{"name": names, "retryPolicy": _RETRY_POLICY}],
    }


def _check_insecure(target: str) -> None:
    if not is_local(target):
        raise ConfigurationError(
            Reason.INVALID_SETTING,
            f"{target} is not a unix socket or loopback address, so it needs TLS: give certificate, key and authority",
        )
