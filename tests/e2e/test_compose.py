"""The images, built, and the compose file, run: people are recognized, and every party stays apart."""

import base64
import re
import shlex
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docker_engine import (
    COMPOSE,
    IMAGES,
    SERVICES,
    START_TIMEOUT_S,
    ComposeProject,
    compose_commands,
    running_project,
    what_is_missing,
)
from tests.portraits import portrait_path
from veilface.cli.exit_codes import ExitCode
from veilface.client import ClientSettings, VeilfaceClient

pytestmark = [pytest.mark.full, pytest.mark.timeout(4500)]

PEOPLE = {"ada": ("obama.jpg", "obama2.jpg"), "grace": ("biden.jpg",)}
PROBE = "visitor.jpg"
USER = "10001"
LIBRARIES = ("deepface", "dlib", "tenseal", "lightphe", "gmpy2")
FIND = """
import importlib.util, sys
def is_here(name):
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False
print(*filter(is_here, sys.argv[1:]))
"""
# What a process may do is in its own status; whether it may write, only trying shows.
PRIVILEGES = """
import os, pathlib, sys
lines = pathlib.Path("/proc/1/status").read_text().splitlines()
status = dict(line.split(":\\t", 1) for line in lines if ":\\t" in line)
print(os.getuid(), status["CapEff"], status["NoNewPrivs"], *(path for path in sys.path if os.access(path, os.W_OK)))
for folder in sys.argv[1:]:
    try:
        pathlib.Path(folder, "planted").write_text("x")
        print(folder, "written")
        pathlib.Path(folder, "planted").unlink()
    except OSError as error:
        print(folder, error.strerror)
"""
CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=2).close()
    print("reached")
except OSError:
    print("not reached")
"""


@pytest.fixture(scope="module")
def project() -> Iterator[ComposeProject]:
    missing = what_is_missing()
    if missing:
        pytest.skip(f"these tests build images and run containers; missing here: {', '.join(missing)}")
    with running_project() as running:
        yield running


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What to enroll: one folder for each person."""
    folder = tmp_path_factory.mktemp("photos")
    for person, filenames in PEOPLE.items():
        (folder / person).mkdir()
        for number, filename in enumerate(filenames, 1):
            shutil.copyfile(portrait_path(filename), folder / person / f"{number}.jpg")
    return readable(folder)


@pytest.fixture(scope="module")
def probes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What to ask about: a photograph that nobody enrolls."""
    folder = tmp_path_factory.mktemp("probes")
    shutil.copyfile(portrait_path("obama3.jpg"), folder / PROBE)
    return readable(folder)


@pytest.fixture(scope="module")
def gallery(project: ComposeProject, photos: Path) -> str:
    """A gallery of both people, made with the commands that the compose file begins with, word for word."""
    for command in compose_commands(COMPOSE.read_text()):
        words = [str(photos).join(word.split("./photos")) for word in shlex.split(command)]
        project.run(*words, timeout_s=START_TIMEOUT_S)
    assert project.document("gallery", "show", "staff")["enrollment_count"] == 3
    return "staff"


@pytest.fixture(scope="module")
def credentials(project: ComposeProject, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What all parties hold, copied out of the volumes."""
    folder = tmp_path_factory.mktemp("credentials")
    project.docker("cp", f"{project.container('credentials')}:/credentials/.", str(folder))
    return folder


