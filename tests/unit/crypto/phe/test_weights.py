import math

import numpy as np
from gmpy2 import mpz
from hypothesis import given
from hypothesis import strategies as st

from veilface.crypto.public.phe.montgomery import FOLD
from veilface.crypto.public.phe.weights import multiply_out, plan_weights, quotient

PRIME = mpz((1 << 61) - 1)


@given(st.lists(st.integers(-300, 300), min_size=1, max_size=40), st.integers(0, 2**32))
def test_a_plan_raises_every_number_to_its_weight(weights: list[int], seed: int):
    numbers = [mpz(int(x)) for x in np.random.default_rng(seed).integers(1, 2**60, size=len(weights))]
    plan = plan_weights(np.array(weights))

    positive = multiply_out(plan.positive, numbers, PRIME)
    negative = multiply_out(plan.negative, numbers, PRIME)

    expected = math.prod(pow(int(x), w, int(PRIME)) for x, w in zip(numbers, weights, strict=True)) % int(PRIME)
    assert quotient([positive], [negative], PRIME) == [expected]


def test_zero_weights_cost_nothing():
    plan = plan_weights(np.zeros(512, dtype=np.int64))
    assert plan.multiplications == 0


def test_a_plan_of_a_face_takes_less_than_two_multiplications_per_dimension():
    weights = np.rint(np.random.default_rng(3).normal(size=512) * 2000 / math.sqrt(512)).astype(np.int64)
    plan = plan_weights(weights)
    assert plan.multiplications < 2 * 512
    assert np.count_nonzero(plan.positive == FOLD) + np.count_nonzero(plan.negative == FOLD) < 512


def test_quotients_share_one_inversion_and_are_right():
    numerators, denominators = [mpz(3), mpz(5), mpz(7)], [mpz(11), mpz(13), mpz(17)]
    results = quotient(numerators, denominators, PRIME)
    assert [r * d % PRIME for r, d in zip(results, denominators, strict=True)] == numerators
