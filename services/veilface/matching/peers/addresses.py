"""Where the replicas are, as the operator says it."""

import asyncio
import socket
from dataclasses import dataclass
from typing import Final, Self

from veilface.common.addresses import join_host_port

_DNS: Final = "dns:///"
_LARGEST_PORT: Final = 65_535


@dataclass(frozen=True, slots=True)
class PeerAddresses:
    """Addresses of replicas, or the name that stands for them.

    Attributes:
        hosts: Each with its port.
        is_headless: Whether there is one host only, and all its addresses are replicas.
    """

    hosts: tuple[tuple[str, int], ...]
    is_headless: bool

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse "dns:///host:port" or "host:port,host:port". Raises ValueError for anything else."""
        if text.startswith(_DNS):
            return cls((_host_port(text.removeprefix(_DNS)),), is_headless=True)
        hosts = tuple(_host_port(part.strip()) for part in text.split(","))
        if len(set(hosts)) < len(hosts):
            raise ValueError("VEILFACE_PEERS names a replica twice")
        return cls(hosts, is_headless=False)

    @property
    def server_name(self) -> str | None:
        """The name in the certificates of all replicas; None if each has its own host."""
        return self.hosts[0][0] if self.is_headless else None

    async def resolve(self) -> tuple[str, ...]:
        """The address of each replica now, "host:port". Raises OSError if the name is not found."""
        if not self.is_headless:
            return tuple(join_host_port(host, port) for host, port in self.hosts)
        ((host, port),) = self.hosts
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return tuple(sorted({join_host_port(str(address[0]), int(address[1])) for *_, address in found}))


def _host_port(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    is_name = host and not set(host) & set("/,[] ")
    if not (colon and is_name and port.isascii() and port.isdigit() and 0 < int(port) <= _LARGEST_PORT):
        raise ValueError(f"VEILFACE_PEERS: {text!r} is not of the form host:port")
    return host, int(port)
