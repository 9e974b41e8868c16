"""Named key sizes of the partially homomorphic schemes, each with its source, and the guard for research sizes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from veilface.common.errors import InvalidArgumentError, Reason
from veilface.crypto.contract import Scheme

_NIST: Final = (
    "factoring strength from NIST SP 800-57 part 1 rev. 5, table 2; key sizes of arXiv 2503.05850 and LightPHE 0.0.27"
)
_OKAMOTO_UCHIYAMA_NOTE: Final = (
    "; as in LightPHE both primes have half the key size, so that the modulus p^2 q is half as long again as the "
    "strength asks for"
)
LOWEST_SECURITY_BITS: Final = 112


@dataclass(frozen=True, slots=True)
class PheProfile:
    """Parameters of one profile of a partially homomorphic scheme.

    `key_bits` is LightPHE's `key_size`: both primes have `key_bits / 2` bits, exactly. `exponent` is the s of
    Damgard-Jurik: plaintexts are integers mod n^s, ciphertexts mod n^(s+1); Paillier is s = 1. LightPHE fixes
    s = 2 for Damgard-Jurik. Okamoto-Uchiyama has the modulus n = p^2 q and plaintexts mod the secret p.

    Tests make profiles of their own with small `key_bits`; named profiles are those in `PROFILES`.
    """

    name: str
    scheme: Scheme
    security_bits: int
    key_bits: int
    exponent: int
    source: str

    @property
    def research_only(self) -> bool:
        """Whether the profile is too weak for real faces and refused unless a setting says research."""
        return self.security_bits < LOWEST_SECURITY_BITS

    @property
    def prime_bits(self) -> int:
        """The length of each prime."""
        return self.key_bits // 2

    @property
    def modulus_bits(self) -> int:
        """The length of the integers that are ciphertexts."""
        if self.scheme is Scheme.OKAMOTO_UCHIYAMA:
            return 3 * self.prime_bits
        return self.key_bits * (self.exponent + 1)

    @property
    def ciphertext_bytes(self) -> int:
        """The length of one ciphertext."""
        return -(-self.modulus_bits // 8)

    @property
    def plaintext_bits(self) -> int:
        """Every integer of smaller magnitude than 2^plaintext_bits decrypts, with its sign, to itself."""
        if self.scheme is Scheme.OKAMOTO_UCHIYAMA:
            return self.prime_bits - 2
        return self.exponent * (self.key_bits - 1) - 1


def _profiles(scheme: Scheme, exponent: int, source: str) -> Mapping[str, PheProfile]:
    sizes = {80: 1024, 112: 2048, 128: 3072}
    made = [
        PheProfile(f"{scheme.value}-{security}", scheme, security, key_bits, exponent, source)
        for security, key_bits in sizes.items()
    ]
    return {profile.name: profile for profile in made}


PROFILES: Final[Mapping[Scheme, Mapping[str, PheProfile]]] = {
    Scheme.PAILLIER: _profiles(Scheme.PAILLIER, 1, _NIST),
    Scheme.DAMGARD_JURIK: _profiles(Scheme.DAMGARD_JURIK, 2, _NIST),
    Scheme.OKAMOTO_UCHIYAMA: _profiles(Scheme.OKAMOTO_UCHIYAMA, 1, _NIST + _OKAMOTO_UCHIYAMA_NOTE),
}
DEFAULT_PROFILES: Final[Mapping[Scheme, str]] = {
    scheme: f"{scheme.value}-{LOWEST_SECURITY_BITS}" for scheme in PROFILES
}


def phe_profile(name: str, *, research: bool = False) -> PheProfile:
    """The profile of that name.

    Args:
        name: For example "paillier-112".
        research: Allow profiles below 112 bits of security. Only for reproducing published measurements.

    Raises:
        InvalidArgumentError: UNKNOWN_PROFILE; INSECURE_PARAMETERS for a research profile without `research`.
    """
    for profiles in PROFILES.values():
        if name in profiles:
            return check_strength(profiles[name], research=research)
    known = ", ".join(known for profiles in PROFILES.values() for known in profiles)
    raise InvalidArgumentError(Reason.UNKNOWN_PROFILE, f"no profile is named {name!r}; there are {known}")


def check_strength(profile: PheProfile, *, research: bool) -> PheProfile:
    """The profile, unless it is too weak. Raises InvalidArgumentError(INSECURE_PARAMETERS)."""
    if profile.research_only and not research:
        raise InvalidArgumentError(
            Reason.INSECURE_PARAMETERS,
            f"profile {profile.name} has {profile.security_bits} bits of security, which is within reach of an "
            f"attacker; use {DEFAULT_PROFILES[profile.scheme]} or stronger, or start the "
            "services with VEILFACE_RESEARCH=true to reproduce published measurements",
        )
    return profile
