"""What a person should know about a profile before trusting it."""

from dataclasses import dataclass

from veilface.crypto.contract import Scheme
from veilface.crypto.public.registry import check_profile


@dataclass(frozen=True, slots=True)
class ProfileFacts:
    """A profile in words.

    Attributes:
        security_bits: The level that it reaches, which may be below the one that it is named for.
        source: Where it comes from.
        note: What else there is to know; empty if nothing.
    """

    security_bits: int
    source: str
    note: str


def profile_facts(scheme: Scheme, profile: str) -> ProfileFacts:
    """What there is to know about a profile.

    Raises:
        InvalidArgumentError: UNKNOWN_PROFILE.
    """
    check_profile(scheme, profile)
    if scheme is Scheme.CKKS_PACKED:
        from veilface.crypto.public.packed.profiles import PROFILES

        packed = PROFILES[profile]
        return ProfileFacts(packed.security_bits, packed.source, "")
    if scheme is Scheme.CKKS_TENSEAL:
        from veilface.crypto.public.ckks_tenseal.profiles import PROFILES as TENSEAL_PROFILES

        tenseal = TENSEAL_PROFILES[profile]
        return ProfileFacts(tenseal.security_bits, tenseal.source, tenseal.note)
    from veilface.crypto.public.phe.profiles import PROFILES as PHE_PROFILES

    additive = PHE_PROFILES[scheme][profile]
    note = "only for research: too weak for real faces" if additive.research_only else ""
    return ProfileFacts(additive.security_bits, additive.source, note)
