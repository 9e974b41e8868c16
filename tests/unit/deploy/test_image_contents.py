"""Each image holds the modules that its programs import and nothing else, and installs no library it must not have."""

import re
import tomllib
from collections.abc import Collection, Iterable
from importlib.metadata import requires

import grimp
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.unit.deploy.dockerfile import IMAGES, REPOSITORY, SERVICES, Dockerfile

SOURCES = REPOSITORY / "services"
SECRET_HALF = "veilface.crypto.secret"
PROGRAMS = {
    "embedding": ("veilface.embedding.__main__", "veilface.common.probe"),
    "keys": ("veilface.keys.__main__", "veilface.keys.offline", "veilface.common.probe"),
    "matching": ("veilface.matching.__main__", "veilface.common.probe"),
    "cli": ("veilface.cli.app",),
}
# Of another party an image holds messages and stubs, never rules.
FORBIDDEN = {
    "embedding": (SECRET_HALF, "veilface.keys", "veilface.matching", "veilface.client", "veilface.cli"),
    "keys": ("veilface.embedding", "veilface.matching", "veilface.client", "veilface.cli"),
    "matching": (SECRET_HALF, "veilface.keys", "veilface.embedding", "veilface.client", "veilface.cli"),
    "cli": ("veilface.matching",),
}
STUBS = re.compile(r"veilface\.(embedding|keys|matching)(\.v1(\..*)?)?")


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("veilface", cache_dir=None)


@pytest.fixture(scope="module")
def dockerfile() -> Dockerfile:
    return Dockerfile.read()


def modules_in(copied: Iterable[str]) -> set[str]:
    """The modules and packages in copied files and folders."""
    paths = [path for pattern in copied for path in REPOSITORY.glob(pattern)]
    files = [file for path in paths for file in (path.rglob("*.py") if path.is_dir() else [path])]
    parts = [file.relative_to(SOURCES).with_suffix("").parts for file in files]
    return {".".join(each[:-1] if each[-1] == "__init__" else each) for each in parts}


def imported(graph: grimp.ImportGraph, programs: Collection[str]) -> set[str]:
    """The programs, all that they import, at once or when they need it, and the packages that all of it is in."""
    modules = set(programs).union(*(graph.find_upstream_modules(program) for program in programs))
    parts = [module.split(".") for module in modules]
    return {".".join(each[:length]) for each in parts for length in range(1, len(each) + 1)}


def forbidden_in(image: str, modules: Iterable[str]) -> list[str]:
    return [
        module
        for module in modules
        if not STUBS.fullmatch(module) and any(f"{module}.".startswith(f"{name}.") for name in FORBIDDEN[image])
    ]


def installed_by(extras: Iterable[str]) -> set[str]:
    """The distributions that the project needs with these extras, and those that they need."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    wanted = [Requirement(line) for line in project["dependencies"]]
    wanted += [Requirement(line) for extra in extras for line in project["optional-dependencies"][extra]]
    found: set[str] = set()
    while wanted:
        requirement = wanted.pop()
        name = canonicalize_name(requirement.name)
        if name in found:
            continue
        found.add(name)
        extras = requirement.extras or {""}
        for inner in map(Requirement, requires(name) or ()):
            if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in extras):
                wanted.append(inner)
    return found


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_holds_every_module_that_its_programs_import(
    graph: grimp.ImportGraph, dockerfile: Dockerfile, image: str
) -> None:
    assert imported(graph, PROGRAMS[image]) - modules_in(dockerfile.copied(image)) == set()


@pytest.mark.parametrize("image", IMAGES)
def test_a_module_that_an_image_lacks_is_noticed(graph: grimp.ImportGraph, dockerfile: Dockerfile, image: str) -> None:
    without_common = [path for path in dockerfile.copied(image) if path != "services/veilface/common"]
    assert "veilface.common.errors" in imported(graph, PROGRAMS[image]) - modules_in(without_common)


@pytest.mark.parametrize("image", IMAGES)
def test_nothing_is_copied_that_no_program_of_the_image_imports(
    graph: grimp.ImportGraph, dockerfile: Dockerfile, image: str
) -> None:
    needed = imported(graph, PROGRAMS[image])
    assert [path for path in dockerfile.copied(image) if not needed & modules_in([path])] == []


@pytest.mark.parametrize("image", SERVICES)
def test_a_folder_that_an_image_does_not_need_is_noticed(graph: grimp.ImportGraph, image: str) -> None:
    assert not imported(graph, PROGRAMS[image]) & modules_in(["services/veilface/client"])


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_holds_no_rules_of_another_party(dockerfile: Dockerfile, image: str) -> None:
    assert forbidden_in(image, modules_in(dockerfile.copied(image))) == []


@pytest.mark.parametrize(
    ("image", "other", "expected"),
    [
        ("matching", "keys", "veilface.crypto.secret.registry"),
        ("matching", "keys", "veilface.keys.domain.vault"),
        ("matching", "embedding", "veilface.embedding.models.engine"),
        ("embedding", "keys", "veilface.crypto.secret.registry"),
        ("keys", "cli", "veilface.cli.app"),
    ],
)
def test_the_same_look_finds_rules_in_the_images_that_they_belong_to(
    dockerfile: Dockerfile, image: str, other: str, expected: str
) -> None:
    assert expected in forbidden_in(image, modules_in(dockerfile.copied(other)))


def test_the_matching_image_installs_no_library_that_makes_keys_or_embeddings(dockerfile: Dockerfile) -> None:
    libraries = {"deepface", "dlib-bin", "tenseal", "lightphe", "gmpy2"}
    assert not libraries & installed_by(dockerfile.extras("matching"))
    # The control: where they are needed, the same look finds them.
    assert {"deepface", "dlib-bin", "tenseal"} <= installed_by(dockerfile.extras("embedding"))
    assert "tenseal" in installed_by(dockerfile.extras("keys"))


@pytest.mark.parametrize("image", ["keys", "matching"])
def test_a_service_that_stores_something_can_store_it_in_postgresql(dockerfile: Dockerfile, image: str) -> None:
    assert "psycopg-binary" in installed_by(dockerfile.extras(image))
    assert "psycopg-binary" not in installed_by(dockerfile.extras("embedding"))


@pytest.mark.parametrize("image", IMAGES)
def test_every_distribution_of_an_image_is_pinned(dockerfile: Dockerfile, image: str) -> None:
    pinned = {
        canonicalize_name(re.split("[= ]", line)[0])
        for line in (REPOSITORY / "requirements.lock").read_text().splitlines()
    }
    installed = installed_by(dockerfile.extras(image))
    assert installed - pinned == set()
    assert installed - (pinned - {"numpy"}) == {"numpy"}
