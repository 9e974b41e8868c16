"""How a secret rests on disk: AES-256-GCM under a data key of its own, which the master key wraps.

Every sealing draws a fresh data key and fresh nonces (NIST SP 800-38D, 96-bit random nonces, each key used once). What
the sealed bytes belong to - key, version, scheme, profile, and the digests of the public half - is authenticated, so
that a sealed secret cannot be moved to another row, nor a public key be exchanged for one that somebody else can
decrypt.
"""

import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeVar, runtime_checkable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from veilface.common.errors import DataLossError, Reason
from veilface.common.names import KeyVersionName
from veilface.crypto.contract import Scheme
from veilface.keys.domain.secret_bytes import DataKey, SecretBytes

DATA_KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
_MAGIC = b"VFSEAL\x00\x01"
_LENGTH_BYTES = 2
LARGEST_HEADER_BYTES = len(_MAGIC) + _LENGTH_BYTES + 255

SecretT = TypeVar("SecretT", bound=SecretBytes)


@runtime_checkable
class KeyWrapper(Protocol):
    """Wraps data keys under a master key that need not be in this process.

    A cloud KMS implements it with its encrypt and decrypt calls and passes `aad` as encryption context. Both calls may
    block; they run on the worker pool.
    """

    @property
    def key_id(self) -> bytes:
        """Names the master key, 1 to 255 bytes; says nothing about its value."""
        ...

    def wrap(self, data_key: memoryview, aad: bytes) -> bytes:
        """Encrypt a data key of 32 bytes. At most 4096 bytes come back.

        Raises:
            UnavailableError: DEPENDENCY_UNAVAILABLE if the master key cannot be reached now.
        """
        ...

    def unwrap(self, wrapped: bytes, aad: bytes) -> bytearray:
        """Decrypt a data key.

        Raises:
            DataLossError: SEAL_BROKEN if these bytes were not wrapped by this master key with this `aad`.
            UnavailableError: DEPENDENCY_UNAVAILABLE if the master key cannot be reached now.
        """
        ...


class Purpose(StrEnum):
    """What a sealed secret is."""

    SECRET_KEY = "secret-key"  # noqa: S105 - a label
    TRANSFORM_SEED = "transform-seed"


@dataclass(frozen=True, slots=True)
class SealContext:
    """What a sealed secret belongs to. All of it is authenticated."""

    purpose: Purpose
    key_version: KeyVersionName
    scheme: Scheme
    profile: str
    public_key_sha256: bytes
    evaluation_keys_sha256: bytes

    def to_aad(self, part: str) -> bytes:
        """Encode for authentication: each field preceded by its length, so that no two contexts share an encoding."""
        fields = (
            part.encode(),
            self.purpose.value.encode(),
            self.key_version.key.encode(),
            str(self.key_version.version).encode(),
            self.scheme.value.encode(),
            self.profile.encode(),
            self.public_key_sha256,
            self.evaluation_keys_sha256,
        )
        return b"".join(len(field).to_bytes(4, "big") + field for field in fields)


@dataclass(frozen=True, slots=True)
class _Sealed:
    """The parts of a sealed blob: MAGIC, master key id, wrapped data key, nonce, ciphertext with its tag."""

    key_id: bytes
    wrapped: bytes
    nonce: bytes
    ciphertext: bytes

    def to_bytes(self) -> bytes:
        return b"".join((self.header(), self.nonce, self.ciphertext))

    def header(self) -> bytes:
        return b"".join((
            _MAGIC,
            len(self.key_id).to_bytes(_LENGTH_BYTES, "big"),
            self.key_id,
            len(self.wrapped).to_bytes(_LENGTH_BYTES, "big"),
            self.wrapped,
        ))  # fmt: skip

    @classmethod
    def parse(cls, blob: bytes) -> "_Sealed":
        if not blob.startswith(_MAGIC):
            raise _broken("it does not start as a sealed secret does")
        key_id, rest = _take(blob[len(_MAGIC) :])
        wrapped, rest = _take(rest)
        if len(rest) <= NONCE_BYTES + TAG_BYTES:
            raise _broken("it is too short")
        return cls(key_id, wrapped, rest[:NONCE_BYTES], rest[NONCE_BYTES:])


