"""From profile names to keys and decrypters of `ckks-tenseal`."""

from veilface.crypto.contract import PublicMaterial, SecretBytes
from veilface.crypto.public.ckks_tenseal.factory import load_encryptor
from veilface.crypto.public.ckks_tenseal.profiles import tenseal_profile
from veilface.crypto.secret.ckks_tenseal.decrypt import TensealDecrypter
from veilface.crypto.secret.ckks_tenseal.key_generation import generate_from_profile
from veilface.crypto.secret.ckks_tenseal.private_context import PrivateContext
from veilface.crypto.secret.ckks_tenseal.reencrypt import TensealReencrypter
from veilface.crypto.secret.generated import GeneratedKey


def generate_key(profile: str) -> GeneratedKey:
    """A new key. Raises InvalidArgumentError(UNKNOWN_PROFILE)."""
    return generate_from_profile(tenseal_profile(profile))


def load_decrypter(profile: str, secret_key: SecretBytes) -> TensealDecrypter:
    """What decrypts comparison scores with this secret key.

    Raises:
        InvalidArgumentError: UNKNOWN_PROFILE, WRONG_PARAMETERS or MALFORMED_KEY.
    """
    return TensealDecrypter(tenseal_profile(profile), secret_key)


def load_reencrypter(
    profile: str,
    secret_key: SecretBytes,
    target: PublicMaterial,
    seeds: tuple[SecretBytes, SecretBytes] | None = None,
) -> TensealReencrypter:
    """What moves templates from the version of this secret key to the target version of the same key.

    Raises:
        InvalidArgumentError: UNKNOWN_PROFILE, WRONG_PARAMETERS or MALFORMED_KEY.
    """
    source = PrivateContext(tenseal_profile(profile), secret_key)
    return TensealReencrypter(source, load_encryptor(target), seeds)
