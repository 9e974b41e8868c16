"""Ed25519 signatures (RFC 8032) with domain separation, and the public keys that are trusted."""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from veilface.common.errors import ConfigurationError, PermissionDeniedError, Reason
from veilface.common.files import read_setting_file, write_private_file, write_public_file

TEMPLATE_DOMAIN = "veilface.template.v1"
SCORE_DOMAIN = "veilface.score.v1"
SEGMENT_DOMAIN = "veilface.segment.v1"

KEY_ID_BYTES = 8
PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64


@dataclass(frozen=True, slots=True)
class SignatureValue:
    """Who signed, with which key, and the signature.

    Attributes:
        signer: The identity that signed, a URI.
        key_id: The first 8 bytes of the SHA-256 of the raw public key.
        value: The signature, 64 bytes.
    """

    signer: str
    key_id: bytes
    value: bytes


class Signer:
    """Signs as one identity. It shows its identity only, and cannot be copied or pickled.

    Args:
        identity: The URI under which others trust the public key.
        private_key: The key.
    """

    def __init__(self, identity: str, private_key: Ed25519PrivateKey) -> None:
        self._identity = identity
        self._private_key = private_key
        self._public_key_bytes = private_key.public_key().public_bytes_raw()
        self._key_id = key_id(self._public_key_bytes)

    @classmethod
    def generate(cls, identity: str) -> Self:
        """A signer with a new key."""
        return cls(identity, Ed25519PrivateKey.generate())

    @classmethod
    def from_file(cls, path: Path, identity: str) -> Self:
        """Load a PKCS #8 PEM file.

        Raises:
            ConfigurationError: INVALID_SETTING if the file cannot be read or holds no Ed25519 private key.
        """
        pem = read_setting_file(path, "an Ed25519 private key in PKCS #8 PEM format")
        try:
            private_key = serialization.load_pem_private_key(pem, password=None)
        except (ValueError, TypeError) as error:
            raise _not_a_signing_key(path) from error
        if not isinstance(private_key, Ed25519PrivateKey):
            raise _not_a_signing_key(path)
        return cls(identity, private_key)

    def save(self, path: Path) -> None:
        """Write the private key as PKCS #8 PEM, readable by the owner only."""
        pem = self._private_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_private_file(path, pem)

    @property
    def identity(self) -> str:
        """The identity it signs as."""
        return self._identity

    @property
    def public_key_bytes(self) -> bytes:
        """The raw public key, 32 bytes."""
        return self._public_key_bytes

    def sign(self, domain: str, message: bytes) -> SignatureValue:
        """Sign a message for one domain; the signature is worthless in every other domain."""
        return SignatureValue(self._identity, self._key_id, self._private_key.sign(_signed_bytes(domain, message)))

    def __repr__(self) -> str:
        return f"Signer({self._identity!r}, key_id={self._key_id.hex()})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Signer holds a private key and is not copied or pickled")


class TrustStore:
    """The public keys that are trusted, by identity.

    Args:
        keys: For each identity its raw 32-byte public keys; several while a key is being replaced.

    Raises:
        ConfigurationError: INVALID_SETTING if a key is not a raw Ed25519 public key.
    """

    def __init__(self, keys: Mapping[str, Sequence[bytes]]) -> None:
        self._keys: dict[str, dict[bytes, Ed25519PublicKey]] = {}
        for identity, public_keys in keys.items():
            self._keys[identity] = {key_id(raw): _parse_public_key(identity, raw) for raw in public_keys}

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Load a JSON object that maps each identity to a list of base64 public keys.

        Raises:
            ConfigurationError: INVALID_SETTING if the file cannot be read or is anything else.
        """
        expected = 'a JSON object {"identity": ["base64 of a 32-byte Ed25519 public key", ...]}'
        text = read_setting_file(path, expected)
        try:
            document = json.loads(text)
            keys = {
                identity: [base64.b64decode(encoded, validate=True) for encoded in encoded_keys]
                for identity, encoded_keys in document.items()
                if isinstance(encoded_keys, list)
            }
        except (ValueError, TypeError, AttributeError, binascii.Error) as error:
            raise ConfigurationError(Reason.INVALID_SETTING, f"{path} is not {expected}") from error
        if len(keys) != len(document):
            raise ConfigurationError(Reason.INVALID_SETTING, f"{path} is not {expected}")
        return cls(keys)

    def save(self, path: Path) -> None:
        """Write the JSON file that `from_file` reads."""
        document = {
            identity: [base64.b64encode(key.public_bytes_raw()).decode() for key in keys.values()]
            for identity, keys in sorted(self._keys.items())
        }
        write_public_file(path, (json.dumps(document, indent=2) + "\n").encode())

    @property
    def identities(self) -> frozenset[str]:
        """The identities that have a trusted key."""
        return frozenset(self._keys)

    def verify(self, domain: str, message: bytes, signature: SignatureValue) -> None:
        """Check that a trusted identity signed this message for this domain.

        Raises:
            PermissionDeniedError: UNTRUSTED_SIGNER if the identity or the key is not trusted, BAD_SIGNATURE if the
                signature does not fit.
        """
        public_keys = self._keys.get(signature.signer)
        if public_keys is None:
            raise PermissionDeniedError(
                Reason.UNTRUSTED_SIGNER, "the signer is not trusted here: none of its public keys is in the trust store"
            )
        public_key = public_keys.get(signature.key_id)
        if public_key is None:
            raise PermissionDeniedError(
                Reason.UNTRUSTED_SIGNER,
                f"the signer is trusted, but not with key {signature.key_id[:KEY_ID_BYTES].hex()}: "
                "add that public key to the trust store if the signer has a new one",
            )
        try:
            public_key.verify(signature.value, _signed_bytes(domain, message))
        except InvalidSignature as error:
            raise PermissionDeniedError(
                Reason.BAD_SIGNATURE, "the signature does not fit: the message was changed or signed for another use"
            ) from error


def key_id(public_key: bytes) -> bytes:
    """Name a raw public key: the first 8 bytes of its SHA-256."""
    return hashlib.sha256(public_key).digest()[:KEY_ID_BYTES]


def _signed_bytes(domain: str, message: bytes) -> bytes:
    # The length in front of the domain keeps ("ab", "c") and ("a", "bc") apart.
    encoded_domain = domain.encode()
    return len(encoded_domain).to_bytes(2, "big") + encoded_domain + message


def _parse_public_key(identity: str, raw: bytes) -> Ed25519PublicKey:
    if len(raw) != PUBLIC_KEY_BYTES:
        raise ConfigurationError(
            Reason.INVALID_SETTING,
            f"the trust store's public key of {identity} has {len(raw)} bytes; a raw Ed25519 public key has "
            f"{PUBLIC_KEY_BYTES}",
        )
    return Ed25519PublicKey.from_public_bytes(raw)


def _not_a_signing_key(path: Path) -> ConfigurationError:
    return ConfigurationError(Reason.INVALID_SETTING, f"{path} holds no unencrypted Ed25519 private key in PEM format")
