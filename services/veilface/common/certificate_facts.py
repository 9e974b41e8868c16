"""What the certificates in a folder say, for people and monitoring."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes

from veilface.common.errors import ConfigurationError, Reason
from veilface.common.pki import load_certificate


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFacts:
    """One certificate.

    Attributes:
        name: Of its file, without ".crt".
        identity: Its only URI; empty if it has none or several, and for an authority.
        sha256: Its fingerprint, in hexadecimal.
        is_authority: Whether it signs others.
        is_trusted_here: Whether the authority beside it, ca.crt, signed it.
        has_private_key: Whether its key is beside it.
    """

    name: str
    identity: str
    dns_names: tuple[str, ...]
    ip_addresses: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    serial_number: str
    sha256: str
    is_authority: bool
    is_trusted_here: bool
    has_private_key: bool


def certificates_in(folder: Path) -> tuple[CertificateFacts, ...]:
    """Every `{name}.crt` of a folder, in order of their names, the authority first.

    Raises:
        ConfigurationError: INVALID_SETTING if there is no authority or a file does not hold a certificate.
    """
    authority = load_certificate(folder / "ca.crt")
    paths = sorted(folder.glob("*.crt"), key=lambda path: (path.stem != "ca", path.stem))
    return tuple(_facts(path, load_certificate(path), authority) for path in paths)


def certificate_facts(folder: Path, name: str) -> CertificateFacts:
    """The same for `{name}.crt` alone."""
    for facts in certificates_in(folder):
        if facts.name == name:
            return facts
    raise ConfigurationError(Reason.INVALID_SETTING, f"there is no {name}.crt in {folder}")


def _facts(path: Path, certificate: x509.Certificate, authority: x509.Certificate) -> CertificateFacts:
    names = _alternative_names(certificate)
    identities = names.get_values_for_type(x509.UniformResourceIdentifier)
    return CertificateFacts(
        name=path.stem,
        identity=identities[0] if len(identities) == 1 else "",
        dns_names=tuple(names.get_values_for_type(x509.DNSName)),
        ip_addresses=tuple(str(address) for address in names.get_values_for_type(x509.IPAddress)),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        serial_number=f"{certificate.serial_number:x}",
        sha256=certificate.fingerprint(hashes.SHA256()).hex(),
        is_authority=_is_authority(certificate),
        is_trusted_here=_is_signed_by(certificate, authority),
        has_private_key=path.with_suffix(".key").is_file(),
    )


def _alternative_names(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return x509.SubjectAlternativeName([])


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _is_signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