def readable(folder: Path) -> Path:
    """The folder, open to the user of the containers, who is not its owner."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


def identified(project: ComposeProject, gallery: str, probes: Path) -> list[str]:
    document = project.document("identify", gallery, f"/photos/{PROBE}", photos=probes)
    return [candidate["subject"] for candidate in document["candidates"]]


def secret_texts(credentials: Path) -> set[str]:
    """The lines of all private keys, and the master key in other writings too."""
    files = [path for path in credentials.rglob("*.key") if path.is_file()]
    lines = {line for path in files for line in path.read_text().split("\n") if len(line) >= 40 and "-----" not in line}
    master_key = base64.b64decode((credentials / "keys" / "master.key").read_text())
    return lines | {master_key.hex(), base64.urlsafe_b64encode(master_key).decode().rstrip("=")}


def wait_for(condition: Callable[[], bool], timeout_s: float = 60.0) -> bool:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.5)
    return True


def secrets_in(text: str, secrets: set[str]) -> set[str]:
    return {secret for secret in secrets if secret in text}


def test_people_are_identified_and_verified(project: ComposeProject, gallery: str, probes: Path) -> None:
    assert identified(project, gallery, probes) == ["ada"]
    verify = ("verify", gallery, "ada", f"/photos/{PROBE}")
    assert project.veilface(*verify, photos=probes).returncode == ExitCode.DONE
    other = project.veilface("verify", gallery, "grace", f"/photos/{PROBE}", photos=probes)
    assert other.returncode == ExitCode.NO_MATCH


def test_a_flushed_redis_and_a_new_matcher_change_no_answer(
    project: ComposeProject, gallery: str, probes: Path
) -> None:
    def redis(*command: str) -> str:
        return project.compose("exec", "--no-TTY", "redis", "redis-cli", *command).stdout.strip()

    assert wait_for(lambda: redis("DBSIZE") != "0"), "no segment was put into Redis"
    assert redis("FLUSHALL") == "OK"
    assert identified(project, gallery, probes) == ["ada"]
    project.compose("restart", "matching")
    project.up()
    assert identified(project, gallery, probes) == ["ada"]


def test_starting_again_keeps_keys_and_credentials(project: ComposeProject, credentials: Path, tmp_path: Path) -> None:
    key = project.document("keys", "show", "default")
    project.compose("down")
    project.up()
    assert project.document("keys", "show", "default") == key
    project.docker("cp", f"{project.container('credentials')}:/credentials/.", str(tmp_path))
    kept = {path.relative_to(credentials): path.read_bytes() for path in credentials.rglob("*") if path.is_file()}
    assert kept == {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert len(kept) > 20


def test_a_program_beside_the_containers_reaches_the_services_on_loopback(
    project: ComposeProject, gallery: str, credentials: Path
) -> None:
    addresses = {service: f"localhost:{port}" for service, port in project.ports.items()}
    settings = ClientSettings.from_state(credentials / "operator").model_copy(
        update={
            "embedding_service": addresses["embedding"],
            "key_service": addresses["keys"],
            "matching_service": addresses["matching"],
        }
    )
    with VeilfaceClient.connect(settings) as client:
        assert client.models()
        assert client.keys.get("default").name == "keys/default"
        assert client.galleries.get(gallery).name == f"galleries/{gallery}"


def modules_in(project: ComposeProject, image: str) -> list[str]:
    run = ("run", "--rm", "--network=none", "--entrypoint=python", image, "-c", FIND)
    return project.docker(*run, "veilface.crypto.secret", "veilface.cli", *LIBRARIES).stdout.split()


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("matching", []),
        ("keys", ["veilface.crypto.secret", "tenseal"]),
        ("embedding", ["deepface", "dlib", "tenseal"]),
    ],
)
def test_only_other_images_hold_code_that_makes_keys_or_embeddings(
    project: ComposeProject, image: str, expected: list[str]
) -> None:
    assert modules_in(project, project.image(image)) == expected


def test_an_image_holds_what_another_scheme_needs_if_its_extras_are_asked_for(project: ComposeProject) -> None:
    with project.image_with_extras("matching", "cipherface phe") as image:
        assert modules_in(project, image) == ["tenseal", "gmpy2"]


@pytest.mark.parametrize(
    ("image", "expected"),
    [("matching", set()), ("keys", {"secret"}), ("embedding", {"deepface", "deepface_finder.py"})],
)
def test_no_file_of_the_matching_image_is_of_the_secret_half_or_of_deepface(
    project: ComposeProject, image: str, expected: set[str]
) -> None:
    listed = project.docker(
        *("run", "--rm", "--user=0", "--network=none", "--entrypoint=find", project.image(image)),
        *("/", "-xdev", "(", "-path", "*/crypto/secret", "-o", "-name", "deepface*", ")"),
    )
    found = {Path(line).name for line in listed.stdout.splitlines()}
    assert expected <= found
    assert bool(found) is bool(expected)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_no_privileges_and_writes_into_its_own_folders_only(
    project: ComposeProject, service: str
) -> None:
    folders = ("/", "/app", "/opt/venv", "/etc/veilface", "/var/cache/veilface")
    identity, *written = project.python(service, PRIVILEGES, *folders).stdout.splitlines()
    assert identity == f"{USER} 0000000000000000 1"
    assert written == [
        "/ Read-only file system",
        "/app Read-only file system",
        "/opt/venv Read-only file system",
        "/etc/veilface Read-only file system",
        "/var/cache/veilface written",
    ]
    assert project.inspect(service)["HostConfig"]["ReadonlyRootfs"] is True


def address_of(project: ComposeProject, service: str) -> str:
    """One of a service's addresses: without a route to it, no name would help."""
    attached: dict[str, Any] = project.inspect(service)["NetworkSettings"]["Networks"]
    return str(next(network["IPAddress"] for name, network in attached.items() if name.endswith(f"{service}-callers")))


