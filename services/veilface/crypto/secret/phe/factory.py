"""From profile names to keys and decrypters of the partially homomorphic schemes."""

from veilface.crypto.public.phe.profiles import phe_profile
from veilface.crypto.secret.generated import GeneratedKey
from veilface.crypto.secret.phe.decrypt import PheDecrypter
from veilface.crypto.secret.phe.key_generation import generate_from_profile
from veilface.crypto.secret.phe.private_key import parse_private_key


def generate_key(profile: str, *, research: bool = False) -> GeneratedKey:
    """A new key.

    Args:
        profile: For example "paillier-112".
        research: Allow a profile below 112 bits of security.

    Raises:
        InvalidArgumentError: UNKNOWN_PROFILE or INSECURE_PARAMETERS.
    """
    return generate_from_profile(phe_profile(profile, research=research))


def load_decrypter(profile: str, secret_key: bytes | bytearray | memoryview, *, research: bool = False) -> PheDecrypter:
    """What decrypts comparison scores with this secret key.

    Raises:
        InvalidArgumentError: UNKNOWN_PROFILE, INSECURE_PARAMETERS or MALFORMED_KEY.
    """
    return PheDecrypter(parse_private_key(secret_key, phe_profile(profile, research=research)))
