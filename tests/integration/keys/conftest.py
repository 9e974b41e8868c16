"""A real key service in a process of its own, mutual TLS, real keys and ciphertexts."""

import hashlib
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.postgresql import PostgresqlServer

from veilface.common.attested import Circuit, ScoreStatement, SignedScores, scores_to_proto, sign_scores
from veilface.common.channel import ChannelOptions, open_sync_channel
from veilface.common.identities import (
    CLIENT_IDENTITY,
    EMBEDDING_IDENTITY,
    KEYS_IDENTITY,
    MATCHING_IDENTITY,
    OPERATOR_IDENTITY,
)
from veilface.common.pki import CertificateAuthority, tls_settings
from veilface.common.signing import Signer, TrustStore
from veilface.crypto.contract import PublicMaterial, Scheme, TemplateSpace, TemplateUse
from veilface.crypto.public.registry import load_comparer, load_encryptor
from veilface.keys.domain.master_key import create_master_key_file
from veilface.keys.v1 import key_service_pb2, key_service_pb2_grpc, policy_pb2
from veilface.types.v1 import score_pb2

TIMEOUT_S = 60
MODEL = "dlib-resnet/hog/chip"
SPACE = TemplateSpace(128)
IDENTITIES = {
    "client": CLIENT_IDENTITY,
    "operator": OPERATOR_IDENTITY,
    "embedding": EMBEDDING_IDENTITY,
    "matching": MATCHING_IDENTITY,
    "stranger": "spiffe://elsewhere/client",
}


class KeyService:
    """One key service and the folder that it lives in; starting it again finds what it stored.

    Args:
        replica_of: The service that it shares its folder and credentials with, but not its socket and audit file.
    """

    def __init__(self, folder: Path, replica_of: "KeyService | None" = None) -> None:
        self.folder = folder
        self.name = "s" if replica_of is None else "r"
        self.settings: dict[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._channels: list[grpc.Channel] = []
        self.master_key = folder / "master.key"
        if replica_of is not None:
            self.matcher, self.embedding = replica_of.matcher, replica_of.embedding
            self.settings = dict(replica_of.settings)
            return
        authority = CertificateAuthority.create()
        authority.save(folder)
        for name, identity in {**IDENTITIES, "keys": KEYS_IDENTITY}.items():
            authority.issue(identity).save(folder, name)
        self.matcher = Signer.generate(MATCHING_IDENTITY)
        self.embedding = Signer.generate(EMBEDDING_IDENTITY)
        trusted = {each.identity: [each.public_key_bytes] for each in (self.matcher, self.embedding)}
        TrustStore(trusted).save(folder / "trust.json")
        Signer.generate(KEYS_IDENTITY).save(folder / "signing.pem")
        create_master_key_file(self.master_key)

    @property
    def address(self) -> str:
        return f"unix:{self.folder}/{self.name}"

    @property
    def audit_file(self) -> Path:
        return self.folder / f"{self.name}.audit.jsonl"

    @property
    def log(self) -> str:
        return (self.folder / f"{self.name}.log").read_text()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def environment(self) -> dict[str, str]:
        folder = self.folder
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("VEILFACE_")}
        return {
            **inherited,
            "VEILFACE_LISTEN": self.address,
            "VEILFACE_TLS_CERTIFICATE": f"{folder}/keys.crt",
            "VEILFACE_TLS_PRIVATE_KEY": f"{folder}/keys.key",
            "VEILFACE_TLS_CA": f"{folder}/ca.crt",
            "VEILFACE_DATABASE_URL": f"sqlite:///{folder}/keys.db",
            "VEILFACE_AUDIT_FILE": str(self.audit_file),
            "VEILFACE_TRUST_STORE": f"{folder}/trust.json",
            "VEILFACE_SIGNING_KEY": f"{folder}/signing.pem",
            "VEILFACE_MASTER_KEY_FILE": str(self.master_key),
            "VEILFACE_DRAIN_TIMEOUT_S": "2",
            "VEILFACE_MAINTENANCE_S": "0.2",
            **self.settings,
        }

    def start(self, *, wait_for_serving: bool = True) -> None:
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "veilface.keys"], env=self.environment(), stdout=log, stderr=log
            )
        if wait_for_serving:
            self.wait_for(health_pb2.HealthCheckResponse.SERVING)

    def wait_for(self, status: int) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            assert self._process is not None
            assert self._process.poll() is None, self.log
            if self.health() == status:
                return
            time.sleep(0.05)
        raise AssertionError(f"status {self.health()} instead of {status}: {self.log}")

    def health(self) -> int | None:
        stub = health_pb2_grpc.HealthStub(self.channel("client"))
        try:
            status: int = stub.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S).status
        except grpc.RpcError:
            return None
        return status

    def stop(self) -> int:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self.wait_for_exit()

    def wait_for_exit(self) -> int:
        assert self._process is not None
        return self._process.wait(TIMEOUT_S)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(TIMEOUT_S)

    def close(self) -> None:
        for channel in self._channels:
            channel.close()
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def channel(self, name: str) -> grpc.Channel:
        channel = open_sync_channel(
            self.address, tls_settings(self.folder, name), ChannelOptions(server_name="localhost")
        )
        self._channels.append(channel)
        return channel

    def stub(self, name: str) -> key_service_pb2_grpc.KeyServiceStub:
        return key_service_pb2_grpc.KeyServiceStub(self.channel(name))

    def create_key(self, key_id: str, policy: policy_pb2.KeyPolicy | None = None) -> key_service_pb2.Key:
        request = key_service_pb2.CreateKeyRequest(key_id=key_id, policy=policy)
        key: key_service_pb2.Key = self.stub("operator").CreateKey(request, timeout=TIMEOUT_S)
        return key

    def material(self, name: str) -> PublicMaterial:
        stub = self.stub("matching")
        public = list(stub.GetPublicKey(key_service_pb2.GetPublicKeyRequest(name=name), timeout=TIMEOUT_S))
        request = key_service_pb2.GetEvaluationKeysRequest(name=name)
        evaluation = list(stub.GetEvaluationKeys(request, timeout=TIMEOUT_S))
        return PublicMaterial(
            Scheme.CKKS_PACKED,
            public[0].info.profile,
            public[0].info.key_version,
            b"".join(each.chunk.data for each in public),
            b"".join(each.chunk.data for each in evaluation),
        )


