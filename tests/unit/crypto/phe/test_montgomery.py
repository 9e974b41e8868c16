import secrets

import numpy as np
import pytest
from gmpy2 import mpz

from veilface.crypto.public.phe.lanes import LaneModulus, addresses, steps_by_lane
from veilface.crypto.public.phe.montgomery import FOLD, HAS_IFMA, IFMA_RADIX, LANES, PORTABLE_RADIX, SQUARE

RADIXES = [PORTABLE_RADIX, *([IFMA_RADIX] if HAS_IFMA else [])]


def odd_modulus(bits: int) -> mpz:
    return mpz(secrets.randbits(bits) | 1 | 1 << (bits - 1))


@pytest.mark.parametrize("radix", RADIXES)
@pytest.mark.parametrize("bits", [61, 1000, 3072, 4096, 9216])
def test_a_program_equals_the_same_products_in_python_integers(radix: int, bits: int):
    modulus = LaneModulus(odd_modulus(bits), radix)
    n = int(modulus.modulus)
    numbers = [secrets.randbelow(n) for _ in range(4 * LANES)]
    rows = modulus.rows(map(mpz, numbers))
    tables = addresses(rows).reshape(LANES, 4)

    (lanes,) = modulus.run([steps_by_lane(np.array([0, 1, FOLD, SQUARE, 2, FOLD, 3, FOLD]), tables)], folded=True)

    expected = []
    for lane in range(LANES):
        a, b, c, d = numbers[4 * lane : 4 * lane + 4]
        first = a * b
        second = first**2 * c
        expected.append(first * second * second * d % n)
    assert modulus.integers(lanes) == expected


@pytest.mark.parametrize("radix", RADIXES)
def test_the_largest_operands_do_not_overflow_their_limbs(radix: int):
    modulus = LaneModulus((mpz(1) << 9216) - 1, radix)
    largest = modulus.modulus - 1
    rows = modulus.rows([largest])
    steps = steps_by_lane(np.zeros(101, dtype=np.int64), np.repeat(addresses(rows)[None], LANES, axis=0))

    (lanes,) = modulus.run([steps], folded=False)

    assert set(modulus.integers(lanes)) == {largest}


@pytest.mark.parametrize("radix", RADIXES)
def test_row_form_is_reversible(radix: int):
    modulus = LaneModulus(odd_modulus(777), radix)
    numbers = [mpz(0), mpz(1), modulus.modulus - 1, mpz(secrets.randbelow(int(modulus.modulus)))]
    assert modulus.integers(modulus.rows(numbers)) == numbers
