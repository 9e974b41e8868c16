"""From the name of a scheme to its key generation and decryption. Imported by the key service only."""

from veilface.crypto.contract import Scheme, ScoreDecrypter
from veilface.crypto.public.registry import unsupported
from veilface.crypto.secret.generated import GeneratedKey


def generate_key(scheme: Scheme, profile: str) -> GeneratedKey:
    """A new key. Raises InvalidArgumentError(UNKNOWN_PROFILE)."""
    if scheme is Scheme.CKKS_PACKED:
        from veilface.crypto.secret.packed.keyset import generate_key as generate_packed

        return generate_packed(profile)
    raise unsupported(scheme)


def load_decrypter(scheme: Scheme, profile: str, secret_key: bytes) -> ScoreDecrypter:
    """What decrypts comparison scores with this secret key."""
    if scheme is Scheme.CKKS_PACKED:
        from veilface.crypto.secret.packed.decrypt import PackedDecrypter

        return PackedDecrypter(profile, secret_key)
    raise unsupported(scheme)
