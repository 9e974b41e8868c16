"""From the name of a scheme to what encrypts and compares under it.

Implementations are imported when they are asked for: a matcher needs no SEAL, and nobody needs every scheme's packages.
"""

from veilface.common.errors import InvalidArgumentError, Reason
from veilface.crypto.contract import PublicMaterial, Scheme, TemplateComparer, TemplateEncryptor


def default_profile(scheme: Scheme) -> str:
    """The profile that a key of this scheme gets when none is named."""
    if scheme is Scheme.CKKS_PACKED:
        from veilface.crypto.public.packed.profiles import DEFAULT_PROFILE

        return DEFAULT_PROFILE
    raise unsupported(scheme)


def check_profile(scheme: Scheme, profile: str) -> None:
    """Raise InvalidArgumentError(UNKNOWN_PROFILE) unless the scheme has this profile."""
    if scheme is Scheme.CKKS_PACKED:
        from veilface.crypto.public.packed.profiles import packed_profile

        packed_profile(profile)
        return
    raise unsupported(scheme)


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


def load_encryptor(material: PublicMaterial) -> TemplateEncryptor:
    """What encrypts templates under this public key."""
    if material.scheme is Scheme.CKKS_PACKED:
        from veilface.crypto.public.packed.encrypt import PackedEncryptor

        return PackedEncryptor(material)
    raise unsupported(material.scheme)


def load_comparer(material: PublicMaterial) -> TemplateComparer:
    """What compares templates under this key version."""
    if material.scheme is Scheme.CKKS_PACKED:
        from veilface.crypto.public.packed.comparer import PackedComparer

        return PackedComparer(material)
    raise unsupported(material.scheme)


def unsupported(scheme: Scheme) -> InvalidArgumentError:
    """The error for a scheme that has no implementation."""
    return InvalidArgumentError(Reason.UNSUPPORTED_BY_SCHEME, f"scheme {scheme} is not available")
