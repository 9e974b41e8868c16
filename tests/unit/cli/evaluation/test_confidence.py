from fractions import Fraction
from math import comb

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from veilface.cli.evaluation.confidence import clopper_pearson


@st.composite
def observations(draw: st.DrawFn) -> tuple[int, int]:
    trials = draw(st.integers(1, 120))
    return draw(st.integers(0, trials)), trials


def probability_of_at_least(events: int, trials: int, rate: float) -> float:
    exact = Fraction(rate)
    return float(sum(comb(trials, k) * exact**k * (1 - exact) ** (trials - k) for k in range(events, trials + 1)))


@settings(deadline=None)
@given(observations())
def test_each_bound_leaves_the_observation_a_chance_of_2_5_percent(observation: tuple[int, int]) -> None:
    events, trials = observation
    interval = clopper_pearson(events, trials)
    if events > 0:
        assert probability_of_at_least(events, trials, interval.low) == pytest.approx(0.025, rel=1e-9)
    else:
        assert interval.low == 0.0
    if events < trials:
        assert 1 - probability_of_at_least(events + 1, trials, interval.high) == pytest.approx(0.025, rel=1e-9)
    else:
        assert interval.high == 1.0


@settings(deadline=None)
@given(observations())
def test_what_was_seen_lies_inside(observation: tuple[int, int]) -> None:
    events, trials = observation
    interval = clopper_pearson(events, trials)
    assert 0 <= interval.low <= events / trials <= interval.high <= 1


def test_published_values_are_reproduced() -> None:
    # NIST/SEMATECH e-Handbook of Statistical Methods, 7.2.4.1: 4 of 20 at 90 % is wider at 95 %; R binom.test(4, 20).
    interval = clopper_pearson(4, 20)
    assert (interval.low, interval.high) == pytest.approx((0.0573340, 0.4366140), abs=1e-6)


def test_without_events_the_bound_is_close_to_the_rule_of_three() -> None:
    # One-sided at 95 % it would be 3 / n; two-sided it is 3.69 / n.
    assert clopper_pearson(0, 1_000_000).high == pytest.approx(3.689e-6, rel=1e-3)


def test_without_trials_nothing_is_known() -> None:
    interval = clopper_pearson(0, 0)
    assert (interval.low, interval.high) == (0.0, 1.0)


@pytest.mark.parametrize(("events", "trials"), [(-1, 5), (6, 5)])
def test_impossible_observations_are_refused(events: int, trials: int) -> None:
    with pytest.raises(ValueError, match=str(trials)):
        clopper_pearson(events, trials)
