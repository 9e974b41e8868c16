"""What an attacker learns about an enrolled template from the answers of the key service.

The attacker is stronger than any client: it chooses the probe's embedding freely, though only the embedding service can
sign one; it starts from a face that matches already, and knows how alike that is. Everything that it can tell apart is
an answer to it: the decision, the band, a refusal, and how many candidates are withheld.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import event

from veilface.common.database import Database
from veilface.common.errors import Reason, ResourceExhaustedError
from veilface.crypto.contract import Metric
from veilface.embedding.settings import DEFAULT_PIPELINE
from veilface.keys.domain.decide import Decider, DecisionMeans, IdentificationDecision
from veilface.keys.domain.policy import UNLIMITED, KeyPolicy, Quotas, Release
from veilface.keys.domain.thresholds import OPERATING_POINTS, PUBLISHED, ThresholdTable
from veilface.keys.domain.versions import Key

CALLER = "spiffe://veilface/client"
DIMENSION = 128
START = 0.95
SHIPPED = ThresholdTable(PUBLISHED)
RAREST = 1 / 1000
QUOTA_EXCEEDED = Reason.QUOTA_EXCEEDED.value
NORMAL = NormalDist()

Vector = NDArray[np.float64]


def unit(vector: Vector) -> Vector:
    return vector / np.linalg.norm(vector)


def orthogonal(random: np.random.Generator, axis: Vector) -> Vector:
    vector = random.normal(size=axis.size)
    return unit(vector - (vector @ axis) * axis)


class Victim:
    """A template, and a face at a given cosine to it that the attacker has."""

    def __init__(self, seed: int, cosine: float) -> None:
        self.random = np.random.default_rng(seed)
        self.template = unit(self.random.normal(size=DIMENSION))
        self.cosine = cosine
        side = orthogonal(self.random, self.template)
        self.known = cosine * self.template + np.sqrt(1 - cosine**2) * side

    def gain(self, guess: Vector) -> float:
        return float(guess @ self.template) - self.cosine


class Service:
    """The key service as an attacker meets it, with one victim among others."""

    def __init__(self, decider: Decider, matching: Any, victim: Victim, operating_point: str, key_id: str) -> None:
        self._decider = decider
        self._matching = matching
        self._victim = victim
        self._point = operating_point
        self._about = {"key_version": f"keys/{key_id}/versions/1", "model": DEFAULT_PIPELINE}

    def score(self, probe: Vector) -> float:
        return float(probe @ self._victim.template)

    def compare(self, probe: Vector) -> str:
        """The band of a comparison, "match" or "none"; the reason of a refusal."""
        try:
            answer = self._matching.verification(self.score(probe), **self._about)
            decision = self._decider.verify(CALLER, answer, self._point)
        except ResourceExhaustedError as error:
            return error.reason.value
        return decision.band or ("match" if decision.is_match else "none")

    def search(self, probe: Vector) -> tuple[str, int]:
        """The same of a search, or "not named"; and how many candidates were withheld."""
        try:
            decision = self._identify(probe)
        except ResourceExhaustedError as error:
            return error.reason.value, 0
        if not decision.candidates:
            return "not named", decision.withheld_candidates
        return decision.candidates[0].band or "match", decision.withheld_candidates

    def _identify(self, probe: Vector) -> IdentificationDecision:
        identification = self._decider.open_identification(CALLER)
        for batch in self._matching.search([0.1, self.score(probe), 0.2], **self._about):
            self._decider.add(identification, batch)
        return self._decider.identify(identification, 1, self._point)


class Attacker:
    """Estimates the unknown part of a template from how far answers say that random directions lie along it.

    A probe is the known face turned by an angle towards a random direction. The angle is chosen so that a given part of
    the probes passes; then each answer tells in which interval the direction's component lies, and the mean of a normal
    variable over that interval is its weight. For even answers that is the step of HopSkipJumpAttack (Chen et al.,
    S&P 2020); for rare matches it is what makes them worth so much.
    """

    def __init__(self, victim: Victim, thresholds: dict[str, float], operating_point: str, *, is_banded: bool) -> None:
        self._victim = victim
        self._bounds = thresholds if is_banded else {"match": thresholds[operating_point]}
        self._lowest = thresholds[operating_point]
        self._spread = np.sqrt((1 - victim.cosine**2) / (DIMENSION - 1))
        self._sum: Vector = np.zeros(DIMENSION)
        self._told = 0.0

    def probes(self, passing: float) -> Iterator[tuple[Vector, Callable[[str], None]]]:
        """Probes of which this part passes the operating point, each with how to take in its answer."""
        angle = self._angle(-NORMAL.inv_cdf(passing))
        while True:
            direction = orthogonal(self._victim.random, self._victim.known)
            probe = np.cos(angle) * self._victim.known + np.sin(angle) * direction
            yield probe, lambda answer, direction=direction: self._learn(direction, angle, answer)

    @property
    def guess(self) -> Vector:
        """The most likely template: the known face, and the estimated direction by how much is known about it."""
        if self._told == 0:
            return self._victim.known
        confidence = np.sqrt(self._told / (1 + self._told))
        unknown = np.sqrt(1 - self._victim.cosine**2)
        return unit(self._victim.cosine * self._victim.known + unknown * confidence * unit(self._sum))

    def _angle(self, deviation: float) -> float:
        angles = np.linspace(0, np.pi / 2, 100_001)
        passed = np.cos(angles) * self._victim.cosine + deviation * self._spread * np.sin(angles)
        return float(angles[np.flatnonzero(passed >= self._lowest)[-1]])

    def _learn(self, direction: Vector, angle: float, answer: str) -> None:
        weight = self._weight(angle, answer)
        self._sum += weight * direction
        self._told += weight**2 / (DIMENSION - 1)

    @cache  # noqa: B019 - an attacker lives for one test
    def _weight(self, angle: float, answer: str) -> float:
        """The mean of the direction's component, in standard deviations, given the answer."""
        below, above = (
            (bound - np.cos(angle) * self._victim.cosine) / (self._spread * np.sin(angle))
            for bound in self._interval(answer)
        )
        return (NORMAL.pdf(below) - NORMAL.pdf(above)) / (NORMAL.cdf(above) - NORMAL.cdf(below))

    def _interval(self, answer: str) -> tuple[float, float]:
        """Between which scores the answer says that the probe's lies."""
        if answer == "not named":
            return -np.inf, self._lowest
        edges = sorted(self._bounds.values())
        if answer == "none":
            return -np.inf, edges[0]
        rank = edges.index(self._bounds[answer])
        return edges[rank], edges[rank + 1] if rank + 1 < len(edges) else np.inf


