"""From the name of a scheme to what encrypts and compares under it.

Implementations are imported when they are asked for: a matcher of the default scheme needs no SEAL, and nobody needs
every scheme's packages. Where one is missing, everything here raises FailedPreconditionError PACKAGE_MISSING. Profiles
below 112 bits of security are refused unless `research` says that this is research.
"""

from veilface.common.errors import FailedPreconditionError, InvalidArgumentError, Reason
from veilface.crypto.contract import (
    PublicMaterial,
    Scheme,
    SegmentEncryptor,
    TemplateComparer,
    TemplateEncryptor,
    TemplateSpace,
)
from veilface.crypto.packages import packages_of


def default_profile(scheme: Scheme) -> str:
    """The profile that a key of this scheme gets when none is named."""
    with packages_of(scheme):
        if scheme is Scheme.CKKS_PACKED:
            from veilface.crypto.public.packed.profiles import DEFAULT_PROFILE

            return DEFAULT_PROFILE
        if scheme is Scheme.CKKS_TENSEAL:
            from veilface.crypto.public.ckks_tenseal.profiles import DEFAULT_PROFILE as DEFAULT_TENSEAL

            return DEFAULT_TENSEAL
        from veilface.crypto.public.phe.profiles import DEFAULT_PROFILES

        return DEFAULT_PROFILES[scheme]


def profiles(scheme: Scheme) -> tuple[str, ...]:
    """The names of a scheme's profiles."""
    with packages_of(scheme):
        if scheme is Scheme.CKKS_PACKED:
            from veilface.crypto.public.packed.profiles import PROFILES

            return tuple(PROFILES)
        if scheme is Scheme.CKKS_TENSEAL:
            from veilface.crypto.public.ckks_tenseal.profiles import PROFILES as TENSEAL_PROFILES

            return tuple(TENSEAL_PROFILES)
        from veilface.crypto.public.phe.profiles import PROFILES as PHE_PROFILES

        return tuple(PHE_PROFILES[scheme])


def check_profile(scheme: Scheme, profile: str) -> None:
    """Raise InvalidArgumentError(UNKNOWN_PROFILE) unless the scheme has this profile."""
    known = profiles(scheme)
    if profile not in known:
        raise InvalidArgumentError(
            Reason.UNKNOWN_PROFILE, f"scheme {scheme} has no profile {profile!r}; it has {', '.join(known)}"
        )


def score_tolerance(scheme: Scheme, profile: str, space: TemplateSpace) -> float:
    """How far a decrypted score may be from the one in float64, in units of the metric.

    Closer to a threshold than this an encrypted decision may differ from the one in plaintext. Each scheme derives it
    from the distribution of its errors, at six standard deviations.

    Raises:
        InvalidArgumentError: UNKNOWN_PROFILE.
    """
    check_profile(scheme, profile)
    with packages_of(scheme):
        if scheme is Scheme.CKKS_PACKED:
            from veilface.crypto.public.packed.tolerance import score_tolerance as packed_tolerance

            return packed_tolerance(profile, space)
        if scheme is Scheme.CKKS_TENSEAL:
            from veilface.crypto.public.ckks_tenseal.tolerance import score_tolerance as tenseal_tolerance

            return tenseal_tolerance(profile, space)
        from veilface.crypto.public.phe.tolerance import score_tolerance as phe_tolerance

        return phe_tolerance(space)


def warm() -> None:
    """Compile the kernels of the default scheme, so that the first request does not wait for them."""
    from veilface.crypto.public.packed.profiles import DEFAULT_PROFILE, packed_profile
    from veilface.crypto.public.packed.warm import warm as warm_packed

    warm_packed(packed_profile(DEFAULT_PROFILE))


def warm_encryption() -> None:
    """Compile the encryption kernels of the default scheme."""
    from veilface.crypto.public.packed.profiles import DEFAULT_PROFILE, packed_profile
    from veilface.crypto.public.packed.warm import warm_encryption as warm_packed

    warm_packed(packed_profile(DEFAULT_PROFILE))


def load_encryptor(material: PublicMaterial, *, research: bool = False) -> TemplateEncryptor:
    """What encrypts templates under this public key."""
    with packages_of(material.scheme):
        if material.scheme is Scheme.CKKS_PACKED:
            from veilface.crypto.public.packed.encrypt import PackedEncryptor

            return PackedEncryptor(material)
        if material.scheme is Scheme.CKKS_TENSEAL:
            from veilface.crypto.public.ckks_tenseal import factory as tenseal_factory

            return tenseal_factory.load_encryptor(material)
        from veilface.crypto.public.phe import factory

        return factory.load_encryptor(material, research=research)


def load_segment_encryptor(material: PublicMaterial, *, research: bool = False) -> SegmentEncryptor:
    """What encrypts whole segments under this public key.

    Raises:
        FailedPreconditionError: UNSUPPORTED_BY_SCHEME if the scheme has no segments.
    """
    with packages_of(material.scheme):
        if material.scheme is Scheme.CKKS_PACKED:
            from veilface.crypto.public.packed.bulk import SegmentEncryptor as PackedSegmentEncryptor

            return PackedSegmentEncryptor(material)
        if material.scheme is Scheme.CKKS_TENSEAL:
            raise FailedPreconditionError(
                Reason.UNSUPPORTED_BY_SCHEME,
                f"scheme {material.scheme} compares templates one by one and has no segments: enroll them one by one, "
                f"or use a key of scheme {Scheme.CKKS_PACKED}",
            )
        from veilface.crypto.public.phe import factory

        return factory.load_segment_encryptor(material, research=research)


def load_comparer(material: PublicMaterial, *, research: bool = False) -> TemplateComparer:
    """What compares templates under this key version."""
    with packages_of(material.scheme):
        if material.scheme is Scheme.CKKS_PACKED:
            from veilface.crypto.public.packed.comparer import PackedComparer

            return PackedComparer(material)
        if material.scheme is Scheme.CKKS_TENSEAL:
            from veilface.crypto.public.ckks_tenseal import factory as tenseal_factory

            return tenseal_factory.load_comparer(material)
        from veilface.crypto.public.phe import factory

        return factory.load_comparer(material, research=research)
