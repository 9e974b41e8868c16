"""A matching service over a real record store, with a scheme that encrypts nothing: its templates are float64."""

import asyncio
import hashlib
import threading
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np
import pytest

from veilface.common.attested import SignedTemplate, TemplateStatement, sign_template, verify_scores, verify_template
from veilface.common.database import Database
from veilface.common.errors import InvalidCiphertextError, NotFoundError, Reason
from veilface.common.identities import EMBEDDING_IDENTITY, KEYS_IDENTITY, MATCHING_IDENTITY, OPERATOR_IDENTITY
from veilface.common.names import GalleryName, KeyName
from veilface.common.pool import BoundedPool
from veilface.common.signing import Signer, TrustStore
from veilface.crypto.contract import Metric, PublicMaterial, Scheme, TemplateSpace, TemplateUse
from veilface.matching.assembly import Backends, Limits, assemble
from veilface.matching.domain.enrollments import NewEnrollment
from veilface.matching.domain.galleries import NewGallery
from veilface.matching.domain.segments.cache import CachedSegment, Origin
from veilface.matching.domain.store.identity import read_identity
from veilface.matching.domain.store.migrate import migrate

DIMENSION = 4
KEY_VERSION = "keys/faces/versions/1"
PROFILE = "ckks-packed-128"
MODEL = "dlib-resnet/hog/chip"
GALLERY = GalleryName("staff")


class PlainSegment:
    def __init__(self, capacity, rows=None):
        self.capacity = capacity
        self.rows = np.zeros((capacity, DIMENSION)) if rows is None else rows

    def add(self, ciphertext, slot):
        assert not self.rows[slot].any(), "a slot is filled once"
        self.rows[slot] = _vector(ciphertext)

    def add_many(self, ciphertexts, slots):
        for ciphertext, slot in zip(ciphertexts, slots, strict=True):
            self.add(ciphertext, slot)

    def subtract(self, ciphertext, slot):
        self.rows[slot] -= _vector(ciphertext)
        assert not self.rows[slot].any(), "what is taken out was in"

    def to_bytes(self):
        return self.rows.tobytes()

    @property
    def memory_bytes(self):
        return self.rows.nbytes


class PlainComparer:
    """Counts what it is asked for.

    Attributes:
        passes: How many segments each pass was about.
        probe_counts: How many probes each pass was for.
        expanded: How many probes were made ready.
        may_pass: Not set: every pass waits for it.
    """

    def __init__(self, capacity=4, supports_search=True):
        self.capacity = capacity
        self.supports_search = supports_search
        self.comparisons = 0
        self.plaintext_probes_share_a_pass = False
        self.passes = []
        self.probe_counts = []
        self.expanded = 0
        self.may_pass = threading.Event()
        self.may_pass.set()

    def check_template(self, ciphertext, space, use):
        if len(ciphertext) != 1 + 8 * space.dimension or ciphertext[:1] != use.value[:1].encode():
            raise InvalidCiphertextError(Reason.MALFORMED_CIPHERTEXT, "not a plain template")

    def compare(self, reference, probe, space):
        self.comparisons += 1
        return np.array([_vector(reference) @ _vector(probe)]).tobytes()

    def prepare_probe(self, probe, space, use):
        self.expanded += 1
        return _vector(probe)

    def new_segment(self, space):
        return PlainSegment(self.capacity)

    def segment_from_bytes(self, data, space):
        if len(data) != self.capacity * DIMENSION * 8:
            raise InvalidCiphertextError(Reason.WRONG_SIZE, "not a plain segment")
        return PlainSegment(self.capacity, np.frombuffer(data).reshape(self.capacity, DIMENSION).copy())

    def search_many(self, probes, segments, slots):
        assert self.may_pass.wait(20)
        self.passes.append(len(segments))
        self.probe_counts.append(len(probes))
        return [
            [(segment.rows[chosen] @ probe).tobytes() for segment, chosen in zip(segments, slots, strict=True)]
            for probe in probes
        ]


class PlainKeys:
    """Stands for the key service's client."""

    def __init__(self):
        self.fetches = 0

    async def fetch_public(self, name):
        if name not in ("keys/faces", KEY_VERSION):
            raise NotFoundError(Reason.KEY_NOT_FOUND, f"{name} does not exist")
        return PublicMaterial(Scheme.CKKS_PACKED, PROFILE, KEY_VERSION, b"public", b"")

    async def fetch_evaluation(self, name):
        self.fetches += 1
        return PublicMaterial(Scheme.CKKS_PACKED, PROFILE, name, b"public", b"evaluation")


