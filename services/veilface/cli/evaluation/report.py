"""An evaluation as tables for people and as one JSON document."""

from collections.abc import Iterator
from typing import Any

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from veilface.cli.documents import error_document
from veilface.cli.evaluation.agreement import Agreement
from veilface.cli.evaluation.confidence import CONFIDENCE
from veilface.cli.evaluation.findings import EncryptedFindings, Evaluation
from veilface.cli.evaluation.metrics import ErrorRates, Rate, Separation, error_rates, rates_at
from veilface.cli.evaluation.operating_points import MeasuredPoint
from veilface.cli.evaluation.scores import score_of, similarity
from veilface.cli.tables import facts, table

_FAILED_SHOWN = 10


def tables(evaluation: Evaluation) -> Iterator[RenderableType]:
    """Everything a person may want to read, in order."""
    yield _overview(evaluation)
    yield ""
    if evaluation.points:
        yield _points_table(evaluation)
        yield "[dim]in brackets: exact 95 % confidence intervals, as if pairs were independent[/]\n"
    else:
        yield (
            f"[yellow]no threshold is known for {evaluation.metric} scores of {escape(evaluation.pipeline)}[/]: choose "
            "some with --calibrate\n"
        )
    for each in evaluation.calibrated:
        if not each.is_supported:
            trials = each.rates.false_matches.trials
            yield (
                f"[yellow]note[/] {trials} non-mated pairs cannot show a false match rate of {_percent(each.fmr)} "
                f"({each.name}): the data bound it at {_percent(each.rates.false_matches.interval.high)}"
            )
    if evaluation.encrypted is not None:
        yield _encryption_table(evaluation, evaluation.encrypted)
        yield _encryption_text(evaluation, evaluation.encrypted)
    if evaluation.failed:
        yield _failed_table(evaluation)


def document(evaluation: Evaluation) -> dict[str, Any]:
    """The evaluation as JSON. No score of any pair is in it."""
    mated = evaluation.scores.mated.size
    return {
        "data": evaluation.dataset.description,
        "photograph_count": len(evaluation.dataset.photographs),
        "person_count": len(set(evaluation.dataset.subjects)),
        "mated_pair_count": int(mated),
        "non_mated_pair_count": int(evaluation.scores.similarities.size - mated),
        "pipeline": evaluation.pipeline,
        "dimension": evaluation.dimension,
        "metric": evaluation.metric.value,
        **_separation_document(evaluation.separation),
        "rank_1": _rate_document(evaluation.rank_1),
        "confidence": CONFIDENCE,
        "operating_points": [_point_document(evaluation, each) for each in evaluation.points],
        "calibrated": [each.name for each in evaluation.calibrated],
        "encrypted": _encrypted_document(evaluation),
        "curve": _curve_document(evaluation),
        "failed": [{"photograph": path.name, **error_document(error)} for path, error in evaluation.failed],
        "seconds": round(evaluation.seconds, 3),
    }


def _overview(evaluation: Evaluation) -> Table:
    measured = evaluation.separation
    rows = [
        ("data", escape(evaluation.dataset.description)),
        ("pipeline", f"[bold]{escape(evaluation.pipeline)}[/], {evaluation.dimension} dimensions, {evaluation.metric}"),
        ("AUC", f"{measured.auc:.4f}"),
        ("EER", _percent(measured.eer)),
        ("d'", "-" if measured.d_prime is None else f"{measured.d_prime:.2f}"),
    ]
    if evaluation.rank_1.trials:
        rows.append(
            ("rank-1", f"{_rate(evaluation.rank_1)}  {evaluation.rank_1.events} of {evaluation.rank_1.trials} searches")
        )
    return facts(rows)


def _points_table(evaluation: Evaluation) -> Table:
    numbers = ("threshold", "accuracy", "FMR", "FNMR")
    encrypted = ("encrypted decisions",) if evaluation.encrypted else ()
    made = table("operating point", *numbers, *encrypted, right=numbers)
    chosen_here = {each.name for each in evaluation.calibrated}
    for each in evaluation.points:
        name = f"{each.point.name} [dim](new)[/]" if each.point.name in chosen_here else each.point.name
        cells = [
            name,
            f"{each.point.threshold:.4f}",
            _percent(each.rates.accuracy),
            _rate(each.rates.false_matches),
            _rate(each.rates.false_non_matches),
        ]
        if evaluation.encrypted is not None:
            threshold = similarity(each.point.threshold, evaluation.metric)
            cells.append(_agreement_text(evaluation.encrypted.agreement(threshold), evaluation.encrypted.tolerance))
        made.add_row(*cells)
    return made


def _encryption_table(evaluation: Evaluation, encrypted: EncryptedFindings) -> Table:
    made = table("", "float64", "encrypted", title="Before and after encryption", right=("float64", "encrypted"))
    before, after = encrypted.before, encrypted.after
    made.add_row("AUC", f"{before.auc:.4f}", f"{after.auc:.4f}")
    made.add_row("EER", _percent(before.eer), _percent(after.eer))
    for each in evaluation.points:
        threshold = similarity(each.point.threshold, evaluation.metric)
        rates = encrypted.rates(threshold)
        plain = _plain_rates(evaluation, encrypted, each)
        made.add_row(f"accuracy, {each.point.name}", _percent(plain.accuracy), _percent(rates.accuracy))
    return made


