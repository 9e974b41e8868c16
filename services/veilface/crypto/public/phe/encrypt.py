"""The embedding service's side of the partially homomorphic schemes.

A PROBE IS NOT ENCRYPTED. The papers' two-tower protocol multiplies an encrypted reference by a plaintext probe, because
these schemes can multiply by a known number only. Whoever holds a probe template, the matcher first of all, sees the
embedding of the face asked about. A key's policy must allow that before such probes are made.
"""

from collections.abc import Iterable

import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray

from veilface.common.errors import InvalidArgumentError, Reason
from veilface.crypto.contract import TemplateSpace, TemplateUse
from veilface.crypto.public.phe import wire
from veilface.crypto.public.phe.encoding import Encoder
from veilface.crypto.public.phe.lanes import LaneModulus
from veilface.crypto.public.phe.public_key import PhePublicKey
from veilface.crypto.public.phe.quantization import quantize, reference_coordinates
from veilface.crypto.public.phe.randomness import ZeroSource


def require_plaintext_probe(use: TemplateUse) -> None:
    """Refuse an encrypted probe, which these schemes cannot compare.

    Raises:
        InvalidArgumentError: UNSUPPORTED_BY_SCHEME.
    """
    if use is TemplateUse.PROBE:
        raise InvalidArgumentError(
            Reason.UNSUPPORTED_BY_SCHEME,
            "an additively homomorphic scheme compares with probes in the clear only: ask for a plaintext probe, which "
            "the matching service will see",
        )


class PheEncryptor:
    """Makes templates under one public key. Safe for concurrent use."""

    def __init__(self, key: PhePublicKey) -> None:
        self.key = key
        lanes = LaneModulus(key.modulus)
        self._encoder = Encoder(key, lanes)
        self._zeros = ZeroSource(key, lanes, key.encryption_exponent_bits)

    def encrypt(self, embedding: NDArray[np.float64], space: TemplateSpace, use: TemplateUse) -> bytes:
        """See `TemplateEncryptor.encrypt`.

        A reference is encrypted, one ciphertext per coordinate. A probe is written in plaintext: see the module.
        """
        return self.encrypt_quantized(quantize(embedding, space), space, use)

    def encrypt_quantized(self, integers: NDArray[np.int64], space: TemplateSpace, use: TemplateUse) -> bytes:
        """A template of an embedding that is integers already, shape (dimension,)."""
        require_plaintext_probe(use)
        if use is TemplateUse.PLAINTEXT_PROBE:
            return wire.write_probe(self.key, space, integers)
        ciphertexts = self.encrypt_integers(map(int, reference_coordinates(integers, space)))
        return wire.write_reference(self.key, space, ciphertexts)

    def encrypt_integers(self, integers: Iterable[int]) -> list[mpz]:
        """A fresh ciphertext of each integer; they decrypt in LightPHE too, modulo its plaintext modulus."""
        encoded = self._encoder.encode(list(integers))
        zeros = self._zeros.take(len(encoded))
        return [message * zero % self.key.modulus for message, zero in zip(encoded, zeros, strict=True)]
