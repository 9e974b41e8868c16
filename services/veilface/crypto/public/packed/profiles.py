"""Named parameter sets of the scheme `ckks-packed`, each with its source, and the guard that refuses weaker ones."""

from dataclasses import dataclass, replace
from typing import Final

from veilface.common.errors import InvalidArgumentError, Reason

# log2(QP) at most, by ring degree and security level in bits, for ternary secrets and classical attacks:
# "Homomorphic Encryption Standard" (homomorphicencryption.org, November 2018), table 1.
MAX_MODULUS_BITS: Final = {
    4096: {128: 109, 192: 75, 256: 58},
    8192: {128: 218, 192: 152, 256: 118},
}

# Of the data primes. Two residues make a product of 52 bits, and 32 residues fill 13 words of 64 bits.
RESIDUE_BITS: Final = 26


@dataclass(frozen=True, slots=True)
class PackedProfile:
    """Parameters of one `ckks-packed` profile.

    The largest prime is the special prime of hybrid key switching; the others are data primes ("limbs"). Scales are
    powers of two. `template_log_scale` is the scale of a stored template at all limbs, `probe_log_scale` the one of
    expanded probes and `segment_log_scale` the one of packed references, at `segment_limbs` limbs. Their sum is as
    large as the limbs of a score allow; how it is divided decides whose noise counts more (see SCHEMES.md).
    `cosine_error` and `squared_euclidean_error` bound the difference between a score and that of float64 embeddings:
    the noise of a search at six standard deviations or more; with an integer norm the rounding of embeddings, at five.

    Raises:
        InvalidArgumentError: INSECURE_PARAMETERS if the modulus is too large for the ring degree at `security_bits`,
            or below 128 bits of security; UNSUPPORTED_BY_SCHEME if a data prime does not have 26 bits.
    """

    name: str
    security_bits: int
    degree: int
    data_primes: tuple[int, ...]
    special_prime: int
    template_log_scale: int
    segment_limbs: int
    probe_log_scale: int
    segment_log_scale: int
    search_score_limbs: int
    verify_score_limbs: int
    integer_norm: int | None
    cosine_error: float
    squared_euclidean_error: float
    source: str

    def __post_init__(self) -> None:
        limits = MAX_MODULUS_BITS.get(self.degree, {})
        allowed = limits.get(self.security_bits, 0)
        if self.security_bits < 128 or self.modulus_bits > allowed:
            raise InvalidArgumentError(
                Reason.INSECURE_PARAMETERS,
                f"profile {self.name}: a modulus of {self.modulus_bits} bits at ring degree {self.degree} does not "
                f"reach {self.security_bits} bits of security; at most {allowed} bits are allowed, and no less than "
                "128 bits of security",
            )
        if any(prime.bit_length() != RESIDUE_BITS for prime in self.data_primes):
            raise InvalidArgumentError(
                Reason.UNSUPPORTED_BY_SCHEME,
                f"profile {self.name}: data primes {self.data_primes}; each must have {RESIDUE_BITS} bits, because "
                "residues are stored and sent in as many",
            )

    @property
    def primes(self) -> tuple[int, ...]:
        """Every prime, the special one last."""
        return (*self.data_primes, self.special_prime)

    @property
    def template_limbs(self) -> int:
        """How many limbs a template has: all data primes."""
        return len(self.data_primes)

    @property
    def modulus_bits(self) -> int:
        """log2 of the product of all primes, rounded up."""
        product = 1
        for prime in self.primes:
            product *= prime
        return product.bit_length()


_STANDARD: Final = "homomorphicencryption.org standard 2018, table 1, ternary secret; accepted by SEAL's own check"

CKKS_PACKED_128: Final = PackedProfile(
    name="ckks-packed-128",
    security_bits=128,
    degree=4096,
    data_primes=(66994177, 67043329, 67084289),
    special_prime=2147377153,
    template_log_scale=37,
    segment_limbs=2,
    probe_log_scale=26,
    segment_log_scale=25,
    search_score_limbs=1,
    verify_score_limbs=2,
    integer_norm=None,
    cosine_error=4e-4,
    squared_euclidean_error=8e-4,
    source=_STANDARD,
)
CKKS_PACKED_192: Final = PackedProfile(
    name="ckks-packed-192",
    security_bits=192,
    degree=8192,
    data_primes=(66961409, 66994177, 67043329),
    special_prime=2147352577,
    template_log_scale=37,
    segment_limbs=2,
    probe_log_scale=26,
    segment_log_scale=25,
    search_score_limbs=1,
    verify_score_limbs=2,
    integer_norm=None,
    cosine_error=7e-4,
    squared_euclidean_error=1e-3,
    source=_STANDARD,
)
CKKS_PACKED_256: Final = replace(CKKS_PACKED_192, name="ckks-packed-256", security_bits=256)
CKKS_PACKED_EXACT: Final = PackedProfile(
    name="ckks-packed-exact",
    security_bits=192,
    degree=8192,
    data_primes=(66813953, 66961409, 66994177, 67043329),
    special_prime=2147352577,
    template_log_scale=45,
    segment_limbs=3,
    probe_log_scale=38,
    segment_log_scale=38,
    search_score_limbs=2,
    verify_score_limbs=3,
    integer_norm=2048,
    cosine_error=1e-3,
    squared_euclidean_error=3e-3,
    source=_STANDARD,
)

PROFILES: Final = {
    profile.name: profile for profile in (CKKS_PACKED_128, CKKS_PACKED_192, CKKS_PACKED_256, CKKS_PACKED_EXACT)
}
DEFAULT_PROFILE: Final = CKKS_PACKED_128.name


def packed_profile(name: str) -> PackedProfile:
    """The profile of that name. Raises InvalidArgumentError(UNKNOWN_PROFILE)."""
    try:
        return PROFILES[name]
    except KeyError:
        raise InvalidArgumentError(
            Reason.UNKNOWN_PROFILE, f"no ckks-packed profile is named {name!r}; there are {', '.join(PROFILES)}"
        ) from None
