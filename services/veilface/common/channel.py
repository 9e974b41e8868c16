"""gRPC channels to veilface's servers: mutual TLS, load balancing over all replicas, retries where they do no harm."""

import json
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio

from veilface.common.addresses import is_local
from veilface.common.errors import ConfigurationError, Reason
from veilface.common.files import read_setting_file
from veilface.common.settings import MEBIBYTE, TlsSettings

# Reads, computations that leave no trace, and Enroll, which carries a request id. Not decisions: they use up a ticket.
RETRIED_METHODS: dict[str, tuple[str, ...]] = {
    "grpc.health.v1.Health": ("Check",),
    "veilface.embedding.v1.EmbeddingService": ("ExtractTemplates", "ListModels"),
    "veilface.keys.v1.KeyService": ("GetKey", "ListKeys", "GetPublicKey", "GetEvaluationKeys"),
    "veilface.matching.v1.GalleryService": (
        "GetGallery",
        "ListGalleries",
        "Enroll",
        "GetEnrollment",
        "ListEnrollments",
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
    """Open an asyncio channel; it connects when it is first used.

    Args:
        target: "host:port", "dns:///host:port" (every address of a headless service) or "unix:/path".
        tls: This party's files; None only for unix sockets and loopback addresses.
        options: How the channel behaves.

    Raises:
        ConfigurationError: INVALID_SETTING if a file cannot be read or TLS is missing.
    """
    arguments = channel_arguments(options)
    if tls is None:
        _check_insecure(target)
        return grpc.aio.insecure_channel(target, options=arguments)
    return grpc.aio.secure_channel(target, channel_credentials(tls), options=arguments)


def open_sync_channel(target: str, tls: TlsSettings | None, options: ChannelOptions = DEFAULT_OPTIONS) -> grpc.Channel:
    """Open a synchronous channel; arguments and errors as for `open_channel`."""
    arguments = channel_arguments(options)
    if tls is None:
        _check_insecure(target)
        return grpc.insecure_channel(target, options=arguments)
    return grpc.secure_channel(target, channel_credentials(tls), options=arguments)


def channel_credentials(tls: TlsSettings) -> grpc.ChannelCredentials:
    """Read this party's certificate, key and accepted authorities. Raises ConfigurationError INVALID_SETTING."""
    return grpc.ssl_channel_credentials(
        root_certificates=read_setting_file(tls.ca, "PEM certificates of authorities"),
        private_key=read_setting_file(tls.private_key, "a PEM private key"),
        certificate_chain=read_setting_file(tls.certificate, "a PEM certificate chain"),
    )


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
