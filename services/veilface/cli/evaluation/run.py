"""Runs an evaluation: embed in the clear, measure, calibrate, and decide the same pairs encrypted."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from rich.markup import escape

from veilface.cli.evaluation.calibration import (
    Calibrated,
    calibrate,
    source_text,
    threshold_entries,
    write_thresholds,
)
from veilface.cli.evaluation.dataset import Dataset, dataset_from_folder
from veilface.cli.evaluation.embedding import embed, load_pipeline
from veilface.cli.evaluation.encrypted import EncryptedRun, decide_encrypted
from veilface.cli.evaluation.findings import EncryptedFindings, Evaluation
from veilface.cli.evaluation.metrics import rank_one
from veilface.cli.evaluation.operating_points import OperatingPoint, known_points, measure_points, replaced
from veilface.cli.evaluation.report import document, tables
from veilface.cli.evaluation.scores import LabelledScores, pair_similarities, similarity
from veilface.cli.evaluation.staircase import Staircase
from veilface.cli.exit_codes import ExitCode
from veilface.cli.local_stack.signals import interrupted_by_signals
from veilface.cli.local_stack.stack import Started
from veilface.cli.output import Output
from veilface.cli.progress import progress_bar
from veilface.client.faces import FaceSelection
from veilface.crypto.contract import Metric, Scheme, TemplateSpace
from veilface.crypto.public.registry import default_profile, score_tolerance
from veilface.embedding.domain.face.selection import FaceSelection as FaceSelectionRule
from veilface.embedding.domain.pipeline import Pipeline
from veilface.keys.domain.thresholds import PUBLISHED, read_thresholds, with_published

_SEED: Final = 20_260_101


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to evaluate.

    Attributes:
        photographs: The folder.
        pipeline: The recognition pipeline.
        metric: What scores measure.
        selection: Which face of a photograph is taken.
        deepface_home: The folder above .deepface/weights.
        downloads: Whether DeepFace may download weight files.
        threshold_file: Thresholds beside the published ones.
        calibrated_fmr: The false match rate to choose thresholds for; None: choose none.
        calibration_file: Where to write them.
        encrypted: Whether to decide pairs encrypted too.
        encrypted_pairs: How many pairs at most.
        scheme: How to encrypt them.
        profile: The parameters; empty selects the scheme's default.
        plot: The image to draw; None: draw none.
    """

    photographs: Path
    pipeline: str
    metric: Metric
    selection: FaceSelection
    deepface_home: Path
    downloads: bool
    threshold_file: Path | None
    calibrated_fmr: float | None
    calibration_file: Path
    encrypted: bool
    encrypted_pairs: int
    scheme: Scheme
    profile: str
    plot: Path | None


def run_evaluation(request: Request, output: Output) -> ExitCode:
    """Evaluate and report.

    Returns:
        DONE, or NO_MATCH if encryption changed a decision outside of the tolerance.

    Raises:
        VeilfaceError: If the photographs or the pipeline cannot be used, or a service fails.
    """
    if request.plot is not None:
        from veilface.cli.evaluation.plot import check_plot

        check_plot(request.plot)
    evaluation = evaluate(request, output)
    if request.plot is not None:
        from veilface.cli.evaluation.plot import draw

        draw(evaluation, request.plot)
    output.show(document(evaluation), *tables(evaluation))
    if evaluation.calibrated:
        output.note(f"thresholds written to {escape(str(request.calibration_file))}: set VEILFACE_THRESHOLD_FILE to it")
    if request.plot is not None:
        output.note(f"plot written to {escape(str(request.plot))}")
    return ExitCode.DONE if evaluation.is_unchanged_by_encryption else ExitCode.NO_MATCH


