"""A server's mutual TLS, with certificates that can be replaced on disk while it runs."""

import threading
from datetime import UTC, datetime

import grpc
import structlog
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from veilface.common.errors import ConfigurationError, Reason
from veilface.common.files import read_setting_file
from veilface.common.settings import TlsSettings

_FileVersion = tuple[tuple[int, int, int], ...]


def server_credentials(tls: TlsSettings) -> grpc.ServerCredentials:
    """Credentials that demand a certificate of every client and follow changes of the files.

    The files are looked at for every new connection. Files that do not belong together, as in the middle of a
    replacement, are not used: the last good ones are, and the problem is logged.

    Raises:
        ConfigurationError: INVALID_SETTING if the files cannot be used now.
    """
    certificates = ReloadingCertificates(tls)
    return grpc.dynamic_ssl_server_credentials(
        certificates.current,
        certificates.fetch,  # type: ignore[arg-type]  # None means no change, which the stubs do not know
        require_client_authentication=True,
    )


class ReloadingCertificates:
    """The certificate files of a server as gRPC takes them.

    Args:
        tls: The files.

    Raises:
        ConfigurationError: INVALID_SETTING if the files cannot be used now.
    """

    def __init__(self, tls: TlsSettings) -> None:
        self._tls = tls
        self._lock = threading.Lock()
        self._version = self._look()
        self.current = self._load()

    def fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """The configuration to use from now on if the files have changed, else None. Called on gRPC's threads."""
        with self._lock:
            version = self._look()
            if version == self._version:
                return None
            try:
                self.current = self._load()
            except ConfigurationError as error:
                structlog.get_logger().error("certificate_reload_failed", problem=error.message)
                return None
            self._version = version
            structlog.get_logger().info("certificate_reloaded")
            return self.current

    def _look(self) -> _FileVersion:
        version = []
        for path in (self._tls.certificate, self._tls.private_key, self._tls.ca):
            try:
                status = path.stat()
                version.append((status.st_ino, status.st_mtime_ns, status.st_size))
            except OSError:
                version.append((0, 0, 0))
        return tuple(version)

    def _load(self) -> grpc.ServerCertificateConfiguration:
        certificate_chain = read_setting_file(self._tls.certificate, "a PEM certificate chain")
        private_key = read_setting_file(self._tls.private_key, "a PEM private key")
        authorities = read_setting_file(self._tls.ca, "PEM certificates of authorities")
        self._check(certificate_chain, private_key, authorities)
        return grpc.ssl_server_certificate_configuration(
            [(private_key, certificate_chain)], root_certificates=authorities
        )

    def _check(self, certificate_chain: bytes, private_key: bytes, authorities: bytes) -> None:
        try:
            certificate = x509.load_pem_x509_certificates(certificate_chain)[0]
            x509.load_pem_x509_certificates(authorities)
            key = serialization.load_pem_private_key(private_key, password=None)
        except (ValueError, TypeError) as error:
            raise ConfigurationError(
                Reason.INVALID_SETTING,
                f"{self._tls.certificate}, {self._tls.private_key} and {self._tls.ca} are not all PEM files of a "
                "certificate, an unencrypted private key and authorities",
            ) from error
        if key.public_key() != certificate.public_key():
            raise ConfigurationError(
                Reason.INVALID_SETTING, f"{self._tls.private_key} is not the key of {self._tls.certificate}"
            )
        if certificate.not_valid_after_utc <= datetime.now(UTC):
            raise ConfigurationError(
                Reason.INVALID_SETTING,
                f"{self._tls.certificate} expired at {certificate.not_valid_after_utc.isoformat()}: renew it",
            )
