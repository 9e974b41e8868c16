"""CipherFace's parameter sets under their own names, and the guard that refuses sets which cannot give a right score.

The six sets are those of CipherFace 0.0.2 (arXiv 2502.18514): three security levels, each in a "defensive" and a slower
"offensive" mode. Two of them do not reach the level in their name, see `PROFILES`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import tenseal.sealapi as sealapi

from veilface.common.errors import InvalidArgumentError, Reason
from veilface.crypto.contract import MAX_DIMENSION

# log2(QP) at most, by ring degree and security level in bits, for ternary secrets and classical attacks:
# "Homomorphic Encryption Standard" (homomorphicencryption.org, November 2018), table 1.
MAX_MODULUS_BITS: Final[Mapping[int, Mapping[int, int]]] = {
    4096: {128: 109, 192: 75, 256: 58},
    8192: {128: 218, 192: 152, 256: 118},
    16384: {128: 438, 192: 305, 256: 237},
}
LARGEST_ERROR: Final = 5e-3
_LARGEST_SCORE_BITS: Final = 3
_ERROR_DEVIATION: Final = 3.2
_DEVIATIONS: Final = 4
_SCALE_MISMATCH: Final = 1e-3


@dataclass(frozen=True)
class CkksTensealProfile:
    """One parameter set of TenSEAL's `ckks_vector`.

    Attributes:
        name: Contains the level that CipherFace names it for.
        degree: The ring degree n; a ciphertext has n / 2 slots.
        modulus_bits: The lengths of the primes, the special prime last.
        log_scale: log2 of the scale.
        source: Where it comes from.
        note: What there is to know about it; empty if nothing.

    Raises:
        InvalidArgumentError: INSECURE_PARAMETERS below 128 bits of security; WRONG_SCALE if a comparison would
            overflow its modulus or lose its score in noise.
    """

    name: str
    degree: int
    modulus_bits: tuple[int, ...]
    log_scale: int
    source: str
    note: str = ""

    def __post_init__(self) -> None:
        if self.security_bits < 128:
            raise InvalidArgumentError(
                Reason.INSECURE_PARAMETERS,
                f"profile {self.name}: a modulus of {sum(self.modulus_bits)} bits at ring degree {self.degree} does "
                "not reach 128 bits of security",
            )
        reason = self._unusable()
        if reason:
            raise InvalidArgumentError(Reason.WRONG_SCALE, f"profile {self.name}: {reason}")

    @property
    def security_bits(self) -> int:
        """The level that the set reaches by the standard's table; 0 if it is below 128 bits."""
        limits = MAX_MODULUS_BITS.get(self.degree, {})
        return max((level for level, bits in limits.items() if sum(self.modulus_bits) <= bits), default=0)

    @cached_property
    def primes(self) -> tuple[int, ...]:
        """The primes that SEAL chooses, the special prime last."""
        return tuple(prime.value() for prime in sealapi.CoeffModulus.Create(self.degree, list(self.modulus_bits)))

    @property
    def template_primes(self) -> tuple[int, ...]:
        """The primes of a template: all but the special one."""
        return self.primes[:-1]

    @property
    def score_primes(self) -> tuple[int, ...]:
        """The primes of a score: one is divided out after the product."""
        return self.primes[:-2]

    @property
    def slot_count(self) -> int:
        """How many numbers a ciphertext holds."""
        return self.degree // 2

    @property
    def scale_correction(self) -> float:
        """What decrypted scores are multiplied by.

        TenSEAL declares the scale to be 2^log_scale after the division by a prime that is only close to it.
        """
        return self.template_primes[-1] / 2.0**self.log_scale

    @property
    def score_deviation(self) -> float:
        """The standard deviation of a score's error at the largest dimension, away from the first slots.

        Every rotation of the sum switches keys, which adds an error to the slots; that of the first rotation is summed
        up over all slots. The error of switching keys is digits times error times (largest digit / special prime),
        and the rounding of the division by the special prime. This agrees with measurements of the six sets.
        """
        digits = len(self.modulus_bits) - 2
        ratio = 2.0 ** (max(self.modulus_bits[:-1]) - self.modulus_bits[-1])
        switching = _ERROR_DEVIATION**2 * self.degree * digits / 12 * ratio**2
        rounding = self.degree / 18
        dimension = min(self.slot_count, MAX_DIMENSION)
        return math.sqrt(self.degree * dimension * (switching + rounding)) / 2.0**self.log_scale

    def _unusable(self) -> str:
        """Why a comparison goes wrong with this set; empty if it does not."""
        if len(self.modulus_bits) < 3:
            return "a comparison needs two primes for data and a special prime"
        data_bits = sum(self.modulus_bits[:-1])
        if 2 * self.log_scale + _LARGEST_SCORE_BITS > data_bits:
            return f"a product at scale 2^{2 * self.log_scale} overflows a modulus of {data_bits} bits"
        left_bits = data_bits - self.modulus_bits[-2]
        if self.log_scale + _LARGEST_SCORE_BITS > left_bits:
            return f"a score at scale 2^{self.log_scale} overflows the {left_bits} bits left after rescaling"
        if abs(self.modulus_bits[-2] - self.log_scale) > 1:
            return f"rescaling by a prime of {self.modulus_bits[-2]} bits does not restore the scale 2^{self.log_scale}"
        if self.modulus_bits[-2] == self.log_scale and abs(self.scale_correction - 1) > _SCALE_MISMATCH:
            return f"the prime to rescale by differs from 2^{self.log_scale} by more than one in a thousand"
        error = _DEVIATIONS * self.score_deviation
        if error > LARGEST_ERROR:
            return f"scores would be wrong by up to {error:.1g}; at most {LARGEST_ERROR} is allowed"
        return ""


