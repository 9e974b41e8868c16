"""A real key service and a real matching service, each in a process of its own, over mutual TLS."""

import hashlib
import secrets
import sqlite3
import tempfile
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import grpc
import numpy as np
import pytest
from tests.service_process import ServiceProcess, make_credentials

from veilface.client.calls import ServiceCalls
from veilface.client.galleries import Galleries
from veilface.client.import_source import ImportSource
from veilface.client.imports import Imports
from veilface.client.public_keys import PublicKeys
from veilface.client.steps import Service
from veilface.common.attested import (
    TemplateStatement,
    scores_from_proto,
    sign_template,
    template_to_proto,
    verify_scores,
)
from veilface.common.database import Database
from veilface.common.errors import Reason
from veilface.common.identities import (
    MATCHING_IDENTITY,
)
from veilface.common.names import KeyVersionName
from veilface.common.signing import TrustStore
from veilface.common.status import error_from_rpc
from veilface.crypto.contract import PublicMaterial, Scheme, TemplateSpace, TemplateUse
from veilface.crypto.public.registry import load_encryptor
from veilface.crypto.renewal import OrthogonalTransform
from veilface.crypto.secret.registry import generate_key, load_decrypter
from veilface.keys.domain.master_key import FileSource
from veilface.keys.domain.vault import Vault
from veilface.keys.storage.key_store import SqlKeyStore
from veilface.keys.v1 import key_service_pb2, key_service_pb2_grpc, policy_pb2
from veilface.matching.v1 import (
    gallery_service_pb2,
    gallery_service_pb2_grpc,
    matching_service_pb2,
    matching_service_pb2_grpc,
    rotation_pb2,
)

TIMEOUT_S = 60
START_TIMEOUT_S = 120
MODEL = "dlib-resnet/hog/chip"
SPACE = TemplateSpace(64)


class ServiceOnSocket(ServiceProcess):
    """A service on a unix socket, with a database of its own, and channels that end with it."""

    def __init__(self, folder, service, settings):
        own = {"VEILFACE_DATABASE_URL": f"sqlite:///{folder}/{service}.db", "VEILFACE_DRAIN_TIMEOUT_S": "2"}
        super().__init__(folder, service, f"unix:{folder}/{service}.s", own | settings)
        self._channels = []

    def kept_channel(self, identity):
        self._channels.append(self.channel(identity))
        return self._channels[-1]

    def close(self):
        for channel in self._channels:
            channel.close()
        super().close()


class Processes:
    """Both services and the folder that they live in."""

    def __init__(self, folder):
        self.folder = folder
        self.signers = make_credentials(folder)
        self.keys = ServiceOnSocket(
            folder,
            "keys",
            {
                "VEILFACE_AUDIT_FILE": f"{folder}/audit.jsonl",
                "VEILFACE_MASTER_KEY_FILE": f"{folder}/master.key",
                "VEILFACE_MAINTENANCE_S": "0.2",
            },
        )
        self.matching = ServiceOnSocket(
            folder,
            "matching",
            {
                "VEILFACE_KEY_SERVICE": self.keys.address,
                "VEILFACE_KEY_SERVICE_NAME": "localhost",
                "VEILFACE_BLOB_FOLDER": f"{folder}/blobs",
                "VEILFACE_SWEEP_S": "0.5",
            },
        )

    def start(self):
        for process in (self.keys, self.matching):
            process.begin_to_start()
        for process in (self.keys, self.matching):
            process.wait_until_ready()

    def close(self):
        self.matching.close()
        self.keys.close()


class TransformedPublicKeys(PublicKeys):
    """For whoever imports embeddings that passed the secret transform already, as the embedding service could."""

    def fetch(self, key_version):
        return replace(super().fetch(key_version), embedding_transform=False)