def evaluate(request: Request, output: Output) -> Evaluation:
    """Evaluate; write the calibrated thresholds, if any were asked for."""
    began_s = time.monotonic()
    labelled = dataset_from_folder(request.photographs)
    labelled.require_both_kinds()
    known = PUBLISHED if request.threshold_file is None else with_published(read_thresholds(request.threshold_file))
    points = known_points(known, request.pipeline, request.metric)
    pipeline = load_pipeline(request.pipeline, request.deepface_home, request.downloads)
    if pipeline.scope is not None:
        pipeline.check(request.scheme, request.metric)
    profile = request.profile or default_profile(request.scheme)
    tolerance = score_tolerance(request.scheme, profile, TemplateSpace(pipeline.dimension, request.metric))
    with progress_bar(output, "embedding in the clear", len(labelled.photographs)) as advance:
        embedded = embed(labelled.photographs, pipeline, FaceSelectionRule[request.selection.name], advance)
    usable = labelled.without(frozenset(path for path, _ in embedded.failed))
    usable.require_both_kinds()
    scores = LabelledScores(pair_similarities(embedded.vectors, *usable.indices(), request.metric), usable.truth())
    calibrated = _calibrate(request, usable, scores)
    points = replaced(
        points, (each.point(source_text(each, usable.description)) for each in calibrated), request.metric
    )
    staircase = Staircase.over(scores, tolerance)
    encrypted = None
    if request.encrypted:
        encrypted = _encrypt(request, pipeline, usable, scores, points, staircase, tolerance, output)
    return Evaluation(
        dataset=usable,
        failed=embedded.failed,
        pipeline=pipeline.name,
        dimension=pipeline.dimension,
        metric=request.metric,
        scores=scores,
        rank_1=rank_one(embedded.vectors, usable.subjects),
        points=measure_points(scores, points, request.metric),
        calibrated=calibrated,
        staircase=staircase,
        encrypted=encrypted,
        seconds=time.monotonic() - began_s,
    )


def chosen_pairs(is_mated: NDArray[np.bool_], most: int) -> NDArray[np.intp]:
    """The positions of at most so many pairs, ascending: all, or a fixed sample, half of it mated if it can be."""
    if is_mated.size <= most:
        return np.arange(is_mated.size)
    random = np.random.default_rng(_SEED)
    mated, others = np.flatnonzero(is_mated), np.flatnonzero(~is_mated)
    mated_count = min(mated.size, max(most // 2, most - others.size))
    chosen = (
        random.choice(mated, mated_count, replace=False),
        random.choice(others, most - mated_count, replace=False),
    )
    return np.sort(np.concatenate(chosen))


def _calibrate(request: Request, data: Dataset, scores: LabelledScores) -> tuple[Calibrated, ...]:
    if request.calibrated_fmr is None:
        return ()
    calibrated = calibrate(scores, request.calibrated_fmr, request.metric)
    today = datetime.now(UTC).date()
    entries = threshold_entries(calibrated, request.pipeline, request.metric, data.description, today)
    write_thresholds(request.calibration_file, entries)
    return calibrated


def _encrypt(
    request: Request,
    pipeline: Pipeline,
    data: Dataset,
    scores: LabelledScores,
    points: Sequence[OperatingPoint],
    staircase: Staircase,
    tolerance: float,
    output: Output,
) -> EncryptedFindings:
    began_s = time.monotonic()
    chosen = chosen_pairs(scores.is_mated, request.encrypted_pairs)
    settings = {
        "embedding_pipelines": pipeline.name,
        "embedding_deepface_home": str(request.deepface_home),
        "embedding_downloads": str(request.downloads),
    }
    if request.threshold_file is not None:
        settings["threshold_file"] = str(request.threshold_file.absolute())
    run = EncryptedRun(
        pipeline=pipeline.name,
        metric=request.metric,
        scheme=request.scheme,
        profile=request.profile,
        selection=request.selection,
        points=points,
        staircase=staircase,
        settings=settings,
    )

    def on_started(process: Started) -> None:
        output.note(f"  [green]ready[/]  {process.name:<10} [dim]{process.seconds:.1f} s[/]")

    output.note("starting a stack for the encrypted decisions")
    with interrupted_by_signals():
        pairs = [data.pairs[position] for position in chosen]
        decisions = decide_encrypted(pairs, run, partial(progress_bar, output), on_started)
    plain = LabelledScores(scores.similarities[chosen], scores.is_mated[chosen])
    thresholds = [similarity(point.threshold, request.metric) for point in points]
    return EncryptedFindings(
        scheme=request.scheme,
        decisions=decisions,
        plain=plain,
        thresholds=np.union1d(staircase.thresholds, thresholds),
        tolerance=tolerance,
        seconds=time.monotonic() - began_s,
    )
