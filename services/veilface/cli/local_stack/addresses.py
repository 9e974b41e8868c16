"""The loopback ports of a local stack, and the file that tells clients about them."""

import json
import socket
from collections.abc import Mapping

from veilface.cli.local_stack.layout import StateLayout
from veilface.client.settings import ClientSettings
from veilface.common.errors import ConfigurationError
from veilface.common.files import write_private_file

LOOPBACK = "127.0.0.1"


def choose_addresses(layout: StateLayout) -> dict[str, str]:
    """A free address for each service, the same as last time where it is still free, and tell clients.

    Returns:
        "127.0.0.1:port" for "embedding", "keys" and "matching".
    """
    ports = {name: _port_of(address) for name, address in _last_addresses(layout).items()}
    sockets = {name: _bind(ports.get(name, 0)) for name in ("embedding", "keys", "matching")}
    # All are held until all are chosen, so that no two services get the same port.
    addresses = {name: f"{LOOPBACK}:{held.getsockname()[1]}" for name, held in sockets.items()}
    for held in sockets.values():
        held.close()
    _save(layout, addresses)
    return addresses


def _last_addresses(layout: StateLayout) -> Mapping[str, str]:
    if not layout.connection.exists():
        return {}
    try:
        settings = ClientSettings.from_state(layout.root)
    except ConfigurationError:
        # It is about to be written anew.
        return {}
    return {
        "embedding": settings.embedding_service,
        "keys": settings.key_service,
        "matching": settings.matching_service,
    }


def _port_of(address: str) -> int:
    port = address.rpartition(":")[2]
    return int(port) if port.isdecimal() and int(port) < 65_536 else 0


def _bind(port: int) -> socket.socket:
    held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            held.bind((LOOPBACK, port))
        except OSError:
            # Somebody else has taken it meanwhile.
            held.bind((LOOPBACK, 0))
    except OSError:
        held.close()
        raise
    return held


def _save(layout: StateLayout, addresses: Mapping[str, str]) -> None:
    document = {
        "embedding_service": addresses["embedding"],
        "key_service": addresses["keys"],
        "matching_service": addresses["matching"],
        "certificates": layout.certificates.name,
    }
    write_private_file(layout.connection, (json.dumps(document, indent=2) + "\n").encode())