_SOURCE: Final = "CipherFace 0.0.2, arXiv 2502.18514"


def _named(level: int, mode: str, log_degree: int, bits: tuple[int, ...], log_scale: int, note: str = "") -> None:
    profile = CkksTensealProfile(f"ckks-tenseal-{level}-{mode}", 1 << log_degree, bits, log_scale, _SOURCE, note)
    _named_profiles[profile.name] = profile


_named_profiles: dict[str, CkksTensealProfile] = {}
_named(128, "defensive", 13, (60, 40, 40, 60), 40)
_named(
    128,
    "offensive",
    14,
    (31, 60, 60, 60, 60, 60, 60, 31),
    60,
    "its special prime is shorter than the others, which makes switching keys noisy: scores carry an error of about "
    "7e-5 at 512 dimensions and 6e-4 at 4096, and of 6e-3 where TenSEAL's own decryption reads them. Evaluation keys "
    "take 350 MB",
)
_named(
    192,
    "defensive",
    13,
    (60, 40, 60),
    40,
    "does not reach 192 bits: its modulus has 160 bits, and the limit at n = 8192 is 152; it reaches 128 bits",
)
_named(192, "offensive", 14, (60, 60, 60, 60, 60), 60)
_named(
    256,
    "defensive",
    13,
    (30, 30, 30, 30),
    30,
    "does not reach 256 bits: its modulus has 120 bits, and the limit at n = 8192 is 118; it reaches 192 bits. Scores "
    "carry an error of about 6e-5 at 512 dimensions and 5e-4 at 4096",
)
_named(256, "offensive", 14, (45, 45, 45, 45, 45), 45)

PROFILES: Final[Mapping[str, CkksTensealProfile]] = _named_profiles
DEFAULT_PROFILE: Final = "ckks-tenseal-128-defensive"


def tenseal_profile(name: str) -> CkksTensealProfile:
    """The profile of that name. Raises InvalidArgumentError(UNKNOWN_PROFILE)."""
    try:
        return PROFILES[name]
    except KeyError:
        raise InvalidArgumentError(
            Reason.UNKNOWN_PROFILE, f"no ckks-tenseal profile is named {name!r}; there are {', '.join(PROFILES)}"
        ) from None
