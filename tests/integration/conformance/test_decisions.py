"""What the three services decide on labelled pairs is what plaintext scores give, under every scheme and metric."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.faces import LabelledFaces, Pair
from tests.integration.conformance.conftest import System

from veilface.common.attested import SignedTemplate
from veilface.common.errors import VeilfaceError
from veilface.crypto.contract import Metric, TemplateSpace, TemplateUse
from veilface.crypto.public.registry import score_tolerance
from veilface.embedding.settings import DEFAULT_PIPELINE
from veilface.keys.domain.thresholds import ThresholdTable

# One by one, the pairs whose scores are closest to the threshold; a search decides all of them.
VERIFIED_PAIRS = 12


@dataclass(frozen=True)
class Question:
    """Labelled pairs under one metric, and what plaintext says about them.

    Attributes:
        references: A template of each photograph.
        probes: The same for the other side.
        margins: How far each pair's plaintext score is above the threshold; shape (pairs,), positive for a match.
        tolerance: How far encryption may move a score.
    """

    metric: Metric
    references: Mapping[Path, SignedTemplate]
    probes: Mapping[Path, SignedTemplate]
    pairs: Sequence[Pair]
    margins: NDArray[np.float64]
    tolerance: float

    def unexplained(self, positions: Sequence[int], decided: Sequence[bool]) -> list[Pair]:
        """The pairs that are decided unlike plaintext although their score is not at the threshold."""
        return [
            self.pairs[position]
            for position, is_match in zip(positions, decided, strict=True)
            if is_match != (self.margins[position] >= 0) and abs(self.margins[position]) > self.tolerance
        ]


@pytest.fixture(scope="session")
def question_of(
    faces: LabelledFaces, embedded: Mapping[Path, NDArray[np.float64]]
) -> Callable[[System, Metric], Question]:
    """Makes a question the first time it is asked for."""
    made: dict[tuple[str, Metric], Question] = {}

    def make(system: System, metric: Metric) -> Question:
        about = system.case.profile, metric
        if about not in made:
            made[about] = _question(system, metric, faces, embedded)
        return made[about]

    return make


@pytest.fixture(params=Metric)
def question(
    request: pytest.FixtureRequest, system: System, question_of: Callable[[System, Metric], Question]
) -> Question:
    return question_of(system, request.param)


def _question(
    system: System, metric: Metric, faces: LabelledFaces, embedded: Mapping[Path, NDArray[np.float64]]
) -> Question:
    def make(use: TemplateUse) -> dict[Path, SignedTemplate]:
        if metric is Metric.SQUARED_EUCLIDEAN:
            # The embedding service would find the same faces again: see the test of photographs below.
            return {path: system.forger.template_of(embedded[path], use, metric=metric) for path in faces.photographs}
        templates = {}
        for position, extraction in system.client.extract_many(faces.photographs, use, key=system.key):
            assert not isinstance(extraction, VeilfaceError), extraction
            templates[faces.photographs[position]] = extraction.faces[0].template
        return templates

    threshold = ThresholdTable.load(None).resolve(DEFAULT_PIPELINE, metric, "", ()).value
    cosines = np.array([embedded[pair.first] @ embedded[pair.second] for pair in faces.pairs])
    margins = cosines - threshold if metric is Metric.COSINE else threshold - (2 - 2 * cosines)
    (dimension,) = {vector.size for vector in embedded.values()}
    tolerance = score_tolerance(system.case.scheme, system.case.profile, TemplateSpace(dimension, metric))
    references, probes = make(TemplateUse.REFERENCE), make(system.case.probe_use)
    return Question(metric, references, probes, faces.pairs, margins, tolerance)


def test_every_decision_of_a_search_is_the_plaintext_decision(
    system: System, question: Question, capsys: pytest.CaptureFixture[str]
) -> None:
    gallery = f"pairs-{system.case.profile}-{question.metric}"
    system.client.galleries.create(gallery, system.key, metric=question.metric)
    subjects = {path: f"photograph-{number}" for number, path in enumerate(question.references)}
    for path, template in question.references.items():
        system.client.enrollments.create(gallery, template, subjects[path], request_id=subjects[path])
    found = {}
    for path, template in question.probes.items():
        answer = system.client.identify_template(gallery, template, top_k=len(subjects))
        assert answer.score_count == len(subjects)
        found[path] = {candidate.subject for candidate in answer.candidates}
    system.client.galleries.delete(gallery)

    decided = [subjects[pair.first] in found[pair.second] for pair in question.pairs]
    near = int(np.count_nonzero(np.abs(question.margins) <= question.tolerance))
    with capsys.disabled():
        print(f"\n{system.case.profile}, {question.metric}: {len(decided)} pairs, {near} within "
              f"{question.tolerance:.1e} of the threshold")  # fmt: skip
    assert question.unexplained(range(len(decided)), decided) == []
    assert near <= len(decided) // 20
    # Both answers occur, so neither is given blindly.
    assert any(decided)
    assert not all(decided)


def test_the_closest_decisions_one_by_one_are_the_plaintext_decisions(system: System, question: Question) -> None:
    matching, others = np.flatnonzero(question.margins >= 0), np.flatnonzero(question.margins < 0)
    closest = [
        *sorted(matching, key=lambda position: question.margins[position])[: VERIFIED_PAIRS // 2],
        *sorted(others, key=lambda position: -question.margins[position])[: VERIFIED_PAIRS // 2],
    ]
    decided = [
        system.client.compare_templates(question.references[pair.first], question.probes[pair.second]).is_match
        for pair in (question.pairs[position] for position in closest)
    ]
    assert question.unexplained(closest, decided) == []
    assert any(decided)
    assert not all(decided)


def test_photographs_are_recognised_by_their_squared_distance(system: System) -> None:
    gallery = f"distances-{system.case.profile}"
    system.client.galleries.create(gallery, system.key, metric=Metric.SQUARED_EUCLIDEAN)
    system.client.enroll(gallery, system.people.references[0], subject="ada")
    assert system.client.verify(gallery, "ada", system.people.probes[0]).is_match
    assert not system.client.verify(gallery, "ada", system.people.stranger).is_match
    assert [each.subject for each in system.client.identify(gallery, system.people.probes[0]).candidates] == ["ada"]
    system.client.galleries.delete(gallery)