def verify_all(service: Service, attacker: Attacker, most: int) -> None:
    """Even answers of comparisons."""
    probes = attacker.probes(0.5)
    for _ in range(most):
        probe, learn = next(probes)
        answer = service.compare(probe)
        if answer == QUOTA_EXCEEDED:
            return
        learn(answer)


def search_all(service: Service, attacker: Attacker, most: int, passing: float) -> None:
    """Answers of searches, of which this part names the victim, until all are refused or it is withheld."""
    probes = attacker.probes(passing)
    for _ in range(most):
        probe, learn = next(probes)
        answer, withheld = service.search(probe)
        if answer == QUOTA_EXCEEDED or withheld:
            return
        learn(answer)


def all_together(service: Service, attacker: Attacker, most: int) -> None:
    """Every comparison that a day allows, then every search."""
    verify_all(service, attacker, most)
    search_all(service, attacker, most, RAREST)


STRATEGIES: dict[str, Callable[[Service, Attacker, int], None]] = {
    "verify": verify_all,
    "search": lambda service, attacker, most: search_all(service, attacker, most, 0.5),
    "rare matches": lambda service, attacker, most: search_all(service, attacker, most, RAREST),
    "all together": all_together,
}


class Stage:
    """Sets up attacks."""

    def __init__(self, create: Callable[..., Key], means: DecisionMeans, matching: Any) -> None:
        self._create = create
        self._decider = Decider(replace(means, thresholds=SHIPPED))
        self._matching = matching
        self._count = 0

    def open(
        self, victim: Victim, operating_point: str, quotas: Quotas, release: Release = Release.DECISION
    ) -> tuple[Service, Attacker]:
        self._count += 1
        key_id = f"key-{self._count}"
        self._create(key_id, KeyPolicy(quotas=quotas, release=release))
        points = dict(SHIPPED.resolve(DEFAULT_PIPELINE, Metric.COSINE, "", ()).bands)
        service = Service(self._decider, self._matching, victim, operating_point, key_id)
        return service, Attacker(victim, points, operating_point, is_banded=release is Release.BANDED)

    def gain(
        self,
        strategy: str,
        operating_point: str,
        seed: int,
        *,
        quotas: Quotas | None = None,
        release: Release = Release.DECISION,
        start: float = START,
        most: int = 6000,
    ) -> float:
        """What one day gains."""
        victim = Victim(seed, start)
        service, attacker = self.open(victim, operating_point, Quotas() if quotas is None else quotas, release)
        STRATEGIES[strategy](service, attacker, most)
        return victim.gain(attacker.guess)


