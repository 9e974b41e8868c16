"""What an attacker learns about an enrolled template from the answers of the key service.

The attacker is stronger than any client: it chooses the probe's embedding freely, though only the embedding service can
sign one, and it starts from a face that matches already.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from veilface.common.errors import ResourceExhaustedError
from veilface.common.names import KeyName
from veilface.keys.domain.decide import Decider
from veilface.keys.domain.policy import KeyPolicy, Quotas
from veilface.keys.domain.vault import Vault
from veilface.keys.domain.versions import Key

DIMENSION = 128
THRESHOLD = 0.93
STEP = 0.08
UNLIMITED = KeyPolicy(quotas=Quotas(answers_per_caller=0, answers_per_target=0, matches_per_candidate=0))

Vector = NDArray[np.float64]
Oracle = Callable[[Vector], bool]


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
        side = orthogonal(self.random, self.template)
        self.known = cosine * self.template + np.sqrt(1 - cosine**2) * side

    def gain(self, guess: Vector) -> float:
        return float(guess @ self.template - self.known @ self.template)


def climb(victim: Victim, matches: Oracle, most_answers: int) -> Vector:
    """Walk to the boundary, estimate its normal from signs as HopSkipJumpAttack does (Chen et al., S&P 2020), guess."""
    random, known = victim.random, victim.known
    away = orthogonal(random, known)
    low, high = 0.0, np.pi / 3
    normal: Vector = np.zeros(DIMENSION)
    answers = 0
    try:
        for _ in range(7):
            middle = (low + high) / 2
            answers += 1
            if matches(np.cos(middle) * known + np.sin(middle) * away):
                low = middle
            else:
                high = middle
        boundary = np.cos(low) * known + np.sin(low) * away
        while answers < most_answers:
            direction = orthogonal(random, boundary)
            answers += 1
            sign = 1 if matches(np.cos(STEP) * boundary + np.sin(STEP) * direction) else -1
            normal += sign * direction
    except ResourceExhaustedError:
        pass
    told = 2 * max(answers - 7, 0) / (np.pi * DIMENSION)
    confidence = np.sqrt(told / (1 + told))
    if confidence == 0:
        return known
    at_boundary = THRESHOLD * (np.cos(low) * known + np.sin(low) * away)
    guess = unit(at_boundary + np.sqrt(1 - THRESHOLD**2) * confidence * unit(normal))
    return guess if told > 1 else unit(known + 0.1 * confidence * unit(normal))


@pytest.fixture
def verifying(decider: Decider, matching: Any) -> Callable[[Victim, str], Oracle]:
    def make(victim: Victim, key_id: str) -> Oracle:
        def matches(probe: Vector) -> bool:
            answer = matching.verification(float(probe @ victim.template), key_version=f"keys/{key_id}/versions/1")
            return decider.verify("spiffe://veilface/client", answer, "").is_match

        return matches

    return make


@pytest.fixture
def searching(decider: Decider, matching: Any) -> Callable[[Victim, str], Oracle]:
    def make(victim: Victim, key_id: str) -> Oracle:
        def matches(probe: Vector) -> bool:
            scores = [0.1, float(probe @ victim.template), 0.2]
            identification = decider.open_identification("spiffe://veilface/client")
            for batch in matching.search(scores, key_version=f"keys/{key_id}/versions/1"):
                decider.add(identification, batch)
            return bool(decider.identify(identification, 1, "").candidates)

        return matches

    return make


@pytest.mark.parametrize("way", ["verifying", "searching"])
def test_hill_climbing_gains_next_to_nothing_within_the_shipped_quotas(
    create: Callable[..., Key], request: pytest.FixtureRequest, way: str
) -> None:
    oracle = request.getfixturevalue(way)
    gains = []
    for seed in range(12):
        create(f"key-{seed}")
        victim = Victim(seed, 0.95)
        gains.append(victim.gain(climb(victim, oracle(victim, f"key-{seed}"), 5000)))
    assert np.mean(gains) <= 0.02
    assert max(gains) <= 0.03


@pytest.mark.parametrize("way", ["verifying", "searching"])
def test_without_quotas_the_same_attack_works(
    create: Callable[..., Key], request: pytest.FixtureRequest, way: str
) -> None:
    create("unlimited", UNLIMITED)
    victim = Victim(1, 0.95)
    assert victim.gain(climb(victim, request.getfixturevalue(way)(victim, "unlimited"), 1500)) > 0.03


def recovered(probes: Vector, answers: Vector, template: Vector) -> float:
    """The cosine of the least-squares solution of probes @ x = answers with the template."""
    solution = np.linalg.lstsq(probes, answers, rcond=None)[0]
    return float(unit(solution) @ template)


def test_raw_scores_would_give_the_template_away_and_decisions_do_not(
    create: Callable[..., Key], vault: Vault, verifying: Callable[[Victim, str], Oracle]
) -> None:
    create("unlimited", UNLIMITED)
    victim = Victim(3, 0.95)
    probes = np.stack([unit(victim.random.normal(size=DIMENSION)) for _ in range(DIMENSION)])
    scores = probes @ victim.template
    matches = verifying(victim, "unlimited")
    decisions = np.array([1.0 if matches(probe) else -1.0 for probe in probes])
    assert recovered(probes, scores, victim.template) > 0.999
    assert abs(recovered(probes, decisions, victim.template)) < 0.4
    assert vault.get_key(KeyName("unlimited")).policy == UNLIMITED