def seal(secret: SecretBytes, context: SealContext, wrapper: KeyWrapper) -> bytes:
    """Seal a secret under a fresh data key."""
    with _fresh_data_key() as data_key, data_key.exposed() as data_key_view:
        wrapped = wrapper.wrap(data_key_view, context.to_aad("data key"))
        nonce = secrets.token_bytes(NONCE_BYTES)
        with secret.exposed() as secret_view:
            # The header is not part of the AAD: rewrap replaces it and leaves the ciphertext alone.
            ciphertext = AESGCM(data_key_view).encrypt(nonce, secret_view, context.to_aad("secret"))
    return _Sealed(wrapper.key_id, wrapped, nonce, ciphertext).to_bytes()


def open_seal(kind: type[SecretT], blob: bytes, context: SealContext, wrapper: KeyWrapper) -> SecretT:
    """Open a sealed secret.

    Raises:
        DataLossError: SEAL_BROKEN if a single bit differs from what was sealed, if it was sealed for another context,
            or under another master key.
    """
    sealed = _Sealed.parse(blob)
    with _unwrap(sealed, context, wrapper) as data_key, data_key.exposed() as view:
        secret = kind(str(context.key_version), bytearray(len(sealed.ciphertext) - TAG_BYTES))
        try:
            with secret.writable() as buffer:
                AESGCM(view).decrypt_into(sealed.nonce, sealed.ciphertext, context.to_aad("secret"), buffer)
        except InvalidTag as error:
            secret.wipe()
            raise _broken("it is not what was sealed") from error
    return secret


def check_context(blob: bytes, context: SealContext, wrapper: KeyWrapper) -> None:
    """Check that a blob was sealed for this context, without decrypting the secret.

    Raises:
        DataLossError: SEAL_BROKEN if it was not.
    """
    _unwrap(_Sealed.parse(blob), context, wrapper).wipe()


def rewrap(blob: bytes, context: SealContext, old: KeyWrapper, new: KeyWrapper) -> bytes:
    """Move a sealed secret under a new master key. The secret itself is not decrypted.

    Raises:
        DataLossError: SEAL_BROKEN as in `open_seal`.
    """
    sealed = _Sealed.parse(blob)
    with _unwrap(sealed, context, old) as data_key, data_key.exposed() as view:
        wrapped = new.wrap(view, context.to_aad("data key"))
    return _Sealed(new.key_id, wrapped, sealed.nonce, sealed.ciphertext).to_bytes()


def sealing_key_id(blob: bytes) -> bytes:
    """Which master key a blob says it was sealed under; its first LARGEST_HEADER_BYTES are enough.

    Not authenticated: only for messages and for choosing a key.

    Raises:
        DataLossError: SEAL_BROKEN if it does not begin as a sealed secret does.
    """
    if not blob.startswith(_MAGIC):
        raise _broken("it does not start as a sealed secret does")
    key_id, _ = _take(blob[len(_MAGIC) :])
    return key_id


def _unwrap(sealed: _Sealed, context: SealContext, wrapper: KeyWrapper) -> DataKey:
    if sealed.key_id != wrapper.key_id:
        raise _broken("it was sealed under another master key")
    buffer = wrapper.unwrap(sealed.wrapped, context.to_aad("data key"))
    data_key = DataKey(f"data key of {context.key_version}", buffer)
    if len(buffer) != DATA_KEY_BYTES:
        data_key.wipe()
        raise _broken("its data key has the wrong size")
    return data_key


def _fresh_data_key() -> DataKey:
    return DataKey("fresh data key", bytearray(secrets.token_bytes(DATA_KEY_BYTES)))


def _take(rest: bytes) -> tuple[bytes, bytes]:
    size = int.from_bytes(rest[:_LENGTH_BYTES], "big")
    end = _LENGTH_BYTES + size
    if size == 0 or len(rest) < end:
        raise _broken("it is cut short")
    return rest[_LENGTH_BYTES:end], rest[end:]


def _broken(why: str) -> DataLossError:
    return DataLossError(
        Reason.SEAL_BROKEN, f"a sealed secret cannot be opened: {why}. Restore the vault from a backup."
    )
