"""The compose file, read, and what is weak about a service of it."""

from collections.abc import Mapping
from typing import Any

import yaml

from tests.unit.deploy.dockerfile import REPOSITORY, Dockerfile

COMPOSE = REPOSITORY / "deploy" / "compose.yaml"
# They do one thing and end; all others run until they are stopped.
ONE_SHOT = ("credentials", "first-key", "veilface")


def compose_file() -> dict[str, Any]:
    document = yaml.safe_load(COMPOSE.read_text())
    assert isinstance(document, dict)
    return document


def services() -> dict[str, Any]:
    found = compose_file()["services"]
    assert isinstance(found, dict)
    return found


def running_services() -> dict[str, Any]:
    return {name: service for name, service in services().items() if name not in ONE_SHOT}


def mounts(service: Mapping[str, Any]) -> dict[str, tuple[str, bool]]:
    """Each source with its target and whether it is mounted for reading only."""
    parts = [volume.split(":") for volume in service.get("volumes", ())]
    return {source: (target, options == ["ro"]) for source, target, *options in parts}


def weaknesses(service: Mapping[str, Any]) -> list[str]:
    """What a service may do that it need not, and what could harm others, a word for each."""
    user, _, group = str(service.get("user", "0")).partition(":")
    sources = mounts(service)
    checks = {
        "root": user.isdecimal() and int(user) > 0 and group.isdecimal() and int(group) > 0,
        "writable": service.get("read_only") is True,
        "capabilities": service.get("cap_drop") == ["ALL"] and not service.get("cap_add"),
        "setuid": "no-new-privileges:true" in service.get("security_opt", ()),
        "privileged": not service.get("privileged") and not service.get("devices"),
        "host": not {"pid", "ipc", "uts", "userns_mode"} & service.keys() and service.get("network_mode") != "host",
        "memory": "mem_limit" in service,
        "swap": service.get("memswap_limit") == service.get("mem_limit"),
        "processes": service.get("pids_limit", 0) > 0,
        "core": service.get("ulimits", {}).get("core") == 0,
        "tmpfs": all({"noexec", "nosuid", "nodev"} <= set(each.split(",")) for each in service.get("tmpfs", ())),
        "ports": all(str(port).startswith("127.0.0.1:") for port in service.get("ports", ())),
        "bind": all(source[0] not in "./~" for source in sources),
        "log": "max-size" in service.get("logging", {}).get("options", {}),
        "secret": not any(word in name for name in service.get("environment", {}) for word in ("PASSWORD", "TOKEN")),
    }
    return [name for name, holds in checks.items() if not holds]


def restart_weaknesses(service: Mapping[str, Any]) -> list[str]:
    """What is missing of a service that is to run on and on."""
    checks = {
        "restart": service.get("restart") == "unless-stopped",
        "health": _has_health_check(service),
    }
    return [name for name, holds in checks.items() if not holds]


def _has_health_check(service: Mapping[str, Any]) -> bool:
    if "healthcheck" in service:
        return bool(service["healthcheck"].get("test"))
    return "build" in service and bool(Dockerfile.read().values(service["build"]["target"], "HEALTHCHECK"))