class PlainReencryption:
    """Stands for the key service: what it moves to version n+1 has scores twice as large as under version n.

    Attributes:
        before: Awaited before each batch, with its templates; may raise.
    """

    def __init__(self, comparer):
        self.signer = Signer.generate(KEYS_IDENTITY)
        self.comparer = comparer
        self.batches = []
        self.segments = []
        self.before = None

    async def move_templates(self, source, target, templates):
        if self.before is not None:
            await self.before()
        self.batches.append(len(templates))
        return [self._moved(target, template) for template in templates]

    async def move_segment(self, source, target, space, slots, serialized):
        if self.before is not None:
            await self.before()
        self.segments.append(len(slots))
        segment = self.comparer.new_segment(space)
        rows = self.comparer.segment_from_bytes(serialized, space).rows
        segment.rows[: len(slots)] = (2 if target != source else 1) * rows[slots]
        return segment.to_bytes()

    def _moved(self, target, signed: SignedTemplate):
        statement = verify_template(self.trust, signed, (EMBEDDING_IDENTITY, KEYS_IDENTITY))
        ciphertext = signed.ciphertext[:1] + (2 * _vector(signed.ciphertext)).tobytes()
        moved = replace(statement, key_version=str(target), ciphertext_sha256=hashlib.sha256(ciphertext).digest())
        return sign_template(self.signer, moved, ciphertext)


@dataclass(eq=False)
class DictCache:
    """A shared cache in a dictionary, which can be taken down."""

    entries: dict = field(default_factory=dict)
    is_down: bool = False
    finds: int = 0
    loads: int = 0
    stores: int = 0
    origin: Origin = Origin.REDIS

    def own_places(self):
        return []

    def has(self, place):
        return self.is_down or place in self.entries

    def find(self, place, terms):
        self.finds += 1
        if self.is_down or place not in self.entries:
            return None
        content, serialized = self.entries[place]
        return CachedSegment(place, content, (), len(serialized))

    def load(self, cached):
        content, serialized = self.entries.get(cached.place, (None, None))
        # Another replica may have stored a newer one meanwhile.
        if self.is_down or content is not cached.content:
            return None
        self.loads += 1
        return serialized

    def store(self, place, terms, content, serialized):
        if self.is_down:
            return False
        self.stores += 1
        self.entries[place] = (content, bytes(serialized))
        return True

    def drop(self, place):
        if not self.is_down:
            self.entries.pop(place, None)
        return not self.is_down


@dataclass
class Events:
    """Remembers what it was told."""

    origins: list = field(default_factory=list)
    packed: int = 0
    refused: int = 0
    reachable: bool | None = None
    by_peers: int = 0
    for_peers: int = 0
    retried: Counter = field(default_factory=Counter)

    def segment_obtained(self, origin):
        self.origins.append(origin)

    def templates_packed(self, count):
        self.packed += count

    def cache_reachable(self, is_reachable):
        self.reachable = is_reachable

    def cache_entry_refused(self):
        self.refused += 1

    def segments_scored_by_peers(self, count):
        self.by_peers += count

    def segments_scored_for_peers(self, count):
        self.for_peers += count

    def segments_retried(self, cause, count):
        self.retried[cause] += count


class Embedder:
    """Signs templates as the embedding service does."""

    def __init__(self):
        self.signer = Signer.generate(EMBEDDING_IDENTITY)
        self.extractions = {}

    def template(self, vector, use, **changes):
        ciphertext = changes.pop("ciphertext", use.value[:1].encode() + np.asarray(vector, dtype=np.float64).tobytes())
        values = {
            "key_version": KEY_VERSION,
            "scheme": Scheme.CKKS_PACKED,
            "profile": PROFILE,
            "space": TemplateSpace(DIMENSION),
            "model": MODEL,
            "use": use,
            "ciphertext_sha256": hashlib.sha256(ciphertext).digest(),
            "create_time": datetime(2030, 5, 17, tzinfo=UTC),
        } | changes
        return sign_template(self.signer, TemplateStatement(**values), ciphertext)

    def reference(self, vector, **changes):
        return self.template(vector, TemplateUse.REFERENCE, **changes)

    def probe(self, vector, **changes):
        return self.template(vector, changes.pop("use", TemplateUse.PROBE), **changes)