class Stack:
    """A key and a gallery of its own under the key's first version, and what everybody does with them.

    Embeddings under a renewable key pass the secret transform of their version first.
    """

    def __init__(self, processes, name, *, renewable=False):
        self.renewable = renewable
        self.folder = processes.folder
        self.keys = processes.keys
        self.matching = processes.matching
        self.signers = processes.signers
        self.name = name
        self.old, self.new = f"keys/{name}/versions/1", f"keys/{name}/versions/2"
        self.gallery_name = f"galleries/{name}"
        self.people = np.random.default_rng(3).normal(size=(400, SPACE.dimension))
        self.people /= np.linalg.norm(self.people, axis=1, keepdims=True)
        self.face = self.people[0] + 0.3 * self.people[1]
        self.face /= np.linalg.norm(self.face)
        self.operator = key_service_pb2_grpc.KeyServiceStub(self.keys.kept_channel("operator"))
        self.connect_to_matching()
        # No thresholds in the way: a ranking of everybody, compared with numpy's.
        threshold = policy_pb2.ThresholdOverride(model=MODEL, metric=1, operating_point="balanced", threshold=-1.0)
        quotas = policy_pb2.Quotas(answers_per_caller=0, answers_per_target=0, matches_per_candidate=0)
        policy = policy_pb2.KeyPolicy(quotas=quotas, thresholds=[threshold], top_k_limit=100)
        key = key_service_pb2.CreateKeyRequest(key_id=name, policy=policy, embedding_transform=renewable)
        self.operator.CreateKey(key, timeout=TIMEOUT_S, wait_for_ready=True)
        request = gallery_service_pb2.CreateGalleryRequest(gallery_id=name, key=f"keys/{name}")
        until_available(lambda: self.galleries.CreateGallery(request, timeout=TIMEOUT_S, wait_for_ready=True))
        self.encryptors = {self.old: self._encryptor(self.old)}

    def connect_to_matching(self):
        """New connections: old ones wait for a while before they try a service again that was gone."""
        self.galleries = gallery_service_pb2_grpc.GalleryServiceStub(self.matching.kept_channel("client"))
        self.gallery_operator = gallery_service_pb2_grpc.GalleryServiceStub(self.matching.kept_channel("operator"))
        self.matcher = matching_service_pb2_grpc.MatchingServiceStub(self.matching.kept_channel("client"))

    def restart_matching(self):
        self.matching.kill()
        self.matching.start()
        self.connect_to_matching()

    def rotate_key(self):
        self.operator.RotateKey(key_service_pb2.RotateKeyRequest(name=f"keys/{self.name}"), timeout=TIMEOUT_S)
        self.encryptors[self.new] = self._encryptor(self.new)
        versions = (self.old, self.new)
        self.decrypters = {version: self._decrypter(version) for version in versions}
        self.probes = {version: self.template(self.face, TemplateUse.PROBE, version) for version in versions}

    def template(self, vector, use, version):
        encryptor = self.encryptors[version]
        ciphertext = encryptor.encrypt(self.transformed(np.asarray(vector), version), SPACE, use)
        statement = TemplateStatement(
            key_version=version,
            scheme=Scheme.CKKS_PACKED,
            profile="ckks-packed-128",
            space=SPACE,
            model=MODEL,
            use=use,
            ciphertext_sha256=hashlib.sha256(ciphertext).digest(),
            create_time=datetime.now(UTC),
        )
        return template_to_proto(sign_template(self.signers["embedding"], statement, ciphertext))

    def transformed(self, vectors, version):
        """What the embedding service encrypts of these embeddings."""
        if not self.renewable:
            return vectors
        stub = key_service_pb2_grpc.KeyServiceStub(self.keys.kept_channel("embedding"))
        request = key_service_pb2.GetTransformSeedRequest(name=version)
        return OrthogonalTransform(stub.GetTransformSeed(request, timeout=TIMEOUT_S).seed, SPACE.dimension).apply(
            vectors
        )

    def enroll(self, number, version=None):
        """Enroll the person of this enrollment number, from 1; under the version that the gallery is under."""
        request = gallery_service_pb2.EnrollRequest(
            gallery=self.gallery_name,
            subject_id=f"s{number}",
            template=self.template(self.people[number - 1], TemplateUse.REFERENCE, version or self.old),
            request_id=secrets.token_hex(8),
        )
        return self.galleries.Enroll(request, timeout=TIMEOUT_S)

    def import_people(self, count):
        """Import the people of the enrollment numbers 1 to `count` as a segment."""
        matching = (self.matching.kept_channel("operator"), ServiceCalls(Service.MATCHING, "matching", TIMEOUT_S))
        keys = (self.keys.kept_channel("operator"), ServiceCalls(Service.KEYS, "keys", TIMEOUT_S))
        public_keys = TransformedPublicKeys(*keys) if self.renewable else PublicKeys(*keys)
        imports = Imports(*matching, public_keys, lambda: self.signers["operator"])
        vectors = self.transformed(self.people[:count], self.old)
        source = ImportSource(vectors, tuple(f"s{number}" for number in range(1, count + 1)))
        imports.run(Galleries(*matching).get(self.gallery_name), source, model=MODEL)

    def erase(self, number):
        request = gallery_service_pb2.DeleteEnrollmentRequest(name=f"{self.gallery_name}/enrollments/{number}")
        self.galleries.DeleteEnrollment(request, timeout=TIMEOUT_S)

    def gallery(self):
        return self.galleries.GetGallery(
            gallery_service_pb2.GetGalleryRequest(name=self.gallery_name), timeout=TIMEOUT_S
        )

    def move(self):
        """The reports of a move to version 2, as they come."""
        request = rotation_pb2.RotateGalleryRequest(name=self.gallery_name, key_version=self.new)
        return self.gallery_operator.RotateGallery(request, timeout=TIMEOUT_S)

    def search(self, version):
        """The messages of an answer to a probe under this version."""
        request = matching_service_pb2.SearchGalleryRequest(gallery=self.gallery_name, probe=self.probes[version])
        return list(self.matcher.SearchGallery(request, timeout=TIMEOUT_S))

    def scores(self, version):
        """Enrollment number -> score, as the key service would see it."""
        found = {}
        trust = TrustStore({MATCHING_IDENTITY: [self.signers["matching"].public_key_bytes]})
        for message in self.search(version):
            signed = scores_from_proto(message.score_batch)
            ticket = verify_scores(trust, signed, datetime.now(UTC))
            assert ticket.key_version == version
            decrypted = self.decrypters[version].decrypt(signed.ciphertext, SPACE, ticket.score_count)
            numbers = [run.first_enrollment + offset for run in message.directory.runs for offset in range(run.count)]
            found |= dict(zip(numbers, decrypted.tolist(), strict=True))
        return found

    def ranking(self, version):
        """The enrollment numbers that the key service ranks, best first."""
        messages = self.search(version)
        options = key_service_pb2.IdentificationOptions(top_k=100)
        requests = [
            key_service_pb2.DecideIdentificationRequest(
                options=None if index else options, score_batch=each.score_batch
            )
            for index, each in enumerate(messages)
        ]
        decisions = key_service_pb2_grpc.KeyServiceStub(self.keys.kept_channel("client"))
        response = decisions.DecideIdentification(iter(requests), timeout=TIMEOUT_S)
        numbers = [
            [run.first_enrollment + offset for run in each.directory.runs for offset in range(run.count)]
            for each in messages
        ]
        return [numbers[each.batch_index][each.score_index] for each in response.candidates]

    def expected(self, numbers):
        return {number: pytest.approx(self.people[number - 1] @ self.face, abs=1e-3) for number in numbers}

    def stored_versions(self):
        """How many templates are stored under each version."""
        connection = sqlite3.connect(f"{self.folder}/matching.db")
        try:
            rows = connection.execute("SELECT key_version, count(*) FROM templates GROUP BY key_version").fetchall()
        finally:
            connection.close()
        return {version: count for version, count in rows if version in (self.old, self.new)}

    def _encryptor(self, version):
        stub = key_service_pb2_grpc.KeyServiceStub(self.keys.kept_channel("embedding"))
        parts = list(stub.GetPublicKey(key_service_pb2.GetPublicKeyRequest(name=version), timeout=TIMEOUT_S))
        public_key = b"".join(part.chunk.data for part in parts)
        return load_encryptor(PublicMaterial(Scheme.CKKS_PACKED, parts[0].info.profile, version, public_key, b""))

    def _decrypter(self, version):
        """What only the key service has: the test looks into its vault."""
        database = Database(f"sqlite:///{self.folder}/keys.db")
        vault = Vault(SqlKeyStore(database), generate_key, lambda: datetime.now(UTC))
        vault.unseal(FileSource(self.folder / "master.key").load())
        try:
            usable = vault.resolve(KeyVersionName.parse(version))
            with vault.open_secret_key(usable) as secret_key, secret_key.exposed() as secret:
                return load_decrypter(Scheme.CKKS_PACKED, usable.key.profile, bytes(secret))
        finally:
            database.close()


