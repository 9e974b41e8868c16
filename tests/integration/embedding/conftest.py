"""A real embedding service beside a real key service, each a process of its own, with mutual TLS."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.integration.keys.conftest import KeyService

from veilface.common.channel import ChannelOptions, open_sync_channel
from veilface.common.identities import EMBEDDING_IDENTITY
from veilface.common.pki import tls_settings
from veilface.common.signing import TrustStore
from veilface.embedding.domain.pipeline import Pipeline
from veilface.embedding.models.building import build_pipelines
from veilface.embedding.settings import DEFAULT_PIPELINE
from veilface.embedding.v1 import embedding_service_pb2 as pb
from veilface.embedding.v1 import embedding_service_pb2_grpc
from veilface.types.v1 import template_pb2

TIMEOUT_S = 60


class EmbeddingService:
    """An embedding service in the folder of a key service, whose authority made both parties' certificates."""

    def __init__(self, keys: KeyService, folder: Path) -> None:
        self.keys = keys
        self.folder = folder
        self.settings: dict[str, str] = {}
        self._channels: list[grpc.Channel] = []
        self._process: subprocess.Popen[bytes] | None = None
        keys.embedding.save(folder / "signing.pem")

    @property
    def address(self) -> str:
        return f"unix:{self.folder}/s"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    @property
    def trust(self) -> TrustStore:
        return TrustStore({EMBEDDING_IDENTITY: [self.keys.embedding.public_key_bytes]})

    def environment(self) -> dict[str, str]:
        certificates = self.keys.folder
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("VEILFACE_")}
        return {
            **inherited,
            "VEILFACE_LISTEN": self.address,
            "VEILFACE_TLS_CERTIFICATE": f"{certificates}/embedding.crt",
            "VEILFACE_TLS_PRIVATE_KEY": f"{certificates}/embedding.key",
            "VEILFACE_TLS_CA": f"{certificates}/ca.crt",
            "VEILFACE_KEY_SERVICE": self.keys.address,
            "VEILFACE_KEY_SERVICE_NAME": "localhost",
            "VEILFACE_SIGNING_KEY": f"{self.folder}/signing.pem",
            "VEILFACE_EMBEDDING_DEEPFACE_HOME": str(self.folder),
            "VEILFACE_DRAIN_TIMEOUT_S": "5",
            **self.settings,
        }

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "veilface.embedding"], env=self.environment(), stdout=log, stderr=log
            )

    def wait_until_serving(self) -> None:
        stub = health_pb2_grpc.HealthStub(self.channel("client"))
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            assert self._process is not None
            assert self._process.poll() is None, self.log
            try:
                status = stub.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S).status
            except grpc.RpcError:
                status = None
            if status == health_pb2.HealthCheckResponse.SERVING:
                return
            time.sleep(0.1)
        raise AssertionError(self.log)

    def wait_for_exit(self) -> int:
        assert self._process is not None
        return self._process.wait(TIMEOUT_S)

    def stop(self) -> int:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self.wait_for_exit()

    def close(self) -> None:
        for channel in self._channels:
            channel.close()
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(TIMEOUT_S)

    def channel(self, party: str) -> grpc.Channel:
        options = ChannelOptions(server_name="localhost")
        channel = open_sync_channel(self.address, tls_settings(self.keys.folder, party), options)
        self._channels.append(channel)
        return channel

    def stub(self, party: str = "client") -> embedding_service_pb2_grpc.EmbeddingServiceStub:
        return embedding_service_pb2_grpc.EmbeddingServiceStub(self.channel(party))


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyService]:
    """A running key service with the key "staff"."""
    service = KeyService(tmp_path_factory.mktemp("k"))
    service.start()
    service.create_key("staff")
    yield service
    service.close()


@pytest.fixture(scope="session")
def running(keys: KeyService, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddingService]:
    """A running embedding service with the default pipeline."""
    service = EmbeddingService(keys, tmp_path_factory.mktemp("e"))
    service.start()
    service.wait_until_serving()
    yield service
    service.close()


@pytest.fixture
def service(keys: KeyService, tmp_path: Path) -> Iterator[EmbeddingService]:
    """An embedding service of this test alone, not started yet."""
    service = EmbeddingService(keys, tmp_path)
    yield service
    service.close()


@pytest.fixture(scope="session")
def default_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """The default pipeline inside this process."""
    return build_pipelines([DEFAULT_PIPELINE], tmp_path_factory.mktemp("home"), threads=2).default


def request_for(image: bytes, **changes: object) -> pb.ExtractTemplatesRequest:
    """A request for a probe under the key "staff"."""
    fields = {"image": image, "use": template_pb2.TEMPLATE_USE_PROBE, "key": "keys/staff", **changes}
    return pb.ExtractTemplatesRequest(**fields)  # type: ignore[arg-type]
