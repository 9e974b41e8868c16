"""1:1: the product of a reference and a reversed probe; the score is one coefficient of it."""

import numpy as np

from veilface.crypto.public.packed.kernels import pointwise
from veilface.crypto.public.packed.profiles import PackedProfile
from veilface.crypto.public.packed.ring import U32, reduction_constants


def tensor_product(a: U32, b: U32, profile: PackedProfile) -> U32:
    """The product of two ciphertexts (2, limbs, n) without relinearisation, (3, limbs, n); SEAL's `multiply`."""
    limbs = a.shape[1]
    out: U32 = np.empty((3, limbs, a.shape[2]), dtype=np.uint32)
    pointwise.tensor(a, b, reduction_constants(profile.data_primes[:limbs]), out)
    return out


def plaintext_product(ciphertext: U32, plaintext: U32, profile: PackedProfile) -> U32:
    """The product of a ciphertext (2, limbs, n) and a plaintext (limbs, n); SEAL's `multiply_plain`."""
    as_ciphertext = np.stack([plaintext, np.zeros_like(plaintext)])
    return tensor_product(ciphertext, as_ciphertext, profile)[:2]
