"""The credentials of a deployment: one folder for each party, which holds what that party needs and nothing else."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from veilface.cli.credentials.ensure import ensure_certificate, ensure_master_key, ensure_signing
from veilface.client.settings import CONNECTION_FILE, OPERATOR_SIGNING_KEY, ClientSettings, save_connection
from veilface.common.addresses import host_of, ip_address_of
from veilface.common.errors import ConfigurationError, Reason
from veilface.common.files import write_public_file
from veilface.common.identities import IDENTITIES
from veilface.common.pki import CertificateAuthority

SERVICES = ("embedding", "keys", "matching")
OPERATOR = "operator"
DEFAULT_ADDRESSES = {"embedding": "embedding:7001", "keys": "keys:7002", "matching": "matching:7003"}

_CERTIFICATES = "certificates"
_CA = "ca.crt"
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What was made.

    Attributes:
        folder: The folder of all parties.
        addresses: Where clients find each service.
        renewed: Whose certificates are new, by the paths of their folders and names.
    """

    folder: Path
    addresses: Mapping[str, str]
    renewed: Sequence[str]


def ensure_deployment(folder: Path, addresses: Mapping[str, Sequence[str]]) -> Credentials:
    """Make what is missing, renew certificates that expire soon, and add hosts that they do not name yet.

    Args:
        folder: For "authority", which stays with the operator, "embedding", "keys" and "matching", one for each
            service, and "operator": a state folder for the command line.
        addresses: For each service its addresses, "host:port". All hosts are named in its certificate, and clients use
            the first one. Of a service without any, the addresses of last time stay, or become the default.

    Raises:
        ConfigurationError: INVALID_SETTING if the folder or a file in it cannot be used, or an address is malformed.
    """
    chosen = _choose(folder / OPERATOR, addresses)
    hosts = {name: [_checked_host(address) for address in addresses[name] or [chosen[name]]] for name in SERVICES}
    _make_folders(folder)
    authority = CertificateAuthority.load_or_create(folder / "authority")
    operator = folder / OPERATOR
    certificates = operator / _CERTIFICATES
    renewed = [f"{name}/tls" for name in SERVICES if _ensure_service(authority, folder / name, hosts[name])]
    for name in ("client", OPERATOR):
        if ensure_certificate(authority, certificates, name, IDENTITIES[name]):
            renewed.append(f"{OPERATOR}/{_CERTIFICATES}/{name}")
    write_public_file(certificates / _CA, authority.certificate_pem)
    signing_keys = {name: folder / name / "signing.key" for name in SERVICES}
    trust_stores = {name: folder / name / "trust.json" for name in ("keys", "matching")}
    ensure_signing(signing_keys | {OPERATOR: operator / OPERATOR_SIGNING_KEY}, trust_stores)
    ensure_master_key(folder / "keys" / "master.key")
    save_connection(operator, chosen, _CERTIFICATES)
    return Credentials(folder, chosen, renewed)


def _ensure_service(authority: CertificateAuthority, folder: Path, hosts: Sequence[str]) -> bool:
    write_public_file(folder / _CA, authority.certificate_pem)
    return ensure_certificate(authority, folder, "tls", IDENTITIES[folder.name], hosts)


def _choose(operator: Path, addresses: Mapping[str, Sequence[str]]) -> dict[str, str]:
    last: Mapping[str, str] = DEFAULT_ADDRESSES
    if (operator / CONNECTION_FILE).exists():
        last = ClientSettings.from_state(operator).addresses
    return {name: addresses[name][0] if addresses[name] else last[name] for name in SERVICES}


def _checked_host(address: str) -> str:
    host, port = host_of(address), address.rpartition(":")[2]
    is_host = bool(_HOST.fullmatch(host)) or ip_address_of(host) is not None
    if not is_host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise ConfigurationError(
            Reason.INVALID_SETTING, f"{address[:80]!r} is not an address such as keys.example.org:7002"
        )
    return host


def _make_folders(folder: Path) -> None:
    operator = folder / OPERATOR
    inner = (operator / _CERTIFICATES, (operator / OPERATOR_SIGNING_KEY).parent)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for party in (folder / "authority", *(folder / name for name in SERVICES), operator, *inner):
            party.mkdir(mode=0o700, exist_ok=True)
            # It may have been there before, open to others, as a mounted volume is.
            party.chmod(0o700)
    except OSError as error:
        raise ConfigurationError(
            Reason.INVALID_SETTING, f"the folder {folder} cannot be made: {error.strerror}"
        ) from error
