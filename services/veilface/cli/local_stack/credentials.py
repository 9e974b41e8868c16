"""What the parties of a local stack hold, in its state folder."""

from veilface.cli.credentials.ensure import ensure_certificate, ensure_master_key, ensure_signing
from veilface.cli.local_stack.layout import StateLayout
from veilface.common.identities import IDENTITIES
from veilface.common.pki import CertificateAuthority


def ensure_credentials(layout: StateLayout) -> None:
    """Make what is missing and renew certificates that expire soon.

    Raises:
        ConfigurationError: INVALID_SETTING if a file that is there cannot be used.
    """
    authority = CertificateAuthority.load_or_create(layout.certificates)
    for name, identity in IDENTITIES.items():
        ensure_certificate(authority, layout.certificates, name, identity)
    signing_keys = {name: layout.signing / f"{name}.key" for name in ("embedding", "keys", "matching", "operator")}
    ensure_signing(signing_keys, {name: layout.trust / f"{name}.json" for name in ("keys", "matching")})
    ensure_master_key(layout.master_key)
