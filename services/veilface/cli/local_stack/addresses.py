"""The loopback ports of a local stack, and the file that tells clients about them."""

import socket
from collections.abc import Mapping

from veilface.cli.local_stack.layout import StateLayout
from veilface.client.settings import ClientSettings, save_connection
from veilface.common.errors import ConfigurationError

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
    save_connection(layout.root, addresses, layout.certificates.name)
    return addresses


def _last_addresses(layout: StateLayout) -> Mapping[str, str]:
    if not layout.connection.exists():
        return {}
    try:
        return ClientSettings.from_state(layout.root).addresses
    except ConfigurationError:
        # It is about to be written anew.
        return {}


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
