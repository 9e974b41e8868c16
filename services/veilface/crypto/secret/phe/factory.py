"""From profile names to keys and decrypters of the partially homomorphic schemes."""

from veilface.crypto.contract import PublicMaterial, SecretBytes
from veilface.crypto.public.phe.factory import load_encryptor
from veilface.crypto.public.phe.profiles import phe_profile
from veilface.crypto.secret.generated import GeneratedKey
from veilface.crypto.secret.phe.decrypt import PheDecrypter
from veilface.crypto.secret.phe.key_generation import generate_from_profile
from veilface.crypto.secret.phe.private_key import parse_private_key
from veilface.crypto.secret.phe.reencrypt import PheReencrypter


def generate_key(profile: str, *, research: bool = False) -> GeneratedKey:
    """A new key.

    Args:
        profile: For example "paillier-112".
        research: Allow a profile below 112 bits of security.

    Raises:
        InvalidArgumentError: UNKNOWN_PROFILE or INSECURE_PARAMETERS.
    """
    return generate_from_profile(phe_profile(profile, research=research))


def load_decrypter(profile: str, secret_key: SecretBytes, *, research: bool = False) -> PheDecrypter:
    """What decrypts comparison scores with this secret key.

    Raises:
        InvalidArgumentError: UNKNOWN_PROFILE, INSECURE_PARAMETERS or MALFORMED_KEY.
    """
    return PheDecrypter(parse_private_key(secret_key, phe_profile(profile, research=research)))


def load_reencrypter(
    profile: str,
    secret_key: SecretBytes,
    target: PublicMaterial,
    seeds: tuple[SecretBytes, SecretBytes] | None = None,
    *,
    research: bool = False,
) -> PheReencrypter:
    """What moves templates from the version of this secret key to the target version of the same key.

    Args:
        profile: Of the source version.
        secret_key: Of the source version.
        target: The public key of the target version.
        seeds: The renewal seeds of source and target, if the key has them.
        research: Allow a profile below 112 bits of security.

    Raises:
        InvalidArgumentError: UNKNOWN_PROFILE, INSECURE_PARAMETERS, WRONG_PARAMETERS or MALFORMED_KEY.
    """
    source = parse_private_key(secret_key, phe_profile(profile, research=research))
    return PheReencrypter(source, load_encryptor(target, research=research), seeds)
