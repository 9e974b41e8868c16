"""The same pairs through a local stack of three services: encrypted, compared, decided."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from veilface.cli.demo.collection import Pair
from veilface.cli.evaluation.operating_points import OperatingPoint
from veilface.cli.evaluation.scores import score_of, similarity
from veilface.cli.evaluation.staircase import Staircase
from veilface.cli.local_stack.stack import LocalStack, Started
from veilface.client import VeilfaceClient
from veilface.client.faces import FaceSelection
from veilface.common.attested import SignedTemplate
from veilface.common.errors import DataLossError, Reason, VeilfaceError
from veilface.crypto.contract import Metric, Scheme, TemplateUse, probe_use_of
from veilface.keys.conversion.policy import policy_to_proto
from veilface.keys.domain.policy import UNLIMITED, KeyPolicy, Release, ThresholdOverride

KEY: Final = "evaluation"


class Progress(Protocol):
    """Shows how far a part has come: called with its name and its size, entered, and called after each item."""

    def __call__(self, what: str, total: int) -> AbstractContextManager[Callable[[], None]]:
        """Begin a part."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptedRun:
    """How to run pairs through a stack.

    Attributes:
        pipeline: The recognition pipeline.
        metric: What the key service's scores measure.
        scheme: How templates are encrypted.
        profile: The parameters; empty selects the scheme's default.
        selection: Which face of a photograph is taken.
        points: The operating points to decide at.
        staircase: More thresholds.
        settings: Settings of the services by their fields' names.
    """

    pipeline: str
    metric: Metric
    scheme: Scheme
    profile: str
    selection: FaceSelection
    points: Sequence[OperatingPoint]
    staircase: Staircase
    settings: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class EncryptedDecisions:
    """What the key service decided.

    Attributes:
        pairs: Those that were asked about.
        passed: The strictest threshold that each passes, as a similarity; shape (pairs,). Minus infinity for none.
        profile: The parameters of the key.
    """

    pairs: tuple[Pair, ...]
    passed: NDArray[np.float64] = field(repr=False)
    profile: str

    def matches(self, threshold: float) -> NDArray[np.bool_]:
        """The decisions at one of the thresholds, as a similarity; shape (pairs,)."""
        return self.passed >= threshold


def decide_encrypted(
    pairs: Sequence[Pair], run: EncryptedRun, progress: Progress, on_started: Callable[[Started], None]
) -> EncryptedDecisions:
    """Start a stack in a temporary folder, have every pair decided, and stop it.

    Raises:
        VeilfaceError: If a service fails or refuses a photograph that could be used in this process.
    """
    with (
        tempfile.TemporaryDirectory(prefix="veilface-evaluate-") as folder,
        # Only a service for research lets one key have as many operating points as a staircase has steps.
        LocalStack(Path(folder), on_started=on_started, settings={**run.settings, "research": "true"}) as stack,
    ):
        with stack.client("operator") as operator:
            policy = policy_to_proto(evaluation_policy(run))
            profile = operator.keys.create(KEY, run.scheme, run.profile, policy).profile
        with stack.client() as client:
            return EncryptedDecisions(tuple(pairs), _decide(client, pairs, run, progress), profile)


def evaluation_policy(run: EncryptedRun) -> KeyPolicy:
    """A policy that no other key should have: it answers without limit, and in small bands."""
    thresholds = {point.name: point.threshold for point in run.points}
    for step, value in enumerate(run.staircase.thresholds):
        thresholds[run.staircase.name(step)] = score_of(float(value), run.metric)
    return KeyPolicy(
        release=Release.BANDED,
        plaintext_probe=probe_use_of(run.scheme) is TemplateUse.PLAINTEXT_PROBE,
        quotas=UNLIMITED,
        thresholds=tuple(
            ThresholdOverride(model=run.pipeline, metric=run.metric, operating_point=name, threshold=value)
            for name, value in thresholds.items()
        ),
    )


def _decide(
    client: VeilfaceClient, pairs: Sequence[Pair], run: EncryptedRun, progress: Progress
) -> NDArray[np.float64]:
    probe_use = probe_use_of(run.scheme)
    references = _templates(client, {pair.reference for pair in pairs}, TemplateUse.REFERENCE, run, progress)
    probes = _templates(client, {pair.probe for pair in pairs}, probe_use, run, progress)
    values = {override.operating_point: override.threshold for override in evaluation_policy(run).thresholds}
    asked = run.points[0].name if run.points else run.staircase.name(0)
    passed = []
    with progress("deciding encrypted pairs", len(pairs)) as advance:
        for pair in pairs:
            answer = client.compare_templates(references[pair.reference], probes[pair.probe], operating_point=asked)
            band = similarity(values[answer.band], run.metric) if answer.band else -np.inf
            if answer.is_match != (band >= similarity(values[asked], run.metric)):
                raise DataLossError(Reason.DATA_LOSS, "the key service's decision and band contradict each other")
            passed.append(band)
            advance()
    return np.array(passed)


def _templates(
    client: VeilfaceClient, photographs: set[Path], use: TemplateUse, run: EncryptedRun, progress: Progress
) -> dict[Path, SignedTemplate]:
    ordered = sorted(photographs)
    templates = {}
    with progress(f"encrypting {use}s", len(ordered)) as advance:
        extractions = client.extract_many(
            ordered, use, key=KEY, faces=run.selection, model=run.pipeline, metric=run.metric
        )
        for position, extraction in extractions:
            if isinstance(extraction, VeilfaceError):
                raise extraction
            templates[ordered[position]] = extraction.faces[0].template
            advance()
    return templates
