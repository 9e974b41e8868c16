"""Certificates, signing keys, trust stores and the master key of a local stack: made once, kept, renewed in time."""

from pathlib import Path

from veilface.cli.local_stack.layout import StateLayout
from veilface.common.identities import (
    CLIENT_IDENTITY,
    EMBEDDING_IDENTITY,
    KEYS_IDENTITY,
    MATCHING_IDENTITY,
    OPERATOR_IDENTITY,
)
from veilface.common.pki import CertificateAuthority
from veilface.common.signing import Signer, TrustStore
from veilface.keys.domain.master_key import create_master_key_file

_IDENTITIES = {
    "embedding": EMBEDDING_IDENTITY,
    "keys": KEYS_IDENTITY,
    "matching": MATCHING_IDENTITY,
    "client": CLIENT_IDENTITY,
    "operator": OPERATOR_IDENTITY,
}


def ensure_credentials(layout: StateLayout) -> None:
    """Make what is missing and renew certificates that expire soon.

    Raises:
        ConfigurationError: INVALID_SETTING if a file that is there cannot be used.
    """
    _ensure_certificates(layout.certificates)
    embedding = _ensure_signer(layout.signing / "embedding.key", EMBEDDING_IDENTITY)
    matching = _ensure_signer(layout.signing / "matching.key", MATCHING_IDENTITY)
    keys = _ensure_signer(layout.signing / "keys.key", KEYS_IDENTITY)
    operator = _ensure_signer(layout.signing / "operator.key", OPERATOR_IDENTITY)
    _save_trust(layout.trust / "matching.json", embedding, keys, operator)
    _save_trust(layout.trust / "keys.json", embedding, keys, matching)
    if not layout.master_key.exists():
        create_master_key_file(layout.master_key)


def _ensure_certificates(folder: Path) -> None:
    authority = CertificateAuthority.load_or_create(folder)
    for name, identity in _IDENTITIES.items():
        if (folder / f"{name}.crt").exists() and (folder / f"{name}.key").exists():
            authority.renew(folder, name)
        else:
            authority.issue(identity).save(folder, name)


def _ensure_signer(path: Path, identity: str) -> Signer:
    if path.exists():
        return Signer.from_file(path, identity)
    signer = Signer.generate(identity)
    signer.save(path)
    return signer


def _save_trust(path: Path, *signers: Signer) -> None:
    TrustStore({signer.identity: [signer.public_key_bytes] for signer in signers}).save(path)
