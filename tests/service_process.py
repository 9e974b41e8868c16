"""Services in processes of their own, started on the same files as often as a test likes, with credentials for all."""

import os
import signal
import subprocess
import sys
import time

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from veilface.common.channel import ChannelOptions, open_sync_channel
from veilface.common.identities import IDENTITIES
from veilface.common.pki import CertificateAuthority, tls_settings
from veilface.common.signing import Signer, TrustStore
from veilface.keys.domain.master_key import create_master_key_file

START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 60


def make_credentials(folder):
    """Certificates of all parties, a master key, and signing keys that all trust; answers the signers by party."""
    authority = CertificateAuthority.create()
    authority.save(folder)
    for name, identity in IDENTITIES.items():
        authority.issue(identity).save(folder, name)
    signers = {name: Signer.generate(IDENTITIES[name]) for name in ("embedding", "keys", "matching", "operator")}
    for name, signer in signers.items():
        signer.save(folder / f"{name}.pem")
    TrustStore({each.identity: [each.public_key_bytes] for each in signers.values()}).save(folder / "trust.json")
    create_master_key_file(folder / "master.key")
    return signers


class ServiceProcess:
    """A service at a fixed address, with the credentials of a folder.

    Args:
        folder: See `make_credentials`; logs go there too.
        service: "embedding", "keys" or "matching".
        address: Where it listens.
        settings: Its environment variables besides those of its credentials.
        name: Of its log, if there are several of a kind.
    """

    def __init__(self, folder, service, address, settings, name=""):
        self.folder = folder
        self.address = address
        self.log = folder / f"{name or service}.log"
        self._service = service
        self._process = None
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("VEILFACE_")}
        self._environment = {
            **inherited,
            "VEILFACE_LISTEN": address,
            "VEILFACE_TLS_CERTIFICATE": f"{folder}/{service}.crt",
            "VEILFACE_TLS_PRIVATE_KEY": f"{folder}/{service}.key",
            "VEILFACE_TLS_CA": f"{folder}/ca.crt",
            "VEILFACE_SIGNING_KEY": f"{folder}/{service}.pem",
            "VEILFACE_TRUST_STORE": f"{folder}/trust.json",
            **settings,
        }

    def start(self):
        self.begin_to_start()
        self.wait_until_ready()

    def begin_to_start(self):
        assert self._process is None or self._process.poll() is not None, f"{self.log.stem} is running"
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", f"veilface.{self._service}"]
            self._process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)

    def wait_until_ready(self):
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not self._is_serving():
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline_s, self.log.read_text()
            time.sleep(0.05)

    def channel(self, identity):
        """A channel as one of the parties; the caller closes it."""
        # A unix socket has no host name.
        options = ChannelOptions(server_name="localhost" if self.address.startswith("unix:") else None)
        return open_sync_channel(self.address, tls_settings(self.folder, identity), options)

    def send_signal(self, number):
        self._process.send_signal(number)

    def kill(self):
        self._process.kill()
        self._process.wait(STOP_TIMEOUT_S)

    def stop(self):
        """Stop it politely; answers the exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(STOP_TIMEOUT_S)

    def close(self):
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self.kill()

    def _is_serving(self):
        # A new connection each time: one that was refused waits before it tries again.
        with self.channel("client") as channel:
            try:
                response = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
            except grpc.RpcError:
                return False
        return response.status == health_pb2.HealthCheckResponse.SERVING
