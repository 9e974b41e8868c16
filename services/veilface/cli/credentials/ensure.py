"""Credentials that are made once, kept, and renewed in time."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from cryptography import x509

from veilface.common.addresses import ip_address_of
from veilface.common.identities import IDENTITIES
from veilface.common.pki import CertificateAuthority, load_certificate
from veilface.common.signing import Signer, TrustStore
from veilface.keys.domain.master_key import create_master_key_file

_TRUSTED = {"keys": ("embedding", "keys", "matching"), "matching": ("embedding", "keys", "operator")}


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


def ensure_signing(signing_keys: Mapping[str, Path], trust_stores: Mapping[str, Path]) -> None:
    """Make the signing keys that are missing, and write whose signatures each service accepts.

    Args:
        signing_keys: The files of "embedding", "keys", "matching" and "operator".
        trust_stores: The files of "keys" and "matching".

    Raises:
        ConfigurationError: INVALID_SETTING if a file that is there holds no signing key.
    """
    signers = {party: _ensure_signer(path, IDENTITIES[party]) for party, path in signing_keys.items()}
    for service, parties in _TRUSTED.items():
        keys = {signers[party].identity: [signers[party].public_key_bytes] for party in parties}
        TrustStore(keys).save(trust_stores[service])


def ensure_master_key(path: Path) -> None:
    """Make a master key if there is none; never another one."""
    if not path.exists():
        create_master_key_file(path)


def _ensure_signer(path: Path, identity: str) -> Signer:
    if path.exists():
        return Signer.from_file(path, identity)
    signer = Signer.generate(identity)
    signer.save(path)
    return signer


def _hosts_of(path: Path) -> tuple[str, ...]:
    names = load_certificate(path).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = (str(address) for address in names.get_values_for_type(x509.IPAddress))
    return (*names.get_values_for_type(x509.DNSName), *addresses)