class World:
    """One replica on a record store; several worlds may share one."""

    def __init__(self, store_url, embedder, shared, comparer, blobs=None, peers=None, signer=None, **limits):
        self.database = Database(store_url)
        migrate(self.database)
        self.embedder = embedder
        self.shared = shared
        self.comparer = comparer
        self.events = Events()
        self.keys = PlainKeys()
        self.reencryption = PlainReencryption(comparer)
        self.operator = Signer.generate(OPERATOR_IDENTITY)
        trust = TrustStore(
            {
                EMBEDDING_IDENTITY: [embedder.signer.public_key_bytes],
                KEYS_IDENTITY: [self.reencryption.signer.public_key_bytes],
                OPERATOR_IDENTITY: [self.operator.public_key_bytes],
            }
        )
        self.reencryption.trust = trust
        self.signer = signer or Signer.generate(MATCHING_IDENTITY)
        self.compute = BoundedPool(2, 64)
        self.storage = BoundedPool(4, 64)
        backends = Backends(
            database=self.database,
            identity=read_identity(self.database),
            caches=shared if isinstance(shared, list) else [shared],
            keys=self.keys,
            reencryption=self.reencryption,
            load_comparer=lambda _: comparer,
            trust=trust,
            signer=self.signer,
            events=self.events,
            compute=self.compute,
            storage=self.storage,
            blobs=blobs,
            peers=peers,
        )
        sizes = {
            "memory_bytes": 1 << 20,
            "window_bytes": 1 << 19,
            "search_bytes": 256 << 20,
            "waiting_searches": 256,
            "remembered_slots": 10_000,
            "ticket_lifetime_s": 120,
            "publish_quiet_s": 0.01,
            "publish_longest_s": 0.1,
            "sweep_s": 3600,
            "fan_out_segments": 2,
            "peer_patience_s": 5,
        }
        self.matching = assemble(backends, Limits(**(sizes | limits)))

    async def create(self, gallery=GALLERY, **changes):
        values = {"name": gallery, "key": KeyName("faces"), "model": "", "dimension": 0, "metric": Metric.COSINE}
        return await self.matching.galleries.create(NewGallery(**(values | changes)))

    async def enroll(self, subject, vector, request_id=None, gallery=GALLERY, labels=None, **changes):
        request_id = request_id or f"{subject}-{hash(np.asarray(vector).tobytes())}"
        # The same face extracted for another request is another template.
        extractions = self.embedder.extractions.setdefault(np.asarray(vector).tobytes(), {})
        number = extractions.setdefault((gallery, request_id), len(extractions))
        template = self.embedder.reference(np.asarray(vector) * (1 + number * 1e-13), **changes)
        return await self.matching.enrollments.enroll(
            NewEnrollment(gallery.subject(subject), labels or {}, request_id, template)
        )

    async def search(self, vector, gallery=GALLERY, **changes):
        """The parts of the answer."""
        return [part async for part in self.matching.search.search(gallery, self.embedder.probe(vector, **changes))]

    async def scores(self, vector, gallery=GALLERY, **changes):
        """Enrollment number -> score."""
        found = {}
        for part in await self.search(vector, gallery, **changes):
            if part.segment is None:
                continue
            numbers = [
                run.first_enrollment + offset for run in part.segment.directory.runs for offset in range(run.count)
            ]
            scores = np.frombuffer(part.segment.scores.ciphertext)
            assert self.ticket(part.segment.scores).score_count == len(scores) == len(numbers)
            found |= dict(zip(numbers, scores.tolist(), strict=True))
        return found

    def ticket(self, signed):
        trust = TrustStore({MATCHING_IDENTITY: [self.signer.public_key_bytes]})
        return verify_scores(trust, signed, datetime.now(UTC))

    async def until_expanded(self, count):
        """Wait until so many probes are ready, and what they go on to is under way."""
        async with asyncio.timeout(20):
            while self.comparer.expanded < count:
                await asyncio.sleep(0.005)
        await self.compute.run(int)
        await asyncio.sleep(0.02)

    async def settle(self):
        """Wait until what goes on in the background is done."""
        await self.matching.packer.idle()
        await self.matching.publisher.flush()

    async def close(self):
        await self.matching.close()
        self.compute.close()
        self.storage.close()
        self.database.close()


def _vector(ciphertext):
    return np.frombuffer(ciphertext[1:])


@pytest.fixture
def embedder():
    return Embedder()


@pytest.fixture
def shared():
    return DictCache()


def pytest_generate_tests(metafunc):
    """A module that sets ON_BOTH_DATABASES has each of its tests run on SQLite and on PostgreSQL."""
    if "store_url" in metafunc.fixturenames and getattr(metafunc.module, "ON_BOTH_DATABASES", False):
        metafunc.parametrize("store_url", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def store_url(request, tmp_path):
    """The URL of an empty record store: SQLite, unless the test is run on both."""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield f"sqlite:///{tmp_path}/matching.db"
        return
    with request.getfixturevalue("postgresql").database() as url:
        yield url


@pytest.fixture
async def make_world(store_url, embedder, shared):
    """Makes replicas; all of them share the record store and the cache unless told otherwise."""
    worlds = []

    def make(comparer=None, shared_cache=shared, **limits):
        world = World(store_url, embedder, shared_cache, comparer or PlainComparer(), **limits)
        worlds.append(world)
        return world

    yield make
    for world in worlds:
        await world.close()


@pytest.fixture
async def world(make_world):
    world = make_world()
    await world.create()
    return world


@pytest.fixture
def loop_comparer():
    """A scheme without segments."""
    return PlainComparer(supports_search=False)


@pytest.fixture
def database(store_url):
    database = Database(store_url)
    migrate(database)
    yield database
    database.close()


@pytest.fixture
def events():
    return Events()
