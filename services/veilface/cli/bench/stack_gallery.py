"""A gallery imported into a real local stack, and searches of it through gRPC and mutual TLS."""

import hashlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from veilface.cli.bench.machine import available_memory_bytes
from veilface.cli.bench.measurement import Sheet, progress
from veilface.cli.bench.subjects import gallery_bytes, probe_of, unit_vectors
from veilface.cli.local_stack.stack import LocalStack
from veilface.client import VeilfaceClient
from veilface.client.import_source import ImportSource
from veilface.client.imports import ImportReport
from veilface.client.results import Identification
from veilface.client.steps import Service, Step
from veilface.common.attested import SignedTemplate, TemplateStatement, sign_template
from veilface.common.errors import ConfigurationError, DataLossError, Reason
from veilface.common.identities import EMBEDDING_IDENTITY
from veilface.common.settings import MEBIBYTE
from veilface.common.signing import Signer
from veilface.crypto.contract import Scheme, TemplateSpace, TemplateUse
from veilface.crypto.public.packed.parallel import worker_count
from veilface.crypto.public.registry import load_encryptor
from veilface.keys.conversion.policy import policy_to_proto
from veilface.keys.domain.policy import UNLIMITED, KeyPolicy

# Thresholds are published for models; the embeddings are random.
_MODEL: Final = "dlib-resnet/hog/chip"
_NAME: Final = "bench"
_PROBE_COSINE: Final = 0.97
# What is beside the segments that stay: a quarter of the budget is for those that do not.
_BUDGET_FACTOR: Final = 1.4
_SMALLEST_BUDGET_BYTES: Final = 64 * MEBIBYTE
# What may be taken of the memory that is available; the rest is for the other processes and the page cache.
_SHARE_OF_AVAILABLE: Final = 0.6
# The segments themselves, and the record store beside them.
_DISK_FACTOR: Final = 1.1
_SERVICES: Final = ("matching", "keys")


@dataclass(frozen=True, slots=True)
class WholeSearch:
    """One search, from the caller's probe to the answer."""

    seconds: float
    identification: Identification

    def step(self, service: Service) -> Step:
        """The one call of a service."""
        return next(step for step in self.identification.steps if step.service is service)


@dataclass(frozen=True, slots=True)
class StackGallery:
    """Random embeddings, in the clear here and encrypted in a stack.

    Attributes:
        report: How they were imported.
        memory_budget_bytes: What the matching service may take for segments.
    """

    stack: LocalStack
    vectors: NDArray[np.float32]
    report: ImportReport
    memory_budget_bytes: int

    def probe(self, target: int) -> SignedTemplate:
        """A probe of the person at that position, signed with the stack's embedding key.

        Its service makes templates of images only.
        """
        with self.stack.client("operator") as client:
            key_version = client.galleries.get(_NAME).key_version
            material = client.public_keys.fetch(key_version)
        vector = self.probe_vector(target)
        space = TemplateSpace(vector.size)
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
        signer = Signer.from_file(self.stack.layout.signing / "embedding.key", EMBEDDING_IDENTITY)
        return sign_template(signer, statement, ciphertext)

    def probe_vector(self, target: int) -> NDArray[np.float64]:
        """What that probe encrypts."""
        return probe_of(self.vectors[target], _PROBE_COSINE, target)

    def search(self, client: VeilfaceClient, probe: SignedTemplate, target: int) -> WholeSearch:
        """Search, and check that the person asked about is found. Raises DataLossError if not."""
        begin_s = time.perf_counter()
        identification = client.identify_template(_NAME, probe)
        elapsed_s = time.perf_counter() - begin_s
        found = [candidate.subject for candidate in identification.candidates]
        if found != [_subject_id(target)]:
            raise DataLossError(Reason.DATA_LOSS, f"the search found {found or 'nobody'}, not the person asked about")
        return WholeSearch(elapsed_s, identification)

    def add_memory(self, sheet: Sheet) -> None:
        """Add the rows of what the services were allowed and what they took; call it while they run."""
        sheet.add("memory budget, matching service", self.memory_budget_bytes / 2**30, "GiB")
        for name in _SERVICES:
            resident_bytes = _peak_resident_bytes(self.stack.process(name).pid or 0)
            sheet.add(f"peak resident memory, {name} service", resident_bytes / 2**30, "GiB")


@contextmanager
def stack_gallery(profile: str, count: int, dim: int, memory_budget_bytes: int | None) -> Iterator[StackGallery]:
    """Import `count` random embeddings into a stack in a temporary folder.

    Args:
        memory_budget_bytes: What the matching service may take for segments; None: the whole gallery, as far as this
            machine's memory goes.

    Raises:
        ConfigurationError: INVALID_SETTING without enough room on the disk.
    """
    with tempfile.TemporaryDirectory(prefix="veilface-bench-") as folder:
        segment_bytes = gallery_bytes(profile, count, dim)
        _check_disk(Path(folder), segment_bytes)
        progress(f"making {count:,} embeddings of {dim} dimensions")
        vectors = unit_vectors(count, dim, 1)
        budget_bytes = memory_budget_bytes or default_budget_bytes(segment_bytes, available_memory_bytes())
        settings = {"segment_memory_bytes": str(budget_bytes), "crypto_threads": str(worker_count())}
        progress("starting a local stack")
        with LocalStack(Path(folder), settings=settings) as stack:
            yield StackGallery(stack, vectors, _import(stack, profile, vectors), budget_bytes)


def default_budget_bytes(segment_bytes: int, available_bytes: int) -> int:
    """What lets the matching service keep all segments, but no more than the machine can spare."""
    wanted = int(segment_bytes * _BUDGET_FACTOR)
    return max(_SMALLEST_BUDGET_BYTES, min(wanted, int(available_bytes * _SHARE_OF_AVAILABLE)))


def _check_disk(folder: Path, segment_bytes: int) -> None:
    needed = int(segment_bytes * _DISK_FACTOR)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ConfigurationError(
            Reason.INVALID_SETTING,
            f"the gallery needs {needed / 1e9:.1f} GB on disk and {folder.parent} has {free / 1e9:.1f} GB: choose a "
            "smaller --n, or set TMPDIR to a folder with more room",
        )


def _import(stack: LocalStack, profile: str, vectors: NDArray[np.float32]) -> ImportReport:
    count, dim = vectors.shape
    source = ImportSource(vectors, tuple(_subject_id(number) for number in range(count)))
    done = 0
    told_s = time.monotonic()

    def tell(more: int) -> None:
        nonlocal done, told_s
        done += more
        if time.monotonic() - told_s > 10:
            told_s = time.monotonic()
            progress(f"imported {done:,} of {count:,}")

    # The same few people are asked about again and again, which the shipped quotas are there to stop.
    policy = KeyPolicy(quotas=UNLIMITED)
    with stack.client("operator") as client:
        client.keys.create(_NAME, Scheme.CKKS_PACKED, profile, policy_to_proto(policy))
        gallery = client.galleries.create(_NAME, _NAME, model=_MODEL, dimension=dim)
        return client.imports.run(gallery, source, on_progress=tell)


def _subject_id(number: int) -> str:
    return f"person-{number}"


def _peak_resident_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0
