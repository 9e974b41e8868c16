"""One real stack, and in it one key, gallery and set of templates for each scheme."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.e2e.forgery import Forger
from tests.embedded_faces import embeddings_in_the_clear
from tests.faces import LabelledFaces, labelled_faces
from tests.schemes import SchemeCase, scheme_cases

from veilface.cli.local_stack.stack import LocalStack
from veilface.client import VeilfaceClient
from veilface.common.attested import SignedTemplate
from veilface.crypto.contract import TemplateUse
from veilface.keys.v1 import policy_pb2

READY_TIMEOUT_S = 240.0
PEOPLE = 3


@dataclass(frozen=True)
class People:
    """A few people with two photographs each, and a stranger: nobody else's subject."""

    references: tuple[Path, ...]
    probes: tuple[Path, ...]
    stranger: Path


@dataclass(frozen=True)
class System:
    """One scheme in the running stack.

    Attributes:
        key: A key that allows probes in the clear.
        strict_key: One of the same scheme that does not.
        gallery: Under `key`, with everybody of `people` enrolled as "person-0", "person-1" and so on.
        references: The templates that are enrolled in `gallery`.
        embeddings: The same in the clear.
        probes: A template of each person to ask about.
        stranger: A template of somebody who is not enrolled, to ask about.
    """

    case: SchemeCase
    client: VeilfaceClient
    operator: VeilfaceClient
    key: str
    strict_key: str
    gallery: str
    people: People
    references: tuple[SignedTemplate, ...]
    embeddings: tuple[NDArray[np.float64], ...]
    probes: tuple[SignedTemplate, ...]
    stranger: SignedTemplate
    forger: Forger

    def reference(self, person: int) -> SignedTemplate:
        """A fresh template of somebody's reference, to enroll in another gallery."""
        return self.forger.template_of(self.embeddings[person], TemplateUse.REFERENCE)


def policy_of(**changes: object) -> policy_pb2.KeyPolicy:
    """A policy that stands in no test's way: probes in the clear, and answers without limit."""
    unlimited = policy_pb2.Quotas(answers_per_caller=0, answers_per_target=0, matches_per_candidate=0)
    return policy_pb2.KeyPolicy(plaintext_probe_allowed=True, top_k_limit=100, quotas=unlimited, **changes)


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    with (
        tempfile.TemporaryDirectory(prefix="veilface-schemes-") as folder,
        LocalStack(Path(folder), ready_timeout_s=READY_TIMEOUT_S) as running,
    ):
        yield running


@pytest.fixture(scope="session")
def client(stack: LocalStack) -> Iterator[VeilfaceClient]:
    with stack.client() as connected:
        yield connected


@pytest.fixture(scope="session")
def operator(stack: LocalStack) -> Iterator[VeilfaceClient]:
    with stack.client("operator") as connected:
        yield connected


@pytest.fixture(scope="session")
def people(faces: LabelledFaces) -> People:
    return people_of(faces)


def people_of(faces: LabelledFaces) -> People:
    """The people with two photographs, and one more person."""
    several = [photographs for photographs in faces.people if len(photographs) > 1]
    chosen = several[: min(PEOPLE, len(faces.people) - 1)]
    stranger = next(photographs[0] for photographs in faces.people if photographs not in chosen)
    return People(
        tuple(photographs[0] for photographs in chosen), tuple(photographs[1] for photographs in chosen), stranger
    )


@pytest.fixture(scope="session")
def faces() -> LabelledFaces:
    return labelled_faces()


@pytest.fixture(scope="session")
def embedded(faces: LabelledFaces) -> Mapping[Path, NDArray[np.float64]]:
    """The embedding of every labelled photograph in the clear, L2-normalised float64."""
    return embeddings_in_the_clear(faces)


@pytest.fixture(scope="session")
def system_of(
    stack: LocalStack,
    client: VeilfaceClient,
    operator: VeilfaceClient,
    people: People,
    embedded: Mapping[Path, NDArray[np.float64]],
) -> Callable[[SchemeCase], System]:
    """Makes a system the first time it is asked for, in whatever order tests run."""

    @cache
    def make(case: SchemeCase) -> System:
        key, strict_key, gallery = case.profile, f"{case.profile}-strict", f"people-{case.profile}"
        operator.keys.create(key, case.scheme, case.profile, policy_of())
        operator.keys.create(strict_key, case.scheme, case.profile)
        client.galleries.create(gallery, key)

        def extract(photographs: tuple[Path, ...], use: TemplateUse) -> tuple[SignedTemplate, ...]:
            return tuple(client.extract(photograph, use, key=key).faces[0].template for photograph in photographs)

        references = extract(people.references, TemplateUse.REFERENCE)
        for number, reference in enumerate(references):
            client.enrollments.create(gallery, reference, f"person-{number}", request_id=f"person-{number}")
        *probes, stranger = extract((*people.probes, people.stranger), case.probe_use)
        return System(
            case=case,
            client=client,
            operator=operator,
            key=key,
            strict_key=strict_key,
            gallery=gallery,
            people=people,
            references=references,
            embeddings=tuple(embedded[photograph] for photograph in people.references),
            probes=tuple(probes),
            stranger=stranger,
            forger=Forger.with_keys_of(stack, key),
        )

    return make


@pytest.fixture(scope="session", params=scheme_cases())
def system(request: pytest.FixtureRequest, system_of: Callable[[SchemeCase], System]) -> System:
    return system_of(request.param)


@pytest.fixture
def own_gallery(system: System) -> Iterator[str]:
    """A gallery of this test alone, with the first person enrolled as "ada"."""
    name = f"own-{system.case.profile}"
    system.client.galleries.create(name, system.key)
    system.client.enrollments.create(name, system.reference(0), "ada", request_id="ada")
    yield name
    system.client.galleries.delete(name)
