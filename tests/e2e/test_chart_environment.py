"""Services that get the environment and the files that the Helm chart gives them recognize a person, and stop politely.

No cluster is needed: the chart is rendered, and every path and address in it is exchanged for one of this machine.
"""

import json
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.portraits import portrait_path
from tests.postgresql import PostgresqlServer
from tests.unit.deploy.chart import SERVICES, Document, containers, environment, notes, pod_templates, render
from veilface.cli.credentials.deployment import ensure_deployment
from veilface.common.health import LIVENESS

pytestmark = pytest.mark.full

VALUES: Document = {
    "matching": {"redis": {"enabled": False}, "segmentMemoryBytes": 1 << 28, "searchMemoryBytes": 1 << 28}
}
CREDENTIALS = "/etc/veilface/credentials"
READY_TIMEOUT_S = 240.0
COMMAND_TIMEOUT_S = 120.0
SERVING = health_pb2.HealthCheckResponse.SERVING


@dataclass(frozen=True)
class RunningPod:
    """A service's process and where it answers."""

    process: "subprocess.Popen[bytes]"
    log: Path
    health_port: int
    metrics_port: int

    def health(self, service: str = "") -> int:
        """What a probe of the kubelet's, which shows no certificate, is told. Raises grpc.RpcError."""
        with grpc.insecure_channel(f"127.0.0.1:{self.health_port}") as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            return int(stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=5).status)

    def wait_until_ready(self) -> None:
        """Ask as the readiness probe does, until the answer is yes."""
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        while not self._is_ready():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline_s, self.log.read_text()
            time.sleep(0.2)

    def _is_ready(self) -> bool:
        try:
            return self.health() == SERVING
        except grpc.RpcError as error:
            if error.code() not in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}:
                raise
            return False


@dataclass(frozen=True)
class Release:
    """A release without its cluster."""

    pods: dict[str, RunningPod]
    credentials: Path

    def run(self, command: str) -> "subprocess.CompletedProcess[str]":
        """Run a `veilface` command; CREDENTIALS in it is the folder of all credentials."""
        _, *arguments = shlex.split(command.replace("CREDENTIALS", str(self.credentials)))
        return subprocess.run(
            [sys.executable, "-m", "veilface.cli.app", *arguments],
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory, postgresql: PostgresqlServer) -> Iterator[Release]:
    folder = tmp_path_factory.mktemp("release")
    credentials = folder / "credentials"
    ports = {name: free_port() for name in SERVICES}
    ensure_deployment(credentials, {name: [f"localhost:{port}"] for name, port in ports.items()})
    documents = render(VALUES)
    with ExitStack() as stack:
        pods = {}
        for name in SERVICES:
            on_this_machine = {
                "VEILFACE_LISTEN": f"127.0.0.1:{ports[name]}",
                "VEILFACE_HEALTH_PORT": str(free_port()),
                "VEILFACE_METRICS_PORT": str(free_port()),
                "VEILFACE_DATABASE_URL": stack.enter_context(postgresql.database()),
                "VEILFACE_KEY_SERVICE": f"dns:///localhost:{ports['keys']}",
                "VEILFACE_PEERS": f"dns:///localhost:{ports['matching']}",
            }
            variables = mounted(documents, name, folder / name, credentials / name)
            variables |= {variable: value for variable, value in on_this_machine.items() if variable in variables}
            pods[name] = stack.enter_context(running_pod(name, variables, folder / f"{name}.log"))
        for pod in pods.values():
            pod.wait_until_ready()
        yield Release(pods, credentials)


@contextmanager
def running_pod(name: str, variables: dict[str, str], log: Path) -> Iterator[RunningPod]:
    with log.open("wb") as output:
        command = [sys.executable, "-m", f"veilface.{name}"]
        process = subprocess.Popen(command, env=variables, stdout=output, stderr=output)
    try:
        ports = (int(variables[f"VEILFACE_{kind}_PORT"]) for kind in ("HEALTH", "METRICS"))
        yield RunningPod(process, log, *ports)
    finally:
        process.kill()
        process.wait()


def mounted(documents: list[Document], name: str, folder: Path, credentials: Path) -> dict[str, str]:
    """The variables of a service with its mounts exchanged for folders of this machine, empty but for credentials."""
    (container,) = containers(pod_templates(documents)[name]["spec"])
    folders = {mount["mountPath"]: folder / mount["name"] for mount in container["volumeMounts"]}
    for own in folders.values():
        own.mkdir(parents=True)
    folders[CREDENTIALS] = credentials
    variables = environment(documents, name)
    for variable, value in variables.items():
        for mount, own in folders.items():
            if value == mount or value.startswith(f"{mount}/"):
                variables[variable] = f"{own}{value.removeprefix(mount)}"
    return variables


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_probes_and_metrics_are_answered_as_the_chart_says(release: Release) -> None:
    for pod in release.pods.values():
        assert (pod.health(), pod.health(LIVENESS)) == (SERVING, SERVING)
        with urllib.request.urlopen(f"http://127.0.0.1:{pod.metrics_port}/metrics", timeout=10) as response:
            assert b"veilface_calls_total" in response.read()


def test_the_commands_of_the_notes_make_a_key_and_a_gallery_that_recognizes_people(release: Release) -> None:
    commands = [line.strip() for line in notes(VALUES).splitlines() if "--state CREDENTIALS/operator" in line]
    assert len(commands) == 2
    biden, obama, other_obama = (portrait_path(f"{name}.jpg") for name in ("biden", "obama", "obama2"))
    state = "--state CREDENTIALS/operator"
    for command in (*commands, f"veilface enroll staff {obama} --subject obama {state}"):
        finished = release.run(command)
        assert finished.returncode == 0, finished.stderr
    found = json.loads(release.run(f"veilface identify staff {other_obama} --json {state}").stdout)
    assert [candidate["subject"] for candidate in found["candidates"]] == ["obama"]
    assert release.run(f"veilface identify staff {biden} --json {state}").returncode == 1


def test_a_stop_signal_ends_every_service_without_an_error(release: Release) -> None:
    for pod in release.pods.values():
        pod.process.send_signal(signal.SIGTERM)
    assert {name: pod.process.wait(READY_TIMEOUT_S) for name, pod in release.pods.items()} == dict.fromkeys(SERVICES, 0)