class Comparing:
    """Does what the embedding and the matching service would do, under one key version."""

    def __init__(self, service: KeyService, material: PublicMaterial, seed: int) -> None:
        self.service = service
        self.material = material
        self.random = np.random.default_rng(seed)
        self.encryptor = load_encryptor(material)
        self.comparer = load_comparer(material)

    def pair(self, cosine: float) -> tuple[np.ndarray, np.ndarray]:
        """Two unit vectors with this cosine."""
        a = self.random.normal(size=SPACE.dimension)
        a /= np.linalg.norm(a)
        b = self.random.normal(size=SPACE.dimension)
        b -= (b @ a) * a
        b /= np.linalg.norm(b)
        return a, cosine * a + np.sqrt(1 - cosine**2) * b

    def template(self, embedding: np.ndarray, use: TemplateUse) -> bytes:
        return self.encryptor.encrypt(embedding, SPACE, use)

    def verification(self, *cosines: float, **changes: object) -> list[score_pb2.ScoreBatch]:
        """A CompareTemplates answer with these scores."""
        ciphertexts = []
        for cosine in cosines:
            reference, probe = self.pair(cosine)
            ciphertexts.append(
                self.comparer.compare(
                    self.template(reference, TemplateUse.REFERENCE), self.template(probe, TemplateUse.PROBE), SPACE
                )
            )
        return self.tickets(ciphertexts, [1] * len(cosines), circuit=Circuit.VERIFY, **changes)

    def search(self, *segments: Sequence[float], **changes: object) -> list[score_pb2.ScoreBatch]:
        """A SearchGallery answer: one batch per segment, with these scores."""
        probe, _ = self.pair(0.0)
        packed, slots = [], []
        for cosines in segments:
            segment = self.comparer.new_segment(SPACE)
            for slot, cosine in enumerate(cosines):
                other = self.random.normal(size=SPACE.dimension)
                other -= (other @ probe) * probe
                other /= np.linalg.norm(other)
                reference = cosine * probe + np.sqrt(1 - cosine**2) * other
                segment.add(self.template(reference, TemplateUse.REFERENCE), slot)
            packed.append(segment)
            slots.append(np.arange(len(cosines)))
        prepared = self.comparer.prepare_probe(self.template(probe, TemplateUse.PROBE), SPACE)
        ciphertexts = self.comparer.search(prepared, packed, slots)
        return self.tickets(
            ciphertexts, [len(each) for each in segments], circuit=Circuit.SEARCH, subject="", **changes
        )

    def tickets(
        self, ciphertexts: Sequence[bytes], counts: Sequence[int], **changes: object
    ) -> list[score_pb2.ScoreBatch]:
        fields: dict[str, object] = {
            "key_version": self.material.key_version,
            "scheme": Scheme.CKKS_PACKED,
            "profile": self.material.profile,
            "model": MODEL,
            "space": SPACE,
            "gallery": "galleries/staff",
            "generation": 1,
            "subject": "galleries/staff/subjects/ada",
            "probe_sha256": secrets.token_bytes(32),
            "batch_count": len(ciphertexts),
            "nonce": secrets.token_bytes(16),
            "expire_time": datetime.now(UTC) + timedelta(minutes=5),
        }
        is_search = changes["circuit"] is Circuit.SEARCH
        # Of nobody who was asked about before, unless the test says so.
        place: dict[str, object] = {"gallery_uid": secrets.randbits(62) + 1} if is_search else {}
        batches = []
        for index, ciphertext in enumerate(ciphertexts):
            own = {"segment": index} if is_search else {"reference_sha256": secrets.token_bytes(32)}
            batches.append(
                scores_to_proto(self.sign(ciphertext, {**fields, **place, **own, **changes}, counts[index], index))
            )
        return batches

    def sign(self, ciphertext: bytes, fields: dict[str, object], count: int, index: int) -> SignedScores:
        digest = hashlib.sha256(ciphertext).digest()
        own = {"ciphertext_sha256": digest, "score_count": count, "batch_index": index}
        statement = ScoreStatement(**{**own, **fields})  # type: ignore[arg-type]
        return sign_scores(self.service.matcher, statement, ciphertext)


