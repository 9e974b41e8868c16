"""Mutual TLS from files that may be replaced while the process runs."""

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime

import grpc
import structlog
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from veilface.common.errors import ConfigurationError, Reason
from veilface.common.files import read_setting_file
from veilface.common.settings import TlsSettings

_FileVersions = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class TlsContents:
    """What the files hold, all PEM: a certificate chain, its private key and the accepted authorities."""

    certificate_chain: bytes
    private_key: bytes = field(repr=False)
    authorities: bytes


class WatchedTlsFiles:
    """One party's TLS files and what they held when they last made sense. Safe to use from several threads.

    Args:
        tls: The files.

    Raises:
        ConfigurationError: INVALID_SETTING if the files cannot be used now.
    """

    def __init__(self, tls: TlsSettings) -> None:
        self._tls = tls
        self._lock = threading.Lock()
        self._versions = self._look()
        self._contents = self._load()
        self._unusable: _FileVersions | None = None

    @property
    def contents(self) -> TlsContents:
        """The last contents that could be used."""
        return self._contents

    def refresh(self) -> bool:
        """Look at the files again and take their contents if they can be used.

        Files that do not belong together, as in the middle of a replacement, are logged and left alone until then.

        Returns:
            Whether `contents` is new.
        """
        with self._lock:
            versions = self._look()
            if versions in (self._versions, self._unusable):
                return False
            try:
                self._contents = self._load()
            except ConfigurationError as error:
                structlog.get_logger().warning("certificate_not_usable", problem=error.message)
                self._unusable = versions
                return False
            self._versions = versions
            structlog.get_logger().info("certificate_reloaded")
            return True

    def _look(self) -> _FileVersions:
        versions = []
        for path in (self._tls.certificate, self._tls.private_key, self._tls.ca):
            try:
                status = path.stat()
                versions.append((status.st_ino, status.st_mtime_ns, status.st_size))
            except OSError:
                versions.append((0, 0, 0))
        return tuple(versions)

    def _load(self) -> TlsContents:
        contents = TlsContents(
            certificate_chain=read_setting_file(self._tls.certificate, "a PEM certificate chain"),
            private_key=read_setting_file(self._tls.private_key, "a PEM private key"),
            authorities=read_setting_file(self._tls.ca, "PEM certificates of authorities"),
        )
        self._check(contents)
        return contents

    def _check(self, contents: TlsContents) -> None:
        try:
            certificate = x509.load_pem_x509_certificates(contents.certificate_chain)[0]
            x509.load_pem_x509_certificates(contents.authorities)
            private_key = serialization.load_pem_private_key(contents.private_key, password=None)
        except (ValueError, TypeError) as error:
            raise ConfigurationError(
                Reason.INVALID_SETTING,
                f"{self._tls.certificate}, {self._tls.private_key} and {self._tls.ca} are not all PEM files of a "
                "certificate, an unencrypted private key and authorities",
            ) from error
        if private_key.public_key() != certificate.public_key():
            raise ConfigurationError(
                Reason.INVALID_SETTING, f"{self._tls.private_key} is not the key of {self._tls.certificate}"
            )
        if certificate.not_valid_after_utc <= datetime.now(UTC):
            raise ConfigurationError(
                Reason.INVALID_SETTING,
                f"{self._tls.certificate} expired at {certificate.not_valid_after_utc.isoformat()}: renew it",
            )


def server_credentials(tls: TlsSettings) -> grpc.ServerCredentials:
    """Credentials that demand a certificate of every client and follow changes of the files at each new connection.

    Raises:
        ConfigurationError: INVALID_SETTING if the files cannot be used now.
    """
    files = WatchedTlsFiles(tls)

    def changed_configuration() -> grpc.ServerCertificateConfiguration | None:
        return _server_configuration(files.contents) if files.refresh() else None

    return grpc.dynamic_ssl_server_credentials(
        _server_configuration(files.contents),
        changed_configuration,  # type: ignore[arg-type]  # None means no change, which the stubs do not know
        require_client_authentication=True,
    )


def channel_credentials(contents: TlsContents) -> grpc.ChannelCredentials:
    """Credentials that show a certificate and accept servers of the authorities."""
    return grpc.ssl_channel_credentials(
        root_certificates=contents.authorities,
        private_key=contents.private_key,
        certificate_chain=contents.certificate_chain,
    )


def _server_configuration(contents: TlsContents) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(contents.private_key, contents.certificate_chain)], root_certificates=contents.authorities
    )
