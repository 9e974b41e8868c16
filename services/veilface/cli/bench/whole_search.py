"""Bulk import into a real local stack, and whole searches of what was imported, through gRPC and mutual TLS."""

import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from veilface.cli.bench.measurement import Measurement, against, progress, seconds
from veilface.cli.bench.subjects import unit_vectors
from veilface.cli.local_stack.stack import LocalStack
from veilface.client import VeilfaceClient
from veilface.client.import_source import ImportSource
from veilface.client.imports import ImportReport
from veilface.client.results import Identification
from veilface.client.steps import Service, Step
from veilface.common.attested import SignedTemplate, TemplateStatement, sign_template
from veilface.common.errors import DataLossError, Reason
from veilface.common.identities import EMBEDDING_IDENTITY
from veilface.common.settings import environment_name
from veilface.common.signing import Signer
from veilface.crypto.contract import TemplateSpace, TemplateUse
from veilface.crypto.public.packed.parallel import worker_count
from veilface.crypto.public.registry import load_encryptor

# Thresholds are published for models; the embeddings are random.
_MODEL = "dlib-resnet/hog/chip"
_GALLERY = "bench"
_WARM_SEARCHES = 5
_PROBE_COSINE = 0.97
# What is beside the segments that stay: a quarter of the budget is for those that do not.
_BUDGET_FACTOR = 1.4
_SMALLEST_BUDGET_BYTES = 64 << 20
_BYTES_PER_COORDINATE = 16
_LARGEST_SEGMENT_SLOTS = 8192


@dataclass(frozen=True, slots=True)
class _Search:
    """One whole search."""

    seconds: float
    identification: Identification

    def step(self, service: Service) -> Step:
        return next(step for step in self.identification.steps if step.service is service)

    @property
    def expand_s(self) -> float:
        return self.identification.statistics.expand_time.total_seconds()

    @property
    def score_s(self) -> float:
        return self.identification.statistics.score_time.total_seconds()

    @property
    def transfer_s(self) -> float:
        return self.step(Service.MATCHING).milliseconds / 1e3 - self.expand_s - self.score_s

    @property
    def decide_s(self) -> float:
        return self.step(Service.KEYS).milliseconds / 1e3

    @property
    def client_s(self) -> float:
        return self.seconds - sum(step.milliseconds for step in self.identification.steps) / 1e3


def measure_whole_search(count: int, dim: int) -> list[Measurement]:
    """Import `count` random embeddings into a stack in a temporary folder and search them."""
    progress(f"making {count:,} embeddings of {dim} dimensions")
    vectors = unit_vectors(count, dim, 1)
    target = count // 2
    with tempfile.TemporaryDirectory(prefix="veilface-bench-") as folder, _memory_for(count, dim):
        progress("starting a local stack")
        with LocalStack(Path(folder)) as stack:
            stack.ensure_key()
            report = _import(stack, vectors)
            probe, probe_vector = _probe(stack, vectors[target])
            with stack.client() as client:
                progress("searching")
                first = _search(client, probe, target)
                warm = [_search(client, probe, target) for _ in range(_WARM_SEARCHES)]
            resident = {name: _peak_resident_bytes(stack.process(name).pid or 0) for name in ("matching", "keys")}
    single = probe_vector.astype(np.float32)
    numpy_s = seconds(lambda: int(np.argmax(vectors @ single)), 3)
    best = min(warm, key=lambda search: search.seconds)
    return (
        _report_import(report) + _report_search(count, dim, first, best, numpy_s) + _report_memory(count, dim, resident)
    )


@contextmanager
def _memory_for(count: int, dim: int) -> Iterator[None]:
    """Let the stack's matching service keep the whole gallery, unless the environment says how much it may keep."""
    name = environment_name("segment_memory_bytes")
    if name in os.environ:
        yield
        return
    slots = count + _LARGEST_SEGMENT_SLOTS
    budget = max(_SMALLEST_BUDGET_BYTES, int(slots * dim * _BYTES_PER_COORDINATE * _BUDGET_FACTOR))
    os.environ[name] = str(budget)
    try:
        yield
    finally:
        del os.environ[name]


def _import(stack: LocalStack, vectors: NDArray[np.float32]) -> ImportReport:
    count, dim = vectors.shape
    source = ImportSource(vectors, tuple(f"person-{number}" for number in range(count)))
    done = 0
    told_s = time.monotonic()

    def tell(more: int) -> None:
        nonlocal done, told_s
        done += more
        if time.monotonic() - told_s > 10:
            told_s = time.monotonic()
            progress(f"imported {done:,} of {count:,}")

    with stack.client("operator") as client:
        gallery = client.galleries.create(_GALLERY, model=_MODEL, dimension=dim)
        return client.imports.run(gallery, source, on_progress=tell)


