"""The compose file: what its services may do, whom they reach, what they share and how they are set."""

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from tests.docker_engine import compose_commands
from tests.unit.deploy.compose import (
    COMPOSE,
    ONE_SHOT,
    compose_file,
    mounts,
    restart_weaknesses,
    running_services,
    services,
    weaknesses,
)
from tests.unit.deploy.dockerfile import IMAGES, REPOSITORY, SERVICES, Dockerfile
from tests.unit.deploy.test_dockerfile import SETTINGS
from veilface.cli.credentials.deployment import DEFAULT_ADDRESSES, ensure_deployment
from veilface.common.settings import MEBIBYTE, load_settings

CREDENTIALS = "/etc/veilface"
UNITS = {"m": MEBIBYTE, "g": 1024 * MEBIBYTE}


def networks(name: str) -> set[str]:
    return set(services()[name].get("networks", ()))


def size_bytes(text: str) -> int:
    return int(text.lower().rstrip("mgb")) * UNITS[text.lower().rstrip("b")[-1]]


@pytest.mark.parametrize("name", services())
def test_a_service_may_do_no_more_than_it_needs(name: str) -> None:
    assert weaknesses(services()[name]) == []


@pytest.mark.parametrize("name", running_services())
def test_a_service_that_runs_on_is_watched_and_started_again(name: str) -> None:
    assert restart_weaknesses(services()[name]) == []


@pytest.mark.parametrize("name", ONE_SHOT)
def test_what_does_one_thing_and_ends_is_not_started_again(name: str) -> None:
    assert services()[name].get("restart", "no") == "no"


@pytest.mark.parametrize(
    ("planted", "weakness"),
    [
        ({"user": "0:0"}, "root"),
        ({"user": "veilface"}, "root"),
        ({"read_only": False}, "writable"),
        ({"cap_drop": []}, "capabilities"),
        ({"cap_add": ["NET_ADMIN"]}, "capabilities"),
        ({"security_opt": []}, "setuid"),
        ({"privileged": True}, "privileged"),
        ({"network_mode": "host"}, "host"),
        ({"pid": "host"}, "host"),
        ({"mem_limit": "8g"}, "swap"),
        ({"pids_limit": -1}, "processes"),
        ({"ulimits": {}}, "core"),
        ({"tmpfs": ["/tmp:size=64m"]}, "tmpfs"),
        ({"ports": ["7002:7002"]}, "ports"),
        ({"ports": ["0.0.0.0:7002:7002"]}, "ports"),
        ({"volumes": ["/var/run/docker.sock:/var/run/docker.sock"]}, "bind"),
        ({"logging": {}}, "log"),
        ({"environment": {"REDIS_PASSWORD": "secret"}}, "secret"),
    ],
)
def test_a_weakness_that_is_planted_is_found(planted: dict[str, Any], weakness: str) -> None:
    assert weaknesses(services()["keys"] | planted) == [weakness]


@pytest.mark.parametrize(
    ("planted", "weakness"),
    [
        ({"restart": "no"}, "restart"),
        ({"healthcheck": {"disable": True}}, "health"),
        ({"build": {"target": "cli"}}, "health"),
    ],
)
def test_a_service_that_nobody_watches_is_found(planted: dict[str, Any], weakness: str) -> None:
    assert restart_weaknesses(services()["keys"] | planted) == [weakness]


def test_services_without_limits_are_found() -> None:
    unlimited = {name: value for name, value in services()["keys"].items() if name != "mem_limit"}
    assert weaknesses(unlimited) == ["memory", "swap"]


def test_the_matcher_reaches_keys_and_redis_and_the_embedding_service_keys_only() -> None:
    pairs = {frozenset(pair) for pair in combinations(running_services(), 2) if networks(pair[0]) & networks(pair[1])}
    assert pairs == {frozenset(pair) for pair in (("matching", "keys"), ("matching", "redis"), ("embedding", "keys"))}


def test_no_service_has_a_way_out_of_the_machine() -> None:
    masquerade = "com.docker.network.bridge.enable_ip_masquerade"
    for name, network in compose_file()["networks"].items():
        assert network.get("internal") is True or network["driver_opts"][masquerade] == "false", name
    # A service without networks of its own would be in the default one, which has.
    assert all(networks(name) for name in services() if services()[name].get("network_mode") != "none")


def test_redis_answers_the_matcher_which_is_alone_with_it() -> None:
    # A Redis without a password is closed to all others, unless it is told that it need not be.
    command = services()["redis"]["command"]
    assert command[command.index("--protected-mode") + 1] == "no"
    (network,) = networks("redis")
    assert {name for name in services() if network in networks(name)} == {"redis", "matching"}


def test_redis_is_published_nowhere_and_keeps_nothing() -> None:
    redis = services()["redis"]
    assert "ports" not in redis
    assert mounts(redis) == {}
    options = dict(zip(redis["command"][1::2], redis["command"][2::2], strict=True))
    assert (options["--save"], options["--appendonly"]) == ("", "no")
    assert options["--maxmemory-policy"] == "allkeys-lru"
    assert size_bytes(options["--maxmemory"]) < size_bytes(redis["mem_limit"])


