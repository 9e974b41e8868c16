"""What an evaluation found out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from veilface.cli.evaluation.agreement import Agreement, agreement_at, agreement_over
from veilface.cli.evaluation.calibration import Calibrated
from veilface.cli.evaluation.dataset import Dataset
from veilface.cli.evaluation.encrypted import EncryptedDecisions
from veilface.cli.evaluation.metrics import ErrorRates, Rate, Separation, error_rates, separation
from veilface.cli.evaluation.operating_points import MeasuredPoint
from veilface.cli.evaluation.scores import LabelledScores, similarity
from veilface.cli.evaluation.staircase import Staircase, passed_threshold
from veilface.common.errors import VeilfaceError
from veilface.crypto.contract import Metric, Scheme


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptedFindings:
    """Decisions of a real stack beside what float64 gives on the same pairs.

    Attributes:
        scheme: How templates were encrypted.
        decisions: What was decided.
        plain: Similarities of the decided pairs in float64.
        thresholds: All that were decided at, as similarities, ascending.
        tolerance: How far encryption with this profile may move a score of these embeddings.
        seconds: How long it took, with starting and stopping the stack.
    """

    scheme: Scheme
    decisions: EncryptedDecisions = field(repr=False)
    plain: LabelledScores = field(repr=False)
    thresholds: NDArray[np.float64] = field(repr=False)
    tolerance: float
    seconds: float

    @property
    def encrypted(self) -> LabelledScores:
        """The strictest thresholds passed, in place of similarities that nobody may see."""
        below = self.thresholds[0] - 1
        return LabelledScores(np.maximum(self.decisions.passed, below), self.plain.is_mated)

    @property
    def before(self) -> Separation:
        """In float64, from the strictest threshold that each pair passes, so that it can be compared with `after`."""
        passed = passed_threshold(self.plain.similarities, self.thresholds)
        return separation(LabelledScores(passed, self.plain.is_mated))

    @property
    def after(self) -> Separation:
        """From the decisions of the key service."""
        return separation(self.encrypted)

    def agreement(self, threshold: float) -> Agreement:
        """At one threshold, as a similarity."""
        return agreement_at(self.plain.similarities, self.decisions, threshold, self.tolerance)

    def rates(self, threshold: float) -> ErrorRates:
        """The errors of the encrypted decisions at one threshold, as a similarity."""
        return error_rates(self.encrypted, threshold)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Everything that was measured.

    Attributes:
        dataset: The photographs that could be used, and their pairs.
        failed: Photographs that could not be used, and why.
        pipeline: The recognition pipeline.
        dimension: Of its embeddings.
        metric: The unit of scores and thresholds.
        scores: Of all pairs, in float64.
        rank_1: Every photograph searched among all others.
        points: Operating points and their errors in float64, strictest first.
        calibrated: What was chosen here; empty if nothing was to be.
        staircase: Thresholds of the error curves.
        encrypted: None if that was not asked for.
        seconds: How long everything took.
    """

    dataset: Dataset
    failed: Sequence[tuple[Path, VeilfaceError]]
    pipeline: str
    dimension: int
    metric: Metric
    scores: LabelledScores
    rank_1: Rate
    points: Sequence[MeasuredPoint]
    calibrated: Sequence[Calibrated]
    staircase: Staircase
    encrypted: EncryptedFindings | None
    seconds: float

    @property
    def separation(self) -> Separation:
        """AUC, EER and d' in float64."""
        return separation(self.scores)

    @property
    def agreement_at_points(self) -> Agreement:
        """Of the decisions at the operating points."""
        return self._agreement([similarity(each.point.threshold, self.metric) for each in self.points])

    @property
    def agreement_everywhere(self) -> Agreement:
        """Of the decisions at all thresholds."""
        points = [similarity(each.point.threshold, self.metric) for each in self.points]
        return self._agreement([*points, *map(float, self.staircase.thresholds)])

    @property
    def is_unchanged_by_encryption(self) -> bool:
        """Whether no decision differs outside of the tolerance; True if none was encrypted."""
        return self.agreement_everywhere.different == 0

    def _agreement(self, thresholds: Sequence[float]) -> Agreement:
        if self.encrypted is None:
            return Agreement(0, 0, 0, 0)
        encrypted = self.encrypted
        return agreement_over(encrypted.plain.similarities, encrypted.decisions, thresholds, encrypted.tolerance)