def until_available(call):
    """The call's answer, asked for again while a service still waits before it connects to a restarted one."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return call()
        except grpc.RpcError as failure:
            if failure.code() is not grpc.StatusCode.UNAVAILABLE or time.monotonic() > deadline:
                raise
            time.sleep(0.5)


class Searching:
    """Searches without a pause, as a client does that follows the gallery's key version."""

    def __init__(self, stack, always, sometimes=()):
        self._stack = stack
        self._always = set(always)
        self._allowed = self._always | set(sometimes)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.answers = {stack.old: 0, stack.new: 0}
        self.failures = []

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(TIMEOUT_S)

    def _run(self):
        version = self._stack.old
        while not self._stop.is_set():
            try:
                found = self._stack.scores(version)
            except grpc.RpcError as failure:
                error = error_from_rpc(failure)
                is_left_behind = error.reason is Reason.WRONG_KEY_VERSION and self._stack.new in error.message
                if not is_left_behind or version == self._stack.new:
                    self.failures.append(error.message)
                version = self._stack.new
            except Exception as error:  # noqa: BLE001 - a thread has no other way to fail a test
                self.failures.append(repr(error))
            else:
                self._check(version, found)

    def _check(self, version, found):
        self.answers[version] += 1
        if not self._always <= found.keys() <= self._allowed or found != self._stack.expected(found):
            self.failures.append(f"wrong scores under {version}: {found}")


@pytest.fixture(scope="session")
def processes():
    # pytest's own temporary folders have longer names than a socket may have.
    with tempfile.TemporaryDirectory(prefix="vf-") as folder:
        processes = Processes(Path(folder))
        try:
            processes.start()
            yield processes
        finally:
            processes.close()


@pytest.fixture
def stack(processes):
    return Stack(processes, f"g{secrets.token_hex(4)}")


@pytest.fixture
def renewable_stack(processes):
    return Stack(processes, f"g{secrets.token_hex(4)}", renewable=True)


@pytest.fixture
def searching(stack):
    return lambda always, sometimes=(): Searching(stack, always, sometimes)
