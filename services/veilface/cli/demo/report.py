"""The demo's findings as tables for people and as one JSON document."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from veilface.cli.demo.collection import Collection
from veilface.cli.demo.exchange import calls_document, sights_document, summarize_calls, summarize_sights
from veilface.cli.demo.findings import ClaimFinding, Findings, PairFinding, SearchFinding
from veilface.cli.documents import decision_word, error_document
from veilface.cli.tables import facts, size, table
from veilface.client.steps import Service, Step

_MOST_ROWS = 12

_PART = {
    Service.EMBEDDING: "has photographs and embeddings, in memory only; cannot decrypt",
    Service.MATCHING: "has ciphertexts only: no image, no embedding, no score, no decision; cannot decrypt",
    Service.KEYS: "decrypts scores and says match or no match: no image, no embedding",
}


def tables(collection: Collection, findings: Findings, seconds: float) -> Iterator[RenderableType]:
    """Everything a person may want to read, in order."""
    yield _pairs_table(collection, findings.pairs)
    if findings.claims:
        yield _claims_table(collection, findings.claims)
    if findings.searches:
        yield _searches_table(collection, findings)
    yield _calls_table(findings.steps)
    yield _sights_table(findings.steps)
    yield facts((service.value, text) for service, text in _PART.items())
    yield ""
    if findings.failed:
        yield _failed_table(collection, findings)
    yield _summary(collection, findings, seconds)


def document(collection: Collection, findings: Findings, seconds: float) -> dict[str, Any]:
    """The findings as JSON."""
    return {
        "origin": collection.origin,
        "photograph_count": len(collection.photographs),
        "person_count": len(collection.subjects),
        "all_right": findings.all_right,
        "threshold_profile": findings.threshold_profile,
        "pair_count": len(findings.pairs),
        "accuracy": findings.accuracy,
        "fmr": findings.fmr,
        "fnmr": findings.fnmr,
        "rank_1_rate": findings.rank_1_rate,
        "fpir": findings.fpir,
        "seconds": round(seconds, 3),
        "pairs": [_pair_document(finding) for finding in findings.pairs],
        "verifications": [_claim_document(finding) for finding in findings.claims],
        "identifications": [_search_document(finding) for finding in findings.searches],
        "failed": [{"photograph": path.name, **error_document(error)} for path, error in findings.failed],
        "calls": calls_document(findings.steps),
        "services_saw": sights_document(findings.steps),
    }


def _pairs_table(collection: Collection, findings: Sequence[PairFinding]) -> Table:
    shown = _chosen(findings, [finding.pair.is_mated for finding in findings], [each.is_right for each in findings])
    made = table(
        "reference", "probe", "truth", "decided", "", "ms", title=_title("Same person?", shown, findings), right=("ms",)
    )
    for finding in shown:
        made.add_row(
            _label(collection, finding.pair.reference),
            _label(collection, finding.pair.probe),
            _truth(finding.pair.is_mated),
            _decided(finding.verification.is_match),
            _mark(finding.is_right),
            _milliseconds(finding.verification.steps),
        )
    return made


def _claims_table(collection: Collection, findings: Sequence[ClaimFinding]) -> Table:
    shown = _chosen(findings, [finding.claim.is_mated for finding in findings], [each.is_right for each in findings])
    title = _title("Is it who it claims to be?", shown, findings)
    made = table("probe", "claims to be", "truth", "decided", "", "ms", title=title, right=("ms",))
    for finding in shown:
        made.add_row(
            _label(collection, finding.claim.probe),
            finding.claim.subject,
            _truth(finding.claim.is_mated),
            _decided(finding.verification.is_match),
            _mark(finding.is_right),
            _milliseconds(finding.verification.steps),
        )
    return made


def _searches_table(collection: Collection, findings: Findings) -> Table:
    searches = findings.searches
    shown = _chosen(
        searches, [each.search.subject is not None for each in searches], [each.is_right for each in searches]
    )
    title = _title(f"Who of {len(findings.plan.enrolled)} is it?", shown, searches)
    made = table("probe", "truth", "found", "", "ms", title=title, right=("ms",))
    for finding in shown:
        made.add_row(
            _label(collection, finding.search.probe),
            finding.search.subject or "[dim]a stranger[/]",
            finding.found or "[dim]nobody[/]",
            _mark(finding.is_right),
            _milliseconds(finding.identification.steps),
        )
    return made


def _calls_table(steps: Sequence[Step]) -> Table:
    numbers = ("calls", "ms", "sent", "received")
    made = table("service", "call", *numbers, title="What each step cost (medians)", right=numbers)
    for summary in summarize_calls(steps):
        made.add_row(
            summary.service.value,
            summary.call,
            str(summary.count),
            f"{summary.milliseconds:.1f}",
            size(summary.sent_bytes),
            size(summary.received_bytes),
        )
    return made


def _sights_table(steps: Sequence[Step]) -> Table:
    made = table(
        "service",
        "",
        "what",
        "number",
        "bytes",
        "8 bytes of one",
        title="What each service saw",
        right=("number", "bytes"),
    )
    for sight in summarize_sights(steps):
        made.add_row(
            sight.service.value,
            "made" if sight.is_made else "was shown",
            sight.kind.value,
            str(sight.count),
            size(sight.total_bytes),
            sight.excerpt or "[dim]not shown[/]",
        )
    return made


def _failed_table(collection: Collection, findings: Findings) -> Table:
    made = table(
        "photograph", "reason", "problem", title="Photographs that could not be used", folding=("photograph", "problem")
    )
    for path, error in findings.failed:
        made.add_row(_label(collection, path), error.reason.value, escape(error.message))
    return made


def _summary(collection: Collection, findings: Findings, seconds: float) -> Table:
    mated = sum(finding.pair.is_mated for finding in findings.pairs)
    known = sum(finding.search.subject is not None for finding in findings.searches)
    rows = [
        (
            "photographs",
            f"{len(collection.photographs)} of {len(collection.subjects)} people: {escape(collection.origin)}",
        ),
        ("threshold", findings.threshold_profile),
        ("1:1 accuracy", f"{_percent(findings.accuracy)} of {len(findings.pairs)} pairs"),
        ("FMR", f"{_percent(findings.fmr)} of {len(findings.pairs) - mated} non-mated pairs"),
        ("FNMR", f"{_percent(findings.fnmr)} of {mated} mated pairs"),
        ("rank-1 rate", f"{_percent(findings.rank_1_rate)} of {known} searches"),
    ]
    if len(findings.searches) > known:
        rows.append(("FPIR", f"{_percent(findings.fpir)} of {len(findings.searches) - known} strangers"))
    rows.append(("time", f"{seconds:.1f} s, from the first start to the last stop"))
    rows.append(("verdict", _verdict(findings)))
    return facts(rows)


def _verdict(findings: Findings) -> str:
    if findings.all_right:
        return "[bold green]every decision was right[/]"
    wrong, failed = findings.wrong_count, len(findings.failed)
    unused = f"{failed} {'photograph' if failed == 1 else 'photographs'} could not be used"
    if not any((findings.pairs, findings.claims, findings.searches)):
        return f"[bold red]nothing was decided: {unused}[/]"
    if wrong:
        return f"[bold red]{wrong} {'decision was' if wrong == 1 else 'decisions were'} wrong[/]"
    return f"[bold yellow]every decision was right, but {unused}[/]"


def _chosen(findings: Sequence[Any], mated: Sequence[bool], right: Sequence[bool]) -> Sequence[Any]:
    if len(findings) <= _MOST_ROWS:
        return findings
    # Everything that went wrong, and an even choice of each kind.
    wrong = [position for position, is_right in enumerate(right) if not is_right]
    mated_positions = [position for position, is_mated in enumerate(mated) if is_mated]
    other_positions = [position for position, is_mated in enumerate(mated) if not is_mated]
    mated_count = min(len(mated_positions), max(_MOST_ROWS // 2, _MOST_ROWS - len(other_positions)))
    some = _evenly(mated_positions, mated_count) + _evenly(other_positions, _MOST_ROWS - mated_count)
    return [findings[position] for position in sorted({*wrong, *some})]


def _evenly(positions: Sequence[int], count: int) -> list[int]:
    count = min(count, len(positions))
    return [positions[step * len(positions) // count] for step in range(count)]


def _title(question: str, shown: Sequence[Any], findings: Sequence[Any]) -> str:
    return question if len(shown) == len(findings) else f"{question} {len(shown)} of {len(findings)} shown"


def _label(collection: Collection, photograph: Path) -> str:
    return escape(collection.label(photograph))


def _truth(is_mated: bool) -> str:
    return "same" if is_mated else "different"


def _decided(is_match: bool) -> Text:
    return Text("match", "green") if is_match else Text("no match", "yellow")


def _mark(is_right: bool) -> Text:
    return Text("✓", "green") if is_right else Text("✗ wrong", "bold red")


def _milliseconds(steps: Sequence[Step]) -> str:
    return f"{sum(step.milliseconds for step in steps):.1f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f} %"


def _pair_document(finding: PairFinding) -> dict[str, Any]:
    return {
        "reference": finding.pair.reference.name,
        "probe": finding.pair.probe.name,
        "mated": finding.pair.is_mated,
        "decision": decision_word(finding.verification.is_match),
        "right": finding.is_right,
        **_cost_document(finding.verification.steps),
    }


def _claim_document(finding: ClaimFinding) -> dict[str, Any]:
    return {
        "probe": finding.claim.probe.name,
        "subject": finding.claim.subject,
        "mated": finding.claim.is_mated,
        "decision": decision_word(finding.verification.is_match),
        "right": finding.is_right,
        **_cost_document(finding.verification.steps),
    }


def _search_document(finding: SearchFinding) -> dict[str, Any]:
    return {
        "probe": finding.search.probe.name,
        "subject": finding.search.subject,
        "found": finding.found,
        "right": finding.is_right,
        "candidates": [candidate.subject for candidate in finding.identification.candidates],
        **_cost_document(finding.identification.steps),
    }


def _cost_document(steps: Sequence[Step]) -> dict[str, Any]:
    return {
        "milliseconds": {step.call: round(step.milliseconds, 3) for step in steps},
        "sent_bytes": {step.call: step.sent_bytes for step in steps},
    }