def test_a_service_reaches_those_that_it_needs_and_no_others(project: ComposeProject) -> None:
    def reaches(service: str, host: str, port: int) -> bool:
        return project.python(service, CONNECT, host, str(port)).stdout.strip() == "reached"

    assert reaches("matching", "keys", 7002)
    assert reaches("matching", "redis", 6379)
    assert reaches("embedding", "keys", 7002)
    assert reaches("embedding", address_of(project, "embedding"), 7001)
    for service, host, port in (
        ("matching", "embedding", 7001),
        ("matching", address_of(project, "embedding"), 7001),
        ("embedding", "matching", 7003),
        ("embedding", address_of(project, "matching"), 7003),
        ("embedding", "redis", 6379),
        ("keys", "redis", 6379),
        ("keys", address_of(project, "matching"), 7003),
    ):
        assert not reaches(service, host, port), f"{service} reaches {host}:{port}"


def test_no_secret_is_in_logs_layers_or_environments(project: ComposeProject, gallery: str, credentials: Path) -> None:
    assert project.document("gallery", "show", gallery)["enrollment_count"] > 0
    secrets = secret_texts(credentials)
    logs = project.compose("logs", "--no-color").stdout
    assert "listening" in logs
    assert secrets_in(logs, secrets) == set()
    for image in IMAGES:
        history = project.docker("history", "--no-trunc", project.image(image)).stdout
        assert "useradd" in history
        assert secrets_in(history + project.docker("inspect", project.image(image)).stdout, secrets) == set()
    for service in SERVICES:
        assert secrets_in(project.docker("inspect", project.container(service)).stdout, secrets) == set()
    # The control: where the master key belongs, the same look finds it.
    held = project.compose("exec", "--no-TTY", "keys", "cat", "/etc/veilface/master.key").stdout
    assert held.strip() in secrets_in(held, secrets)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_that_is_stopped_drains_and_ends_in_order(project: ComposeProject, service: str) -> None:
    assert project.inspect(service)["State"]["Running"]
    project.compose("stop", service)
    state = project.inspect(service)["State"]
    assert (state["Running"], state["ExitCode"], state["OOMKilled"]) == (False, 0, False)
    events = re.findall(r'"event": ?"(draining|stopped)"', project.compose("logs", "--no-color", service).stdout)
    assert events[-2:] == ["draining", "stopped"]
    project.up()
    assert project.inspect(service)["State"]["Health"]["Status"] == "healthy"