def _probe(stack: LocalStack, face: NDArray[np.float32]) -> tuple[SignedTemplate, NDArray[np.float64]]:
    """A probe of the same person, signed with the stack's embedding key: its service makes templates of images only."""
    exact = face.astype(np.float64)
    noise = np.random.default_rng(2).standard_normal(exact.size)
    noise -= (noise @ exact) * exact / (exact @ exact)
    vector = _PROBE_COSINE * exact + np.sqrt(1 - _PROBE_COSINE**2) * noise / np.linalg.norm(noise)
    vector /= np.linalg.norm(vector)
    with stack.client("operator") as client:
        key_version = client.galleries.get(_GALLERY).key_version
        material = client.public_keys.fetch(key_version)
    space = TemplateSpace(exact.size)
    ciphertext = load_encryptor(material).encrypt(vector, space, TemplateUse.PROBE)
    statement = TemplateStatement(
        key_version=key_version,
        scheme=material.scheme,
        profile=material.profile,
        space=space,
        model=_MODEL,
        use=TemplateUse.PROBE,
        ciphertext_sha256=hashlib.sha256(ciphertext).digest(),
        create_time=datetime.now(UTC),
    )
    signer = Signer.from_file(stack.layout.signing / "embedding.key", EMBEDDING_IDENTITY)
    return sign_template(signer, statement, ciphertext), vector


def _search(client: VeilfaceClient, probe: SignedTemplate, target: int) -> _Search:
    begin_s = time.perf_counter()
    identification = client.identify_template(_GALLERY, probe)
    elapsed_s = time.perf_counter() - begin_s
    found = [candidate.subject for candidate in identification.candidates]
    if found != [f"person-{target}"]:
        raise DataLossError(Reason.DATA_LOSS, f"the search found {found or 'nobody'}, not the person asked about")
    return _Search(elapsed_s, identification)


def _report_import(report: ImportReport) -> list[Measurement]:
    def number(name: str, value: float, unit: str, note: str = "") -> Measurement:
        return Measurement(
            name,
            value,
            unit,
            n=report.enrollment_count,
            dim=report.dimension,
            threads=worker_count(),
            note=note,
        )

    return [
        number("import, encrypted and stored", report.seconds, "s", "through the matching service, durable"),
        number("import, per template", report.seconds / report.enrollment_count * 1e6, "us"),
        number("import, encryption of a segment", report.encrypt_s / report.segment_count * 1e3, "ms"),
        number("import, sending and storing a segment", report.send_s / report.segment_count * 1e3, "ms"),
        number("gallery on disk", report.sent_bytes, "bytes"),
    ]


def _report_search(count: int, dim: int, first: _Search, best: _Search, numpy_s: float) -> list[Measurement]:
    threads = worker_count()

    def number(name: str, value: float, unit: str, note: str = "") -> Measurement:
        return Measurement(name, value, unit, n=count, dim=dim, threads=threads, note=note)

    def time_of(name: str, value_s: float, note: str = "") -> Measurement:
        return number(name, value_s * 1e3, "ms", note)

    matching, keys = best.step(Service.MATCHING), best.step(Service.KEYS)
    statistics = best.identification.statistics
    origins = (
        f"{statistics.segments_from_memory} of {statistics.segment_count} segments from memory, "
        f"{statistics.segments_from_disk} from disk; probe signed with the stack's embedding key"
    )
    return [
        against(time_of("whole search, warm", best.seconds, origins), "numpy float32 argmax(X @ v)", numpy_s * 1e3),
        time_of("  expand", best.expand_s),
        time_of("  score", best.score_s, f"{statistics.gallery_bytes / best.score_s / 1e9:.1f} GB/s"),
        time_of("  sign and transfer", best.transfer_s, "the rest of SearchGallery"),
        time_of("  decide", best.decide_s, "DecideIdentification"),
        time_of("  client", best.client_s),
        time_of("whole search, the first one", first.seconds, "opens every segment and sends the directories"),
        number("directories of the first search", _directory_bytes(first, best), "bytes"),
        number("SearchGallery, received", matching.received_bytes, "bytes"),
        number("SearchGallery, received per score", matching.received_bytes / count, "bytes"),
        number("SearchGallery, sent", matching.sent_bytes, "bytes"),
        number("DecideIdentification, sent", keys.sent_bytes, "bytes"),
    ]


def _directory_bytes(first: _Search, later: _Search) -> int:
    return first.step(Service.MATCHING).received_bytes - later.step(Service.MATCHING).received_bytes


def _report_memory(count: int, dim: int, resident: dict[str, int]) -> list[Measurement]:
    return [
        Measurement(f"peak resident memory, {name} service", size / 2**30, "GiB", n=count, dim=dim)
        for name, size in resident.items()
    ]


def _peak_resident_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0