def _encryption_text(evaluation: Evaluation, encrypted: EncryptedFindings) -> str:
    thresholds = len(evaluation.points) + evaluation.staircase.thresholds.size
    how = f"{len(encrypted.decisions.pairs):,} pairs through a local stack with {encrypted.decisions.profile}"
    everywhere = _everywhere_text(evaluation.agreement_everywhere, thresholds, encrypted.tolerance)
    return f"{everywhere}\n[dim]{how} in {encrypted.seconds:.0f} s[/]"


def _everywhere_text(agreement: Agreement, thresholds: int, tolerance: float) -> str:
    compared = f"{agreement.compared:,} decisions at {thresholds} thresholds"
    verdict = (
        f"[bold green]all {compared} are equal[/]"
        if agreement.different == 0
        else f"[bold red]{agreement.different:,} of {compared} differ[/]"
    )
    return (
        f"{verdict}; of {agreement.within_tolerance:,} more, whose score is within {tolerance:.1e} of the threshold, "
        f"{agreement.different_within_tolerance:,} differ"
    )


def _agreement_text(agreement: Agreement, tolerance: float) -> str:
    total = agreement.compared + agreement.within_tolerance
    equal = total - agreement.different - agreement.different_within_tolerance
    text = f"{equal} of {total} equal"
    if agreement.different:
        return f"[bold red]{text}[/]"
    if agreement.different_within_tolerance:
        return f"[yellow]{text}[/] [dim](the others within {tolerance:.1e})[/]"
    return f"[green]{text}[/]"


def _failed_table(evaluation: Evaluation) -> Table:
    made = table(
        "photograph", "reason", "problem", title="Photographs that could not be used; their pairs are left out"
    )
    for path, error in evaluation.failed[:_FAILED_SHOWN]:
        made.add_row(escape(path.name), error.reason.value, escape(error.message))
    left_out = len(evaluation.failed) - _FAILED_SHOWN
    if left_out > 0:
        made.add_row(f"[dim]and {left_out} more[/]", "", "")
    return made


def _plain_rates(evaluation: Evaluation, encrypted: EncryptedFindings, each: MeasuredPoint) -> ErrorRates:
    return error_rates(encrypted.plain, similarity(each.point.threshold, evaluation.metric))


def _rate(rate: Rate) -> str:
    interval = rate.interval
    return f"{_percent(rate.value)} [dim][{100 * interval.low:.2f}, {100 * interval.high:.2f}][/]"


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _rate_document(rate: Rate) -> dict[str, Any]:
    interval = rate.interval
    return {
        "value": rate.value,
        "events": rate.events,
        "trials": rate.trials,
        "low": interval.low,
        "high": interval.high,
    }


def _separation_document(measured: Separation) -> dict[str, Any]:
    return {"auc": measured.auc, "eer": measured.eer, "d_prime": measured.d_prime}


def _rates_document(rates: ErrorRates) -> dict[str, Any]:
    return {
        "accuracy": rates.accuracy,
        "fmr": _rate_document(rates.false_matches),
        "fnmr": _rate_document(rates.false_non_matches),
    }


def _agreement_document(agreement: Agreement) -> dict[str, Any]:
    return {
        "compared": agreement.compared,
        "different": agreement.different,
        "within_tolerance": agreement.within_tolerance,
        "different_within_tolerance": agreement.different_within_tolerance,
    }


def _point_document(evaluation: Evaluation, each: MeasuredPoint) -> dict[str, Any]:
    made: dict[str, Any] = {
        "name": each.point.name,
        "threshold": each.point.threshold,
        "source": each.point.source,
        **_rates_document(each.rates),
    }
    if evaluation.encrypted is not None:
        threshold = similarity(each.point.threshold, evaluation.metric)
        made["encrypted"] = {
            **_rates_document(evaluation.encrypted.rates(threshold)),
            "agreement": _agreement_document(evaluation.encrypted.agreement(threshold)),
        }
    return made


def _encrypted_document(evaluation: Evaluation) -> dict[str, Any] | None:
    encrypted = evaluation.encrypted
    if encrypted is None:
        return None
    return {
        "scheme": encrypted.scheme.value,
        "profile": encrypted.decisions.profile,
        "pair_count": len(encrypted.decisions.pairs),
        "tolerance": encrypted.tolerance,
        "before": _separation_document(encrypted.before),
        "after": _separation_document(encrypted.after),
        "agreement_at_operating_points": _agreement_document(evaluation.agreement_at_points),
        "agreement_at_all_thresholds": _agreement_document(evaluation.agreement_everywhere),
        "is_unchanged": evaluation.is_unchanged_by_encryption,
        "seconds": round(encrypted.seconds, 3),
    }


def _curve_document(evaluation: Evaluation) -> list[dict[str, float]]:
    thresholds = evaluation.staircase.thresholds
    fmr, fnmr = rates_at(evaluation.scores, thresholds)
    curve = [
        {"threshold": score_of(float(threshold), evaluation.metric), "fmr": float(a), "fnmr": float(b)}
        for threshold, a, b in zip(thresholds, fmr, fnmr, strict=True)
    ]
    if evaluation.encrypted is not None:
        after = rates_at(evaluation.encrypted.encrypted, thresholds)
        for point, a, b in zip(curve, *after, strict=True):
            point["encrypted_fmr"], point["encrypted_fnmr"] = float(a), float(b)
    return curve