def test_no_two_services_share_a_volume() -> None:
    used = [source for service in running_services().values() for source in mounts(service)]
    assert sorted(used) == sorted(set(used))
    assert set(used) | {"authority", "operator"} == set(compose_file()["volumes"])


def test_the_authority_stays_with_what_makes_credentials() -> None:
    holders = {name for name, service in services().items() if "authority" in mounts(service)}
    assert holders == {"credentials"}
    assert {name for name, service in services().items() if "operator" in mounts(service)} == set(ONE_SHOT)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_cannot_write_its_own_credentials(name: str) -> None:
    assert mounts(services()[name])[f"{name}-credentials"] == (CREDENTIALS, True)


@pytest.mark.parametrize("name", services())
def test_a_service_can_write_where_its_image_does_and_leaves_no_nameless_volume(name: str) -> None:
    service = services()[name]
    writable = {target for target, read_only in mounts(service).values() if not read_only}
    writable |= {each.partition(":")[0] for each in service["tmpfs"]}
    target = service.get("build", {}).get("target", "")
    # Redis's image declares one folder.
    declared = Dockerfile.read().values(target, "VOLUME") if target else ['["/data"]']
    assert {folder for value in declared for folder in json.loads(value)} <= writable


@pytest.mark.parametrize("name", SERVICES)
def test_the_environment_is_one_that_the_service_accepts(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = Dockerfile.read().settings(name) | services()[name]["environment"]
    for variable, value in environment.items():
        if variable.startswith("VEILFACE_"):
            monkeypatch.setenv(variable, value)
    settings = load_settings(SETTINGS[name])
    given = {f"VEILFACE_{field.upper()}" for field in settings.model_fields_set}
    assert {variable for variable in environment if variable.startswith("VEILFACE_")} == given
    assert int(services()[name]["stop_grace_period"].rstrip("s")) > settings.drain_timeout_s


@pytest.mark.parametrize("name", SERVICES)
def test_the_files_that_are_named_are_among_those_that_are_made(name: str, tmp_path: Path) -> None:
    ensure_deployment(tmp_path, dict.fromkeys(SERVICES, ()))
    named = {value for value in services()[name]["environment"].values() if value.startswith(f"{CREDENTIALS}/")}
    assert named == {f"{CREDENTIALS}/{file.name}" for file in (tmp_path / name).iterdir()}


@pytest.mark.parametrize("name", SERVICES)
def test_clients_find_a_service_under_the_name_that_its_certificate_carries(name: str) -> None:
    host, _, port = DEFAULT_ADDRESSES[name].partition(":")
    assert host == name
    assert Dockerfile.read().settings(name)["VEILFACE_LISTEN"].endswith(f":{port}")
    (published,) = services()[name]["ports"]
    assert published.endswith(f":{port}")


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_starts_after_its_credentials_are_made(name: str) -> None:
    condition = services()[name]["depends_on"]["credentials"]["condition"]
    assert condition == "service_completed_successfully"


def test_the_first_command_finds_a_key_and_services_that_are_ready() -> None:
    waits_for = {name: each["condition"] for name, each in services()["veilface"]["depends_on"].items()}
    assert waits_for == {"embedding": "service_healthy", "matching": "service_healthy"}
    assert services()["embedding"]["depends_on"]["first-key"]["condition"] == "service_completed_successfully"
    assert services()["first-key"]["depends_on"]["keys"]["condition"] == "service_healthy"


def test_to_wait_for_everything_is_not_to_wait_for_what_has_ended() -> None:
    # "up --wait" fails if something has ended that no other service of the same start needs to have ended.
    needed = {
        name
        for service in running_services().values()
        for name, each in service.get("depends_on", {}).items()
        if each["condition"] == "service_completed_successfully"
    }
    assert needed == {name for name in ONE_SHOT if "profiles" not in services()[name]}


def test_every_image_is_built_from_the_target_of_its_name() -> None:
    built = {
        service["image"].partition(":")[0]: service["build"] for service in services().values() if "build" in service
    }
    assert {f"veilface-{image}": image for image in IMAGES} == {name: build["target"] for name, build in built.items()}
    assert all(build["dockerfile"] == "deploy/docker/Dockerfile" for build in built.values())
    assert [name for name, service in services().items() if "build" not in service] == ["redis"]


def test_the_readme_names_commands_that_the_compose_file_begins_with() -> None:
    tested = compose_commands(COMPOSE.read_text())
    assert len(tested) >= 4
    assert set(compose_commands((REPOSITORY / "README.md").read_text())) <= set(tested)
    untested = "docker compose -f deploy/compose.yaml logs"
    assert set(compose_commands(f"$ {untested}")) - set(tested) == {untested}
