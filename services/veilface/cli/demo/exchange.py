"""All calls of a run, summed up: what each cost, and what each service was shown."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any

from veilface.client.steps import Payload, PayloadKind, Service, Step


@dataclass(frozen=True, slots=True)
class CallSummary:
    """All calls of one method; milliseconds and bytes are medians."""

    service: Service
    call: str
    count: int
    milliseconds: float
    sent_bytes: float
    received_bytes: float


@dataclass(frozen=True, slots=True)
class Sight:
    """What a service was shown of one kind, or made.

    Attributes:
        excerpt: Eight bytes from inside one of them, in hexadecimal; empty for images.
        is_made: Whether the service made it rather than was shown it.
    """

    service: Service
    kind: PayloadKind
    count: int
    total_bytes: int
    excerpt: str
    is_made: bool


def summarize_calls(steps: Iterable[Step]) -> list[CallSummary]:
    """One summary for each method, in the order of first use."""
    by_call: dict[tuple[Service, str], list[Step]] = {}
    for step in steps:
        by_call.setdefault((step.service, step.call), []).append(step)
    return [
        CallSummary(
            service,
            call,
            len(group),
            median(step.milliseconds for step in group),
            median(step.sent_bytes for step in group),
            median(step.received_bytes for step in group),
        )
        for (service, call), group in by_call.items()
    ]


def summarize_sights(steps: Iterable[Step]) -> list[Sight]:
    """What each service was shown and made, by kind."""
    seen: dict[tuple[Service, bool, PayloadKind], Sight] = {}
    for step in steps:
        for is_made, payloads in ((False, step.sent), (True, step.received)):
            for payload in payloads:
                key = (step.service, is_made, payload.kind)
                seen[key] = _add(seen.get(key), step.service, payload, is_made)
    order = list(Service)
    return sorted(seen.values(), key=lambda sight: (order.index(sight.service), sight.is_made))


def calls_document(steps: Iterable[Step]) -> list[dict[str, Any]]:
    """The summaries of the calls as JSON."""
    return [
        {
            "service": summary.service.value,
            "call": summary.call,
            "count": summary.count,
            "median_milliseconds": round(summary.milliseconds, 3),
            "median_sent_bytes": int(summary.sent_bytes),
            "median_received_bytes": int(summary.received_bytes),
        }
        for summary in summarize_calls(steps)
    ]


def sights_document(steps: Iterable[Step]) -> list[dict[str, Any]]:
    """What each service was shown and made as JSON."""
    return [
        {
            "service": sight.service.value,
            "kind": sight.kind.value,
            "role": "made" if sight.is_made else "shown",
            "count": sight.count,
            "bytes": sight.total_bytes,
            "excerpt": sight.excerpt,
        }
        for sight in summarize_sights(steps)
    ]


def _add(before: Sight | None, service: Service, payload: Payload, is_made: bool) -> Sight:
    return Sight(
        service,
        payload.kind,
        payload.count + (before.count if before else 0),
        payload.total_bytes + (before.total_bytes if before else 0),
        before.excerpt if before else payload.excerpt,
        is_made,
    )
