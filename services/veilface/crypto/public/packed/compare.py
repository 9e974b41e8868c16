"""1:1: the product of a reference and a reversed probe; the score is one coefficient of it."""

import numpy as np
from numba import njit, uint64

from veilface.crypto.public.packed.multiply_add import reduce_wide, reduction_constants
from veilface.crypto.public.packed.profiles import PackedProfile
from veilface.crypto.public.packed.ring import U32


@njit(nogil=True, cache=True)
def _tensor(a, b, constants, out):  # type: ignore[no-untyped-def]
    """out (3, limbs, n) = a * b for a, b (2, limbs, n) in the NTT domain."""
    for limb in range(a.shape[1]):
        q, two32 = constants[limb, 0], constants[limb, 1]
        two32_shoup, one_shoup = constants[limb, 2], constants[limb, 3]
        for i in range(a.shape[2]):
            a0, a1 = uint64(a[0, limb, i]), uint64(a[1, limb, i])
            b0, b1 = uint64(b[0, limb, i]), uint64(b[1, limb, i])
            out[0, limb, i] = reduce_wide(a0 * b0, q, two32, two32_shoup, one_shoup)
            out[1, limb, i] = reduce_wide(a0 * b1 + a1 * b0, q, two32, two32_shoup, one_shoup)
            out[2, limb, i] = reduce_wide(a1 * b1, q, two32, two32_shoup, one_shoup)


def tensor_product(a: U32, b: U32, profile: PackedProfile) -> U32:
    """The product of two ciphertexts (2, limbs, n) without relinearisation, (3, limbs, n); SEAL's `multiply`."""
    limbs = a.shape[1]
    out: U32 = np.empty((3, limbs, a.shape[2]), dtype=np.uint32)
    _tensor(a, b, reduction_constants(profile.data_primes[:limbs]), out)
    return out
