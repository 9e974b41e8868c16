"""Embeddings of every size of model go through the services, not only those of the default one."""

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.e2e.forgery import Forger
from tests.integration.conformance.conftest import System, policy_of

from veilface.cli.local_stack.stack import LocalStack
from veilface.common.conversion import metric_to_proto
from veilface.crypto.contract import Metric, TemplateUse
from veilface.keys.v1 import policy_pb2

MODEL = "another/model"
COSINE = 0.5
# What the services are asked about, and how they must answer.
QUESTIONS = ((COSINE + 0.01, True), (COSINE - 0.01, False))
SPACES = [
    pytest.param(512, Metric.COSINE),
    pytest.param(512, Metric.SQUARED_EUCLIDEAN),
    pytest.param(4096, Metric.COSINE, marks=pytest.mark.full),
]


def face_like(person: NDArray[np.float64], cosine: float, seed: int) -> NDArray[np.float64]:
    """A unit vector at this cosine to another."""
    drawn = np.random.default_rng(seed).normal(size=person.size)
    drawn -= (drawn @ person) * person
    face: NDArray[np.float64] = cosine * person + np.sqrt(1 - cosine**2) * drawn / np.linalg.norm(drawn)
    return face


def ada_of(dimension: int) -> NDArray[np.float64]:
    vector = np.zeros(dimension)
    vector[:2] = 0.6, -0.8
    return vector


def create_key(system: System, name: str, metric: Metric) -> str:
    """A key of the scheme with a threshold for the model."""
    threshold = COSINE if metric is Metric.COSINE else 2 - 2 * COSINE
    override = policy_pb2.ThresholdOverride(
        model=MODEL, metric=metric_to_proto(metric), operating_point="balanced", threshold=threshold
    )
    system.operator.keys.create(name, system.case.scheme, system.case.profile, policy_of(thresholds=[override]))
    return name


@pytest.mark.parametrize(("dimension", "metric"), SPACES)
def test_people_of_a_gallery_are_recognised_at_any_dimension(
    system: System, stack: LocalStack, dimension: int, metric: Metric
) -> None:
    name = create_key(system, f"wide-{system.case.profile}-{dimension}-{metric}", metric)
    system.client.galleries.create(name, name, model=MODEL, dimension=dimension, metric=metric)
    forger, ada = Forger.with_keys_of(stack, name), ada_of(dimension)
    for person, face in (("ada", ada), ("bob", face_like(ada, 0.0, seed=1))):
        template = forger.template_of(face, TemplateUse.REFERENCE, model=MODEL, metric=metric)
        system.client.enrollments.create(name, template, person, request_id=person)
    for cosine, is_match in QUESTIONS:
        face = face_like(ada, cosine, seed=2)
        probe = forger.template_of(face, system.case.probe_use, model=MODEL, metric=metric)
        assert system.client.verify_template(name, "ada", probe).is_match is is_match
        found = [each.subject for each in system.client.identify_template(name, probe, top_k=2).candidates]
        assert found == (["ada"] if is_match else [])
    system.client.galleries.delete(name)


def test_templates_of_4096_dimensions_are_compared(system: System, stack: LocalStack) -> None:
    name = create_key(system, f"widest-{system.case.profile}", Metric.COSINE)
    forger, ada = Forger.with_keys_of(stack, name), ada_of(4096)
    reference = forger.template_of(ada, TemplateUse.REFERENCE, model=MODEL)
    for cosine, is_match in QUESTIONS:
        probe = forger.template_of(face_like(ada, cosine, seed=3), system.case.probe_use, model=MODEL)
        assert system.client.compare_templates(reference, probe).is_match is is_match
