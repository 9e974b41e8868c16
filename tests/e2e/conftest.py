"""The real stack, started once: three services as processes with mutual TLS, SQLite and an embedded Redis."""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.faces import LabelledFaces, labelled_faces
from veilface.cli.local_stack.signals import interrupted_by_signals
from veilface.cli.local_stack.stack import LocalStack
from veilface.client import VeilfaceClient
from veilface.common.attested import SignedTemplate
from veilface.common.errors import VeilfaceError
from veilface.crypto.contract import Metric, TemplateUse
from veilface.embedding.domain.image.decoding import ImageLimits, decode_image
from veilface.embedding.domain.normalization import l2_normalize
from veilface.embedding.models.building import build_pipelines
from veilface.embedding.settings import DEFAULT_PIPELINE
from veilface.keys.conversion.policy import policy_to_proto
from veilface.keys.domain.policy import UNLIMITED, KeyPolicy
from veilface.keys.domain.thresholds import ThresholdTable

READY_TIMEOUT_S = 240.0
# The largest cosine error of the encrypted comparison that the project allows.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Templates:
    """Every photograph extracted once for each side, under a key without quotas, to be compared again and again."""

    key: str
    references: Mapping[Path, SignedTemplate]
    probes: Mapping[Path, SignedTemplate]


@dataclass(frozen=True)
class Plaintext:
    """The same photographs in the clear, in this process: L2-normalised float64 embeddings, and the threshold."""

    embeddings: Mapping[Path, NDArray[np.float64]]
    threshold: float

    def cosine(self, first: Path, second: Path) -> float:
        return float(self.embeddings[first] @ self.embeddings[second])


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    with (
        # A run that is told to stop takes its processes with it.
        interrupted_by_signals(),
        tempfile.TemporaryDirectory(prefix="veilface-e2e-") as folder,
        LocalStack(Path(folder), ready_timeout_s=READY_TIMEOUT_S) as running,
    ):
        running.ensure_key()
        yield running


@pytest.fixture
def client(stack: LocalStack) -> Iterator[VeilfaceClient]:
    with stack.client() as connected:
        yield connected


@pytest.fixture
def operator(stack: LocalStack) -> Iterator[VeilfaceClient]:
    with stack.client("operator") as connected:
        yield connected


@pytest.fixture(scope="session")
def faces() -> LabelledFaces:
    return labelled_faces()


@pytest.fixture(scope="session")
def templates(stack: LocalStack, faces: LabelledFaces) -> Templates:
    # Tests ask about the same few people again and again, as the quotas of a real key should not allow.
    with stack.client("operator") as operator:
        operator.keys.create("photographs", policy=policy_to_proto(KeyPolicy(quotas=UNLIMITED)))
    with stack.client() as client:

        def extract(use: TemplateUse) -> dict[Path, SignedTemplate]:
            extracted = {}
            for position, extraction in client.extract_many(faces.photographs, use, key="photographs"):
                assert not isinstance(extraction, VeilfaceError), extraction
                (face,) = extraction.faces
                extracted[faces.photographs[position]] = face.template
            return extracted

        return Templates("photographs", extract(TemplateUse.REFERENCE), extract(TemplateUse.PROBE))


@pytest.fixture(scope="session")
def plaintext(faces: LabelledFaces) -> Plaintext:
    pipeline = build_pipelines((DEFAULT_PIPELINE,), Path.home(), 1).default
    embeddings = {}
    for path in faces.photographs:
        (face,) = pipeline.finder.find(decode_image(path.read_bytes(), ImageLimits()))
        embeddings[path] = l2_normalize(pipeline.embedder.embed(face.aligned))
    threshold = ThresholdTable.load(None).resolve(pipeline.name, Metric.COSINE, "", ())
    return Plaintext(embeddings, threshold.value)
