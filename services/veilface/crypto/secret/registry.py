"""From the name of a scheme to its key generation and decryption. Imported by the key service only.

Where a package that the scheme needs is missing, everything here raises FailedPreconditionError PACKAGE_MISSING.
"""

from veilface.crypto.contract import PublicMaterial, Reencrypter, Scheme, ScoreDecrypter, SecretBytes
from veilface.crypto.packages import packages_of
from veilface.crypto.secret.generated import GeneratedKey


def warm() -> None:
    """Compile the decryption kernels of the default scheme, so that the first decision does not wait for them."""
    from veilface.crypto.public.packed.profiles import DEFAULT_PROFILE, packed_profile
    from veilface.crypto.secret.packed.warm import warm as warm_packed

    warm_packed(packed_profile(DEFAULT_PROFILE))


def generate_key(scheme: Scheme, profile: str, *, research: bool = False) -> GeneratedKey:
    """A new key. Raises InvalidArgumentError(UNKNOWN_PROFILE)."""
    with packages_of(scheme):
        if scheme is Scheme.CKKS_PACKED:
            from veilface.crypto.secret.packed.keyset import generate_key as generate_packed

            return generate_packed(profile)
        if scheme is Scheme.CKKS_TENSEAL:
            from veilface.crypto.secret.ckks_tenseal import factory as tenseal_factory

            return tenseal_factory.generate_key(profile)
        from veilface.crypto.secret.phe import factory

        return factory.generate_key(profile, research=research)


def load_decrypter(scheme: Scheme, profile: str, secret_key: SecretBytes, *, research: bool = False) -> ScoreDecrypter:
    """What decrypts comparison scores with this secret key."""
    with packages_of(scheme):
        if scheme is Scheme.CKKS_PACKED:
            from veilface.crypto.secret.packed.decrypt import PackedDecrypter

            return PackedDecrypter(profile, secret_key)
        if scheme is Scheme.CKKS_TENSEAL:
            from veilface.crypto.secret.ckks_tenseal import factory as tenseal_factory

            return tenseal_factory.load_decrypter(profile, secret_key)
        from veilface.crypto.secret.phe import factory

        return factory.load_decrypter(profile, secret_key, research=research)


def load_reencrypter(
    scheme: Scheme,
    profile: str,
    secret_key: SecretBytes,
    target: PublicMaterial,
    seeds: tuple[SecretBytes, SecretBytes] | None = None,
    *,
    research: bool = False,
) -> Reencrypter:
    """What moves templates from the version of this secret key to the target version of the same key.

    Args:
        scheme: Of both versions.
        profile: Of both versions.
        secret_key: Of the source version.
        target: The public key of the target version.
        seeds: The renewal seeds of source and target, if the key has them.
        research: Whether profiles below 112 bits of security are allowed.
    """
    with packages_of(scheme):
        if scheme is Scheme.CKKS_PACKED:
            from veilface.crypto.secret.packed.reencrypt import PackedReencrypter

            return PackedReencrypter(profile, secret_key, target, seeds)
        if scheme is Scheme.CKKS_TENSEAL:
            from veilface.crypto.secret.ckks_tenseal import factory as tenseal_factory

            return tenseal_factory.load_reencrypter(profile, secret_key, target, seeds)
        from veilface.crypto.secret.phe import factory

        return factory.load_reencrypter(profile, secret_key, target, seeds, research=research)
