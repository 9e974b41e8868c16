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
    host = _host_of(address)
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def join_host_port(host: str, port: int) -> str:
    """Write "host:port", with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _host_of(address: str) -> str:
    for prefix in _RESOLVER_PREFIXES:
        if address.startswith(prefix):
            address = address.removeprefix(prefix)
            break
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.rpartition(":")[0] or address
