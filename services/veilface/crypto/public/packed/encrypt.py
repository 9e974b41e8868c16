"""Encryption of coordinates under a public key: SEAL makes the encryption of zero, the message is added to it."""

from typing import Final

import numpy as np
import tenseal.sealapi as sealapi
from numpy.typing import NDArray

from veilface.crypto.contract import PublicMaterial, TemplateSpace, TemplateUse
from veilface.crypto.public.packed import seal, wire
from veilface.crypto.public.packed.plaintext_probe import write_plaintext_probe
from veilface.crypto.public.packed.profiles import PackedProfile, packed_profile
from veilface.crypto.public.packed.ring import U32, prime_ring
from veilface.crypto.public.packed.space import coordinate_count, coordinates
from veilface.crypto.public.packed.transform import to_ntt

_MAX_INTEGER_BITS: Final = 52


def encode(coefficients: NDArray[np.float64], log_scale: int, limbs: int, profile: PackedProfile) -> U32:
    """The plaintext round(2^log_scale * sum_j coefficients[j] X^j) in the NTT domain, shape (limbs, n).

    The rounding is exact: coefficients times 2^log_scale must stay below 2^52.
    """
    scaled = np.rint(np.ldexp(coefficients, log_scale))
    if scaled.size and float(np.abs(scaled).max()) >= 2.0**_MAX_INTEGER_BITS:
        raise ValueError("coefficients too large to be encoded exactly")
    integers = scaled.astype(np.int64)
    residues = np.zeros((limbs, profile.degree), dtype=np.uint32)
    for limb in range(limbs):
        ring = prime_ring(profile.data_primes[limb], profile.degree)
        residues[limb, : integers.size] = np.mod(integers, ring.prime)
        to_ntt(residues[limb], ring)
    return residues


def add_plaintext(ciphertext: U32, plaintext: U32, profile: PackedProfile) -> U32:
    """The ciphertext (2, limbs, n) plus the plaintext (limbs, n)."""
    limbs = plaintext.shape[0]
    primes = np.array(profile.data_primes[:limbs], dtype=np.uint32)[:, None]
    total = ciphertext[0] + plaintext
    result = ciphertext.copy()
    result[0] = np.minimum(total, total - primes)
    return result


class PackedEncryptor:
    """Encrypts templates under one public key. Not safe for concurrent use: SEAL's Encryptor is not."""

    def __init__(self, material: PublicMaterial) -> None:
        self.profile = packed_profile(material.profile)
        self._context = seal.seal_context(self.profile)
        header = wire.Header(wire.Kind.PUBLIC_KEY, 2, len(self.profile.primes))
        payload = wire.read(self.profile, header, len(material.public_key) - wire.HEADER_BYTES, material.public_key)
        public_key = seal.load(sealapi.PublicKey, self._context, bytes(payload))
        self._encryptor = sealapi.Encryptor(self._context.context, public_key)

    def encrypt_zero(self, limbs: int) -> U32:
        """A fresh encryption of zero, shape (2, limbs, n) in the NTT domain."""
        ciphertext = sealapi.Ciphertext()
        self._encryptor.encrypt_zero(list(self._context.parms_ids[limbs]), ciphertext)
        return seal.ciphertext_residues(ciphertext)

    def encrypt_coefficients(self, coefficients: NDArray[np.float64], log_scale: int, limbs: int) -> U32:
        """An encryption of a real polynomial, shape (2, limbs, n) in the NTT domain."""
        plaintext = encode(coefficients, log_scale, limbs, self.profile)
        return add_plaintext(self.encrypt_zero(limbs), plaintext, self.profile)

    def encrypt(self, embedding: NDArray[np.float64], space: TemplateSpace, use: TemplateUse) -> bytes:
        """See `TemplateEncryptor.encrypt`. A probe is encrypted with its coordinates in reverse order.

        Reversed, the product of probe and reference has the score at one coefficient (the last coordinate's), and no
        automorphism is needed to compare 1:1.
        """
        profile = self.profile
        (values,) = coordinates(np.asarray(embedding, dtype=np.float64)[None], space, use, profile)
        if use is TemplateUse.PLAINTEXT_PROBE:
            return write_plaintext_probe(values, profile)
        if use is TemplateUse.PROBE:
            values = values[::-1]
        log_scale = profile.template_log_scale
        if profile.integer_norm is not None:
            log_scale -= profile.integer_norm.bit_length() - 1
        residues = self.encrypt_coefficients(values, log_scale, profile.template_limbs)
        return wire.write_template(profile, coordinate_count(space, profile), use, residues)
