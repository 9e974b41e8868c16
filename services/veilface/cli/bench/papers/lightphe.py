"""LightPHE 0.0.27 as published: its keys, its encryption of a list of floats, and its own `@`.

It takes non-negative values only, at its default precision of five decimals. It encrypts and multiplies coordinate by
coordinate, so a few of them tell the time of all. It spreads encryption over processes, each of which may take 10
seconds and no more; here one process encrypts, and the time is divided as if the processors shared it evenly.

That is the row of the tables. The peer of a search is stricter: `@` on the very ciphertexts and integer weights that
the search has, which is quicker than on floats.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from lightphe import LightPHE, encrypt_float
from lightphe.models.Tensor import EncryptedTensor
from numpy.typing import NDArray

from veilface.cli.bench.measurement import progress
from veilface.cli.bench.papers.rows import LIGHTPHE, Quantity, Reading, Row
from veilface.cli.bench.parties import Party
from veilface.cli.bench.subjects import unit_vectors, unit_vectors_float64
from veilface.cli.bench.timing import Timing, timed
from veilface.crypto.contract import TemplateSpace, TemplateUse
from veilface.crypto.public.packed.parallel import worker_count
from veilface.crypto.public.phe.encrypt import PheEncryptor
from veilface.crypto.public.phe.lightphe_path import compare_with_lightphe
from veilface.crypto.public.phe.profiles import PheProfile
from veilface.crypto.public.phe.public_key import LIGHTPHE_NAMES

_ENCRYPTED_DIM = 16
# The value and its divisor; the value's absolute value, the same for values that are not negative, is not counted.
_CIPHERTEXTS_PER_VALUE = 2
_PRECISION = 5
# Encrypting more coordinates than this to multiply them takes long, and says no more.
_LARGEST_DOT = 512


@dataclass(frozen=True, slots=True)
class DotProduct:
    """One `@`, measured on `measured_dim` coordinates.

    Attributes:
        timing: Of all coordinates.
        measured_dim: 0 if all were measured.
    """

    timing: Timing
    measured_dim: int

    @property
    def wall_s(self) -> Reading:
        """By the clock."""
        return Reading(self.timing.wall_s, self.measured_dim)

    @property
    def cpu_s(self) -> Reading:
        """In CPU time."""
        return Reading(self.timing.cpu_s, self.measured_dim)


class PublishedScheme:
    """One LightPHE cryptosystem with a key of its own.

    Args:
        profile: Which scheme and key size.
        cap_s: How long one measurement may take.
    """

    def __init__(self, profile: PheProfile, cap_s: float) -> None:
        progress(f"{profile.name}: LightPHE's own key and encryption")
        self._profile = profile
        self._cap_s = cap_s
        name = LIGHTPHE_NAMES[profile.scheme]
        self._key_generation, self._system = timed(lambda: LightPHE(name, key_size=profile.key_bits), cap_s)
        values = [float(value) for value in np.abs(unit_vectors(1, _ENCRYPTED_DIM, 13)[0])]
        zero = self._system.cs.encrypt(plaintext=0)
        divisor = self._system.cs.encrypt(plaintext=10**_PRECISION)

        def encrypt(value: float) -> Any:
            return encrypt_float(value, divisor, self._system.cs, _PRECISION, zero)

        timing, _ = timed(lambda: encrypt(values[0]), cap_s)
        count = min(_ENCRYPTED_DIM, max(2, int(cap_s / timing.wall_s)))
        self._values = np.array(values[:count])
        encryption, self._fractions = timed(lambda: [encrypt(value) for value in values[:count]], 0.0)
        self._encryption_s = encryption.wall_s / count / worker_count()

    def measure(self, dim: int) -> Row:
        """The row at one dimension."""
        progress(f"{self._profile.name}: {dim} dimensions, LightPHE's own @")
        trial, _ = timed(lambda: self._dot(min(dim, _ENCRYPTED_DIM)), 0.0)
        affordable = int(self._cap_s / trial.wall_s * min(dim, _ENCRYPTED_DIM))
        measured = min(dim, max(_ENCRYPTED_DIM, affordable))
        timing, score = timed(lambda: self._dot(measured), self._cap_s)
        decryption, decrypted = timed(lambda: self._system.decrypt(score), self._cap_s)
        measured_dim = measured if measured < dim else 0
        ciphertext_bytes = self._profile.ciphertext_bytes
        readings = {
            Quantity.KEY_GENERATION: Reading(self._key_generation.wall_s),
            Quantity.ENCRYPTION: Reading(self._encryption_s * dim, len(self._values)),
            Quantity.COMPARISON: Reading(timing.wall_s * dim / measured, measured_dim),
            Quantity.DECRYPTION: Reading(decryption.wall_s),
            Quantity.PUBLIC_KEYS: Reading(_key_bytes(self._system, "public_key")),
            Quantity.SECRET_KEY: Reading(_key_bytes(self._system, "private_key")),
            Quantity.TEMPLATE: Reading(dim * _CIPHERTEXTS_PER_VALUE * ciphertext_bytes),
            Quantity.SCORE: Reading(_CIPHERTEXTS_PER_VALUE * ciphertext_bytes),
            Quantity.ERROR: Reading(self._error(decrypted[0], measured), measured_dim),
        }
        profile = self._profile
        return Row(profile.scheme.value, profile.name, LIGHTPHE, profile.security_bits, dim, readings)

    def _dot(self, dim: int) -> Any:
        """The encrypted dot product with a probe of `dim` coordinates; the encrypted ones are repeated."""
        repeated = [self._fractions[position % len(self._fractions)] for position in range(dim)]
        tensor = EncryptedTensor(repeated, self._system.cs, _PRECISION)
        return tensor @ [float(value) for value in _probe(dim)]

    def _error(self, product: float, dim: int) -> float:
        """How far off a decrypted product of `dim` coordinates is, as a cosine."""
        reference: NDArray[np.float64] = np.resize(self._values, dim)
        return abs(product - float(reference @ _probe(dim))) / float(np.linalg.norm(reference))


def measure_dot_product(party: Party, dim: int, cap_s: float) -> DotProduct:
    """LightPHE's `@` under the key of a party, on the ciphertexts and weights that its search has."""
    progress(f"{party.profile}: {dim} dimensions, LightPHE's @ on the same ciphertexts")
    trial, _ = timed(_dot_product(party, min(dim, _ENCRYPTED_DIM)), 0.0)
    affordable = int(cap_s / trial.wall_s * min(dim, _ENCRYPTED_DIM))
    measured = min(dim, _LARGEST_DOT, max(_ENCRYPTED_DIM, affordable))
    timing, _ = timed(_dot_product(party, measured), cap_s)
    return DotProduct(
        replace(timing, wall_s=timing.wall_s * dim / measured, cpu_s=timing.cpu_s * dim / measured),
        measured if measured < dim else 0,
    )


def _dot_product(party: Party, dim: int) -> Callable[[], bytes]:
    if not isinstance(party.encryptor, PheEncryptor):
        raise TypeError("not a party of an additive scheme")
    key, space = party.encryptor.key, TemplateSpace(dim)
    one, other = unit_vectors_float64(2, dim, 15)
    reference = party.encryptor.encrypt(one, space, TemplateUse.REFERENCE)
    probe = party.encryptor.encrypt(other, space, TemplateUse.PLAINTEXT_PROBE)
    return lambda: compare_with_lightphe(key, reference, probe, space)


def _probe(dim: int) -> NDArray[np.float64]:
    probe: NDArray[np.float64] = np.abs(unit_vectors(1, dim, 14)[0].astype(np.float64))
    return probe


def _key_bytes(system: LightPHE, half: str) -> int:
    """The length of a key's numbers."""
    numbers = system.cs.keys[half].values()
    return sum(-(-number.bit_length() // 8) for number in numbers if isinstance(number, int))
