"""A Docker engine, if there is one, and a compose project of its own on it."""

import json
import os
import re
import secrets
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
COMPOSE = REPOSITORY / "deploy" / "compose.yaml"
SERVICES = ("embedding", "keys", "matching")
IMAGES = (*SERVICES, "cli")
BUILD_TIMEOUT_S = 2400
START_TIMEOUT_S = 600
TIMEOUT_S = 180
_NEEDED = {
    "a Docker engine that answers": ("docker", "version"),
    "docker compose": ("docker", "compose", "version"),
    "docker buildx": ("docker", "buildx", "version"),
}

# Of the compose file and of the README; the full tests run them.
_COMMAND = re.compile(r"docker compose -f deploy/compose\.yaml .*")

Finished = subprocess.CompletedProcess[str]


def what_is_missing() -> list[str]:
    """What a compose project needs and is not here."""
    return [name for name, command in _NEEDED.items() if not _succeeds(command)]


def compose_commands(text: str) -> list[str]:
    """The commands for the compose file that a text names, each of which is the rest of its line."""
    return [command.rstrip() for command in _COMMAND.findall(text)]


@dataclass(frozen=True)
class ComposeProject:
    """The compose file as it is, with images, containers, volumes and ports that nobody else uses.

    Attributes:
        name: The project's name, and the tag of its images.
        ports: The loopback port of each service.
    """

    name: str
    ports: dict[str, int]

    def run(self, *command: str, timeout_s: float = TIMEOUT_S, check: bool = True) -> Finished:
        """A command from the repository's root, whose docker compose means this project."""
        environment = os.environ | {
            "COMPOSE_PROJECT_NAME": self.name,
            "VEILFACE_TAG": self.name,
            **{f"VEILFACE_{service.upper()}_PORT": str(port) for service, port in self.ports.items()},
        }
        finished = subprocess.run(
            command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        assert not check or finished.returncode == 0, f"{' '.join(command)}\n{finished.stdout}\n{finished.stderr}"
        return finished

    def compose(self, *arguments: str, timeout_s: float = TIMEOUT_S, check: bool = True) -> Finished:
        """docker compose."""
        return self.run("docker", "compose", "-f", str(COMPOSE), *arguments, timeout_s=timeout_s, check=check)

    def docker(self, *arguments: str, check: bool = True) -> Finished:
        """docker."""
        return self.run("docker", *arguments, check=check)

    def up(self) -> None:
        """Start what does not run, and wait until all of it is ready."""
        self.compose("up", "--detach", "--wait", timeout_s=START_TIMEOUT_S)

    def veilface(self, *arguments: str, photos: Path | None = None) -> Finished:
        """The veilface command, whatever its exit code."""
        volume = () if photos is None else ("--volume", f"{photos}:/photos:ro")
        return self.compose("run", "--rm", "--no-TTY", *volume, "veilface", *arguments, check=False)

    def document(self, *arguments: str, photos: Path | None = None) -> dict[str, Any]:
        """What the veilface command answers as JSON."""
        finished = self.veilface(*arguments, "--json", photos=photos)
        document = json.loads(finished.stdout)
        assert isinstance(document, dict)
        return document

    def python(self, service: str, program: str, *arguments: str) -> Finished:
        """A program inside of a running service's container, whatever its exit code."""
        return self.compose("exec", "--no-TTY", service, "python", "-c", program, *arguments, check=False)

    def container(self, service: str) -> str:
        """The id of a service's container, running or not."""
        return self.compose("ps", "--all", "--quiet", service).stdout.strip()

    def inspect(self, service: str) -> dict[str, Any]:
        """What the engine says about a service's container."""
        (description,) = json.loads(self.docker("inspect", self.container(service)).stdout)
        assert isinstance(description, dict)
        return description

    def image(self, name: str) -> str:
        """The name of an image of this project."""
        return f"veilface-{name}:{self.name}"

    @contextmanager
    def image_with_extras(self, target: str, extras: str) -> Iterator[str]:
        """An image of a target that is built with other extras beside its own, for as long as it is needed."""
        image = self.image(f"{target}-with-extras")
        options = ("--file", "deploy/docker/Dockerfile", "--target", target, "--build-arg", f"EXTRAS={extras}")
        self.run("docker", "buildx", "build", *options, "--load", "--tag", image, ".", timeout_s=BUILD_TIMEOUT_S)
        try:
            yield image
        finally:
            self.docker("image", "rm", image)


@contextmanager
def running_project() -> Iterator[ComposeProject]:
    """Build the images, start everything, and remove all of it in the end."""
    project = ComposeProject(f"veilface-test-{secrets.token_hex(4)}", dict(zip(SERVICES, _free_ports(3), strict=True)))
    try:
        project.compose("build", timeout_s=BUILD_TIMEOUT_S)
        project.up()
        yield project
    finally:
        project.compose("--profile", "cli", "down", "--volumes", "--remove-orphans")
        # After a build that failed there may be none.
        project.docker("image", "rm", *(project.image(name) for name in IMAGES), check=False)


def _free_ports(count: int) -> Sequence[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _succeeds(command: Sequence[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0
    except FileNotFoundError:
        return False