@pytest.fixture
def database(database: Database) -> Database:
    """One that need not survive a power failure: thousands of answers are asked for here."""

    @event.listens_for(database._engine, "connect")
    def do_not_wait(connection: Any, _: object) -> None:
        if database._engine.dialect.name == "sqlite":
            connection.execute("PRAGMA synchronous=OFF")

    database._engine.dispose()
    return database


@pytest.fixture
def stage(create: Callable[..., Key], means: DecisionMeans, matching: Any) -> Stage:
    return Stage(create, means, matching)


# The seeds of the long attacks are those that gain most of ten.
@pytest.mark.parametrize(
    ("strategy", "operating_point", "seeds"),
    [
        *((strategy, point, range(8)) for strategy in ("verify", "search") for point in OPERATING_POINTS),
        ("all together", "balanced", (4,)),
        pytest.param("rare matches", "balanced", (1,), marks=pytest.mark.full),
        pytest.param("all together", "strict", (1,), marks=pytest.mark.full),
        pytest.param("all together", "lenient", (8,), marks=pytest.mark.full),
    ],
)
def test_hill_climbing_gains_next_to_nothing_within_the_shipped_quotas(
    stage: Stage, strategy: str, operating_point: str, seeds: Iterable[int]
) -> None:
    assert max(stage.gain(strategy, operating_point, seed) for seed in seeds) <= 0.02


@pytest.mark.parametrize(("strategy", "seeds"), [("verify", range(8)), ("search", range(8)), ("all together", (1,))])
def test_bands_gain_a_hill_climber_no_more_than_decisions(stage: Stage, strategy: str, seeds: Iterable[int]) -> None:
    # The most lenient point: the most bands are above it.
    assert max(stage.gain(strategy, "lenient", seed, release=Release.BANDED) for seed in seeds) <= 0.02


@pytest.mark.full
def test_a_start_at_the_threshold_gains_twice_as_much_at_most(stage: Stage) -> None:
    assert stage.gain("all together", "lenient", 1, start=0.9101) <= 0.04


@pytest.mark.parametrize("strategy", ["verify", "search"])
def test_without_quotas_the_same_attack_works(stage: Stage, strategy: str) -> None:
    assert stage.gain(strategy, "balanced", 1, quotas=UNLIMITED, most=3000) > 0.045


@pytest.mark.parametrize("release", Release)
def test_after_the_quota_every_probe_gets_one_and_the_same_answer(stage: Stage, release: Release) -> None:
    victim = Victim(7, START)
    service, _ = stage.open(victim, "lenient", Quotas(), release)
    spread = [unit(victim.known + step * orthogonal(victim.random, victim.known)) for step in np.linspace(0, 2, 30)]
    probes = [victim.template, *spread, -victim.template]
    first = {ask(probe) for ask in (service.compare, service.search) for probe in probes}
    assert len(first) > 2
    for _ in range(Quotas().answers_per_target):
        service.compare(victim.template)
        service.search(victim.template)
    assert {service.compare(probe) for probe in probes} == {QUOTA_EXCEEDED}
    assert {service.search(probe) for probe in probes} == {("not named", 1)}


def recovered(probes: Vector, answers: Vector, template: Vector) -> float:
    """The cosine of the least-squares solution of probes @ x = answers with the template."""
    solution = np.linalg.lstsq(probes, answers, rcond=None)[0]
    return float(unit(solution) @ template)


@pytest.mark.parametrize(
    ("release", "quotas"),
    [(Release.DECISION, Quotas()), (Release.DECISION, UNLIMITED), (Release.BANDED, Quotas())],
)
def test_raw_scores_would_give_the_template_away_and_answers_do_not(
    stage: Stage, release: Release, quotas: Quotas
) -> None:
    values = {"lenient": 1.0, "balanced": 2.0, "match": 2.0, "strict": 3.0, "none": -1.0, QUOTA_EXCEEDED: 0.0}
    for seed in range(5):
        victim = Victim(seed, START)
        service, attacker = stage.open(victim, "balanced", quotas, release)
        around_the_threshold = attacker.probes(0.5)
        probes = np.stack([next(around_the_threshold)[0] for _ in range(DIMENSION)])
        answers = [service.compare(probe) for probe in probes]
        passing = {"match", "balanced", "strict"}
        assert passing & set(answers)
        assert set(answers) - passing - {QUOTA_EXCEEDED}
        assert recovered(probes, probes @ victim.template, victim.template) > 0.999
        # Three standard deviations of what a random vector has with the template.
        assert (
            abs(recovered(probes, np.array([values[each] for each in answers]), victim.template)) < 3 / DIMENSION**0.5
        )
