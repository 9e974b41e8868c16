"""How to raise many numbers to small signed powers and multiply them, with as few multiplications as there are numbers.

The product of x_j^(w_j) over positive w_j is the product over v = 1, 2, ... of (the product of all x_j with w_j >= v).
Going down from the largest v, `running` takes in the x_j of weight v and is then folded into `total`: one
multiplication per number and one per value of v. This is the bucket method (Pippenger's algorithm with one window)
without storing the buckets. Few weights are large: a weight above `limit` joins once at `limit` and again with what is
left of it, which saves more folds than it costs. Negative weights form a second product, to be inverted once.
"""

from dataclasses import dataclass
from typing import Final

import gmpy2
import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray

from veilface.crypto.public.phe.montgomery import FOLD

Rows = NDArray[np.int64]
_CANDIDATES: Final = 64


@dataclass(frozen=True, slots=True, eq=False)
class WeightPlan:
    """Two programs of row numbers and FOLD: for the positive and for the negative weights."""

    positive: Rows
    negative: Rows

    @property
    def multiplications(self) -> int:
        """How many modular multiplications both programs take."""
        return len(self.positive) + len(self.negative)


def plan_weights(weights: NDArray[np.int64]) -> WeightPlan:
    """The cheapest plan of this kind. weights: (rows,), any sign, zero allowed."""
    magnitudes = np.abs(weights)
    largest = int(magnitudes.max(initial=1))
    limits = np.unique(np.geomspace(1, largest, _CANDIDATES).astype(np.int64))
    costs = [int((-(-magnitudes // limit)).sum()) + 2 * int(limit) for limit in limits]
    limit = int(limits[np.argmin(costs)])
    return WeightPlan(_program(np.maximum(weights, 0), limit), _program(np.maximum(-weights, 0), limit))


def _program(weights: NDArray[np.int64], limit: int) -> Rows:
    joining: list[list[int]] = [[] for _ in range(limit + 1)]
    for row in np.flatnonzero(weights):
        whole, rest = divmod(int(weights[row]), limit)
        joining[limit].extend([int(row)] * whole)
        if rest:
            joining[rest].append(int(row))
    steps: list[int] = []
    for level in range(limit, 0, -1):
        steps.extend(joining[level])
        if steps:
            steps.append(FOLD)
    return np.array(steps, dtype=np.int64)


def multiply_out(program: Rows, numbers: list[mpz], modulus: mpz) -> mpz:
    """Run one program over numbers: the way of a single comparison, where lanes have nothing to share."""
    running, total = mpz(1), mpz(1)
    for step in program:
        if step == FOLD:
            total = total * running % modulus
        else:
            running = running * numbers[step] % modulus
    return total


def quotient(numerators: list[mpz], denominators: list[mpz], modulus: mpz) -> list[mpz]:
    """numerator / denominator mod modulus, of each pair, with one inversion for all (Montgomery's trick)."""
    prefix = [mpz(1)]
    for denominator in denominators:
        prefix.append(prefix[-1] * denominator % modulus)
    inverse = gmpy2.invert(prefix[-1], modulus)
    results: list[mpz] = []
    for position in range(len(denominators) - 1, -1, -1):
        results.append(numerators[position] * (inverse * prefix[position] % modulus) % modulus)
        inverse = inverse * denominators[position] % modulus
    return results[::-1]
