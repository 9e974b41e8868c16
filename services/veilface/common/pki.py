"""A certificate authority for development and for the local stack: ECDSA P-256, one URI identity per certificate."""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from veilface.common.errors import ConfigurationError, Reason
from veilface.common.files import read_setting_file, write_private_file, write_public_file
from veilface.common.settings import TlsSettings

AUTHORITY_VALIDITY = timedelta(days=3650)
CERTIFICATE_VALIDITY = timedelta(days=90)
RENEWAL_MARGIN = timedelta(days=30)

_AUTHORITY_CERTIFICATE = "ca.crt"
_AUTHORITY_KEY = "ca.key"
_AUTHORITY_NAME = "veilface development"
_CLOCK_SKEW = timedelta(minutes=5)
_IDENTITY = re.compile(r"[a-z][a-z0-9+.-]*://[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*")
_LOCAL_DNS_NAMES = ("localhost",)
_LOCAL_IP_ADDRESSES = ("127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A certificate and its private key, both PEM."""

    certificate_pem: bytes
    private_key_pem: bytes = field(repr=False)

    def save(self, folder: Path, name: str) -> None:
        """Write `{name}.crt`, and `{name}.key` readable by the owner only."""
        write_private_file(folder / f"{name}.key", self.private_key_pem)
        write_public_file(folder / f"{name}.crt", self.certificate_pem)


class CertificateAuthority:
    """Issues certificates.

    Args:
        certificate: Its own certificate, self-signed.
        private_key: The key that signs.
    """

    def __init__(self, certificate: x509.Certificate, private_key: ec.EllipticCurvePrivateKey) -> None:
        self._certificate = certificate
        self._private_key = private_key

    @classmethod
    def create(cls, name: str = _AUTHORITY_NAME, validity: timedelta = AUTHORITY_VALIDITY) -> Self:
        """A new authority that may sign end-entity certificates only."""
        return cls._of_key(ec.generate_private_key(ec.SECP256R1()), name, validity)

    @classmethod
    def _of_key(cls, private_key: ec.EllipticCurvePrivateKey, name: str, validity: timedelta) -> Self:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(private_key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _CLOCK_SKEW)
            .not_valid_after(now + validity)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(private_key.public_key()), critical=False)
            .sign(private_key, hashes.SHA256())
        )
        return cls(certificate, private_key)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read `ca.crt` and `ca.key`.

        Raises:
            ConfigurationError: INVALID_SETTING if they cannot be read or do not belong together.
        """
        certificate = load_certificate(folder / _AUTHORITY_CERTIFICATE)
        private_key = _load_authority_key(folder)
        if private_key.public_key() != certificate.public_key():
            raise ConfigurationError(
                Reason.INVALID_SETTING,
                f"{folder / _AUTHORITY_KEY} is not the key of {_AUTHORITY_CERTIFICATE} beside it",
            )
        return cls(certificate, private_key)

    @classmethod
    def load_or_create(cls, folder: Path) -> Self:
        """The authority of a folder; a new one is made if the folder holds neither file.

        A key without its certificate, which an interrupted call leaves behind, gets a new one.

        Raises:
            ConfigurationError: INVALID_SETTING as for `load`.
        """
        if (folder / _AUTHORITY_CERTIFICATE).exists():
            return cls.load(folder)
        if (folder / _AUTHORITY_KEY).exists():
            authority = cls._of_key(_load_authority_key(folder), _AUTHORITY_NAME, AUTHORITY_VALIDITY)
        else:
            authority = cls.create()
        folder.mkdir(parents=True, exist_ok=True)
        authority.save(folder)
        return authority

    def save(self, folder: Path) -> None:
        """Write `ca.crt`, and `ca.key` readable by the owner only."""
        write_private_file(folder / _AUTHORITY_KEY, _private_key_pem(self._private_key))
        write_public_file(folder / _AUTHORITY_CERTIFICATE, self.certificate_pem)

    @property
    def certificate_pem(self) -> bytes:
        """Its own certificate."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def issue(
        self,
        identity: str,
        dns_names: Sequence[str] = (),
        ip_addresses: Sequence[str] = (),
        validity: timedelta = CERTIFICATE_VALIDITY,
    ) -> IssuedCertificate:
        """Issue a certificate with a new key, for servers and clients alike.

        Args:
            identity: The URI that others know the holder by, for example "spiffe://veilface/keys".
            dns_names: Host names besides localhost.
            ip_addresses: Addresses besides 127.0.0.1 and ::1.
            validity: How long it is valid; it never outlives the authority.

        Raises:
            ConfigurationError: INVALID_SETTING if the identity is not a URI or a name or address is malformed.
        """
        if not _IDENTITY.fullmatch(identity):
            raise ConfigurationError(
                Reason.INVALID_SETTING, f"{identity!r} is not an identity such as spiffe://veilface/keys"
            )
        private_key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        authority_key = self._private_key.public_key()
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, identity[-64:])]))
            .issuer_name(self._certificate.subject)
            .public_key(private_key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _CLOCK_SKEW)
            .not_valid_after(min(now + validity, self._certificate.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .add_extension(_alternative_names(identity, dns_names, ip_addresses), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(private_key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key), critical=False)
            .sign(self._private_key, hashes.SHA256())
        )
        return IssuedCertificate(certificate.public_bytes(serialization.Encoding.PEM), _private_key_pem(private_key))

    def renew(
        self,
        folder: Path,
        name: str,
        margin: timedelta = RENEWAL_MARGIN,
        validity: timedelta = CERTIFICATE_VALIDITY,
    ) -> bool:
        """Replace a certificate, with the same names and a new key, if it expires within the margin.

        Returns:
            Whether it was replaced.

        Raises:
            ConfigurationError: INVALID_SETTING if `{name}.crt` cannot be read or names no identity.
        """
        path = folder / f"{name}.crt"
        certificate = load_certificate(path)
        if certificate.not_valid_after_utc - datetime.now(UTC) > margin:
            return False
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        identities = names.get_values_for_type(x509.UniformResourceIdentifier)
        if len(identities) != 1:
            raise ConfigurationError(Reason.INVALID_SETTING, f"{path} does not name exactly one identity")
        issued = self.issue(
            identities[0],
            names.get_values_for_type(x509.DNSName),
            [str(address) for address in names.get_values_for_type(x509.IPAddress)],
            validity,
        )
        issued.save(folder, name)
        return True


def tls_settings(folder: Path, name: str) -> TlsSettings:
    """The settings that use `{name}.crt`, `{name}.key` and `ca.crt` of a folder."""
    return TlsSettings(
        certificate=folder / f"{name}.crt", private_key=folder / f"{name}.key", ca=folder / _AUTHORITY_CERTIFICATE
    )


def _load_authority_key(folder: Path) -> ec.EllipticCurvePrivateKey:
    path = folder / _AUTHORITY_KEY
    expected = "the authority's private key, of an elliptic curve, in PEM format"
    try:
        private_key = serialization.load_pem_private_key(read_setting_file(path, expected), password=None)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(Reason.INVALID_SETTING, f"{path} does not hold {expected}") from error
    if not isinstance(private_key, ec.EllipticCurvePrivateKey):
        raise ConfigurationError(Reason.INVALID_SETTING, f"{path} does not hold {expected}")
    return private_key


def load_certificate(path: Path) -> x509.Certificate:
    """Read the first certificate of a PEM file. Raises ConfigurationError INVALID_SETTING."""
    try:
        return x509.load_pem_x509_certificate(read_setting_file(path, "a PEM certificate"))
    except ValueError as error:
        raise ConfigurationError(Reason.INVALID_SETTING, f"{path} does not hold a PEM certificate") from error


def _alternative_names(
    identity: str, dns_names: Sequence[str], ip_addresses: Sequence[str]
) -> x509.SubjectAlternativeName:
    try:
        return x509.SubjectAlternativeName(
            [
                x509.UniformResourceIdentifier(identity),
                *(x509.DNSName(name) for name in dict.fromkeys((*_LOCAL_DNS_NAMES, *dns_names))),
                *(
                    x509.IPAddress(ipaddress.ip_address(address))
                    for address in dict.fromkeys((*_LOCAL_IP_ADDRESSES, *ip_addresses))
                ),
            ]
        )
    except ValueError as error:
        raise ConfigurationError(
            Reason.INVALID_SETTING, f"a host name or IP address of the certificate for {identity} is malformed"
        ) from error


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _private_key_pem(private_key: ec.EllipticCurvePrivateKey) -> bytes:
    return private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
