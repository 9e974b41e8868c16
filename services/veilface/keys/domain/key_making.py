"""Making a key version: generated, sealed at once, and the plain secret wiped."""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from veilface.common.names import KeyVersionName
from veilface.crypto.contract import Scheme
from veilface.keys.domain.key_store import StoredVersion
from veilface.keys.domain.sealing import KeyWrapper, Purpose, SealContext, seal
from veilface.keys.domain.secret_bytes import SecretKey, TransformSeed
from veilface.keys.domain.versions import KeyVersion, VersionState

TRANSFORM_SEED_BYTES = 32


class GeneratedKey(Protocol):
    """A fresh key, serialized by its scheme."""

    @property
    def secret_key(self) -> bytearray:
        """The secret key; whoever takes it overwrites it."""
        ...

    @property
    def public_key(self) -> bytes:
        """Enough to encrypt."""
        ...

    @property
    def evaluation_keys(self) -> bytes:
        """Enough to compare; useless for decryption."""
        ...


KeyGenerator = Callable[[Scheme, str], GeneratedKey]


@dataclass(frozen=True, slots=True)
class NewVersion:
    """What a new version is to be.

    Attributes:
        transformed: Whether embeddings pass a secret orthogonal transform before they are encrypted.
    """

    name: KeyVersionName
    scheme: Scheme
    profile: str
    transformed: bool
    create_time: datetime


def make_version(new: NewVersion, generate: KeyGenerator, wrapper: KeyWrapper) -> StoredVersion:
    """Generate and seal a key version."""
    generated = generate(new.scheme, new.profile)
    with SecretKey(str(new.name), generated.secret_key) as secret_key:
        context = SealContext(
            Purpose.SECRET_KEY,
            new.name,
            new.scheme,
            new.profile,
            hashlib.sha256(generated.public_key).digest(),
            hashlib.sha256(generated.evaluation_keys).digest(),
        )
        sealed_secret_key = seal(secret_key, context, wrapper)
    version = KeyVersion(
        name=new.name,
        state=VersionState.ENABLED,
        create_time=new.create_time,
        destroy_time=None,
        public_key_sha256=context.public_key_sha256,
        evaluation_keys_sha256=context.evaluation_keys_sha256,
        public_key_bytes=len(generated.public_key),
        evaluation_keys_bytes=len(generated.evaluation_keys),
    )
    sealed_seed = _sealed_seed(context, wrapper) if new.transformed else b""
    return StoredVersion(version, sealed_secret_key, sealed_seed, generated.public_key, generated.evaluation_keys)


def _sealed_seed(context: SealContext, wrapper: KeyWrapper) -> bytes:
    with TransformSeed(str(context.key_version), bytearray(secrets.token_bytes(TRANSFORM_SEED_BYTES))) as seed:
        return seal(seed, replace(context, purpose=Purpose.TRANSFORM_SEED), wrapper)