@pytest.fixture(scope="module")
def module_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyService]:
    """A service of one file of tests, not started yet."""
    service = KeyService(tmp_path_factory.mktemp("keys"))
    yield service
    service.close()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[KeyService]:
    """A service of this test alone, not started yet."""
    service = KeyService(tmp_path)
    yield service
    service.close()


@pytest.fixture
def replicas(tmp_path: Path, postgresql: PostgresqlServer) -> Iterator[tuple[KeyService, KeyService]]:
    """Two running services on one PostgreSQL database."""
    with postgresql.database() as url:
        first = KeyService(tmp_path)
        first.settings = {"VEILFACE_DATABASE_URL": url}
        second = KeyService(tmp_path, first)
        for service in (first, second):
            service.start(wait_for_serving=False)
        for service in (first, second):
            service.wait_for(health_pb2.HealthCheckResponse.SERVING)
        yield first, second
        first.close()
        second.close()


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyService]:
    """A running service with the key "shared", for tests that do not disturb each other."""
    service = KeyService(tmp_path_factory.mktemp("keys"))
    service.start()
    service.create_key("shared")
    yield service
    service.close()


@pytest.fixture(scope="session")
def comparing(running: KeyService) -> Comparing:
    return Comparing(running, running.material("keys/shared"), 11)


@pytest.fixture(scope="session")
def make_comparing() -> type[Comparing]:
    return Comparing
