"""What the parties of a local stack hold, in its state folder."""

from pathlib import Path

from veilface.cli.credentials.ensure import ensure_certificate, ensure_signer, save_trust
from veilface.cli.local_stack.layout import StateLayout
from veilface.common.identities import (
    CLIENT_IDENTITY,
    EMBEDDING_IDENTITY,
    KEYS_IDENTITY,
    MATCHING_IDENTITY,
    OPERATOR_IDENTITY,
)
from veilface.common.pki import CertificateAuthority
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
    embedding = ensure_signer(layout.signing / "embedding.key", EMBEDDING_IDENTITY)
    matching = ensure_signer(layout.signing / "matching.key", MATCHING_IDENTITY)
    keys = ensure_signer(layout.signing / "keys.key", KEYS_IDENTITY)
    operator = ensure_signer(layout.signing / "operator.key", OPERATOR_IDENTITY)
    save_trust(layout.trust / "matching.json", embedding, keys, operator)
    save_trust(layout.trust / "keys.json", embedding, keys, matching)
    if not layout.master_key.exists():
        create_master_key_file(layout.master_key)


def _ensure_certificates(folder: Path) -> None:
    authority = CertificateAuthority.load_or_create(folder)
    for name, identity in _IDENTITIES.items():
        ensure_certificate(authority, folder, name, identity)
