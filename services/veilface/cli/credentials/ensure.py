"""Credentials that are made once, kept, and renewed in time."""

from collections.abc import Sequence
from pathlib import Path

from cryptography import x509

from veilface.common.addresses import ip_address_of
from veilface.common.pki import CertificateAuthority, load_certificate
from veilface.common.signing import Signer, TrustStore


def ensure_certificate(
    authority: CertificateAuthority, folder: Path, name: str, identity: str, hosts: Sequence[str] = ()
) -> bool:
    """Issue `{name}.crt` and `{name}.key` if one is missing, expires soon or does not name all hosts.

    Args:
        authority: Who issues it.
        folder: Where the files are.
        name: Of the files.
        identity: Of a new certificate.
        hosts: Host names and addresses that it must name, besides localhost and those that it names already.

    Returns:
        Whether there is a new one.

    Raises:
        ConfigurationError: INVALID_SETTING if a file cannot be read or a host is malformed.
    """
    certificate, private_key = folder / f"{name}.crt", folder / f"{name}.key"
    named = _hosts_of(certificate) if certificate.exists() else ()
    wanted = {str(ip_address_of(host) or host): ip_address_of(host) is not None for host in (*named, *hosts)}
    if named and private_key.exists() and len(wanted) == len(named):
        return authority.renew(folder, name)
    dns_names = [host for host, is_address in wanted.items() if not is_address]
    authority.issue(identity, dns_names, [host for host in wanted if host not in dns_names]).save(folder, name)
    return True


def ensure_signer(path: Path, identity: str) -> Signer:
    """The signing key in a file; a new one is made if there is none."""
    if path.exists():
        return Signer.from_file(path, identity)
    signer = Signer.generate(identity)
    signer.save(path)
    return signer


def save_trust(path: Path, *signers: Signer) -> None:
    """Write the trust store of a service that accepts these signers and nobody else."""
    TrustStore({signer.identity: [signer.public_key_bytes] for signer in signers}).save(path)


def _hosts_of(path: Path) -> tuple[str, ...]:
    names = load_certificate(path).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = (str(address) for address in names.get_values_for_type(x509.IPAddress))
    return (*names.get_values_for_type(x509.DNSName), *addresses)
