"""What each image is run as, and with what: hadolint finds nothing, and neither do the checks that it lacks."""

import fnmatch
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.deploy.dockerfile import DOCKERFILE, IMAGES, REPOSITORY, SERVICES, Dockerfile
from veilface import __version__
from veilface.common.settings import environment_name
from veilface.embedding.settings import EmbeddingSettings
from veilface.keys.settings import KeysSettings
from veilface.matching.settings import MatchingSettings

TIMEOUT_S = 60
SETTINGS = {"embedding": EmbeddingSettings, "keys": KeysSettings, "matching": MatchingSettings}
_NUMERIC_USER = re.compile(r"[1-9][0-9]*:[1-9][0-9]*")


@pytest.fixture(scope="module")
def dockerfile() -> Dockerfile:
    return Dockerfile.read()


def hadolint(path: Path) -> "subprocess.CompletedProcess[str]":
    program = Path(sys.executable).with_name("hadolint")
    command = [str(program), "--no-color", "--failure-threshold", "info", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)


def label(dockerfile: Dockerfile, image: str, name: str) -> str:
    (value,) = re.findall(rf'org\.opencontainers\.image\.{name}="([^"]*)"', " ".join(dockerfile.values(image, "LABEL")))
    return str(value)


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    finished = hadolint(DOCKERFILE)
    assert (finished.returncode, finished.stdout) == (0, "")


def test_hadolint_finds_a_flaw_that_is_planted(tmp_path: Path) -> None:
    planted = tmp_path / "Dockerfile"
    planted.write_text(f"{DOCKERFILE.read_text()}RUN pip install requests\nUSER root\n")
    finished = hadolint(planted)
    assert finished.returncode != 0
    assert {"DL3013", "DL3002"} <= set(re.findall("DL[0-9]{4}", finished.stdout))


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_runs_as_a_numbered_user_without_privileges(dockerfile: Dockerfile, image: str) -> None:
    assert _NUMERIC_USER.fullmatch(dockerfile.values(image, "USER")[-1])
    # The control: what builds the command line's image is another user.
    assert not _NUMERIC_USER.fullmatch(dockerfile.values("cli", "USER")[-2])


@pytest.mark.parametrize("image", IMAGES)
def test_no_shell_stands_between_a_stop_signal_and_the_program(dockerfile: Dockerfile, image: str) -> None:
    (entrypoint,) = dockerfile.values(image, "ENTRYPOINT")
    module = "veilface.cli.app" if image == "cli" else f"veilface.{image}"
    assert json.loads(entrypoint) == ["python", "-m", module]


@pytest.mark.parametrize("image", SERVICES)
def test_docker_asks_the_probe_whether_a_service_is_ready(dockerfile: Dockerfile, image: str) -> None:
    (check,) = dockerfile.values(image, "HEALTHCHECK")
    assert json.loads(check.partition("CMD ")[2]) == ["python", "-m", "veilface.common.probe"]
    assert dockerfile.settings(image)["VEILFACE_HEALTH_PORT"].isdecimal()


@pytest.mark.parametrize("image", SERVICES)
def test_a_service_listens_on_the_port_that_its_image_exposes(dockerfile: Dockerfile, image: str) -> None:
    (port,) = dockerfile.values(image, "EXPOSE")
    assert dockerfile.settings(image)["VEILFACE_LISTEN"] == f"0.0.0.0:{port}"


@pytest.mark.parametrize("image", SERVICES)
def test_an_image_sets_nothing_that_its_service_does_not_know(dockerfile: Dockerfile, image: str) -> None:
    known = {environment_name(field) for field in SETTINGS[image].model_fields}
    assert {name for name in dockerfile.settings(image) if name.startswith("VEILFACE_")} <= known


@pytest.mark.parametrize("image", IMAGES)
def test_kernels_are_kept_in_a_folder_that_stays_writable(dockerfile: Dockerfile, image: str) -> None:
    writable = [folder for value in dockerfile.values(image, "VOLUME") for folder in json.loads(value)]
    settings = dockerfile.settings(image)
    for name in ("NUMBA_CACHE_DIR", "HOME"):
        assert any(f"{settings[name]}/".startswith(f"{folder}/") for folder in writable)
    assert settings["PYTHONDONTWRITEBYTECODE"] == "1"


@pytest.mark.parametrize("image", IMAGES)
def test_modules_come_from_folders_that_nobody_can_write(dockerfile: Dockerfile, image: str) -> None:
    settings = dockerfile.settings(image)
    # Otherwise Python looks for them in the working directory first, where a service stores its things.
    assert (settings["PYTHONPATH"], settings["PYTHONSAFEPATH"]) == ("/app", "1")


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_says_what_it_is_and_of_which_version(dockerfile: Dockerfile, image: str) -> None:
    assert label(dockerfile, image, "title") == f"veilface-{image}"
    assert label(dockerfile, image, "version") == "${VERSION}"
    assert f"VERSION={__version__}" in dockerfile.values(image, "ARG")


def test_the_context_is_what_the_dockerfile_copies_and_nothing_else(dockerfile: Dockerfile) -> None:
    lines = [line for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    let_in = {line[1:] for line in lines if line.startswith("!")}
    assert lines[0] == "*"
    copied = {*dockerfile.values("builder", "COPY")[0].split()[:-1], *dockerfile.copied("cli")}
    copied |= {path for image in SERVICES for path in dockerfile.copied(image)}
    for path in copied:
        assert any(path == each or path.startswith(f"{each}/") for each in let_in), path
    for each in let_in:
        assert any(path == each or path.startswith(f"{each}/") for path in copied), each
    kept_out = [line for line in lines[1:] if not line.startswith("!")]
    assert any(fnmatch.fnmatch("services/veilface/keys/__pycache__", pattern) for pattern in kept_out)
