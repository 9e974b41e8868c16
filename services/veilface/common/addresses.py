"""Network addresses in gRPC's notation: which of them never leave the machine."""

import ipaddress

_LOCAL_SCHEMES = ("unix:", "unix-abstract:")
_RESOLVER_PREFIXES = ("dns:///", "dns:", "ipv4:", "ipv6:")


def is_local(address: str) -> bool:
    """Whether an address to listen on or to connect to is a unix socket or the loopback interface.

    Args:
        address: "unix:/path", "host:port", "[ipv6]:port", or one of these after "dns:///", "ipv4:" or "ipv6:".
    """
    if address.startswith(_LOCAL_SCHEMES):
        return True
    host = host_of(address)
    ip_address = ip_address_of(host)
    return host == "localhost" or (ip_address is not None and ip_address.is_loopback)


def join_host_port(host: str, port: int) -> str:
    """Write "host:port", with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def host_of(address: str) -> str:
    """The host in an address that is no unix socket, without brackets."""
    for prefix in _RESOLVER_PREFIXES:
        if address.startswith(prefix):
            address = address.removeprefix(prefix)
            break
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.rpartition(":")[0] or address


def ip_address_of(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address that a host is; None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
