"""One measurement, how it is taken, and how it is shown."""

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Measurement:
    """One number beside its peer's, taken in the same run.

    Attributes:
        name: What was measured.
        value: In `unit`.
        unit: Of both values.
        peer: What it is compared with; empty if with nothing.
        peer_value: The peer's number; None without a peer.
        ratio: value / peer_value for costs, so below 1 is better than the peer; None without a peer.
        n: How many templates.
        dim: Dimensions.
        threads: How many threads both sides may use.
        note: What else is worth knowing, for people.
    """

    name: str
    value: float
    unit: str
    peer: str = ""
    peer_value: float | None = None
    ratio: float | None = None
    n: int = 1
    dim: int = 0
    threads: int = 1
    note: str = ""


def against(measurement: Measurement, peer: str, peer_value: float) -> Measurement:
    """The same measurement beside a peer's value."""
    fields = asdict(measurement) | {"peer": peer, "peer_value": peer_value, "ratio": measurement.value / peer_value}
    return Measurement(**fields)


def seconds(work: Callable[[], object], repeats: int = 5) -> float:
    """The shortest of several runs, after one that is not counted, in seconds."""
    work()
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def _number(value: float, unit: str) -> str:
    if unit == "bytes":
        return f"{value:,.4g} B" if value < 1000 else f"{value:,.0f} B"
    return f"{value:,.4g} {unit}" if abs(value) < 1000 else f"{value:,.0f} {unit}"


def _comparison(ratio: float | None) -> str:
    if ratio is None:
        return ""
    return f"{ratio:.2f} x" if ratio >= 0.5 else f"1 / {1 / ratio:,.1f}"


def show(title: str, measurements: Sequence[Measurement], *, as_json: bool) -> None:
    """Print one JSON object per line, or a table."""
    if as_json:
        for measurement in measurements:
            sys.stdout.write(json.dumps(asdict(measurement)) + "\n")
        sys.stdout.flush()
        return
    largest = max(measurements, key=lambda measurement: measurement.n)
    threads = max(measurement.threads for measurement in measurements)
    table = Table(
        title=f"{title}: N = {largest.n:,}, d = {largest.dim:,}, {threads} thread{'s' if threads > 1 else ''}",
        caption="Costs: below 1 is better than the peer.",
        title_justify="left",
        caption_justify="left",
        box=SIMPLE_HEAD,
    )
    table.add_column("")
    table.add_column("veilface", justify="right", no_wrap=True)
    table.add_column("peer", justify="right", no_wrap=True)
    table.add_column("ratio", justify="right", no_wrap=True)
    table.add_column("the peer")
    for m in measurements:
        peer_value = "" if m.peer_value is None else _number(m.peer_value, m.unit)
        table.add_row(m.name, _number(m.value, m.unit), peer_value, _comparison(m.ratio), m.peer or m.note)
    console = Console()
    console.print(table)
    for m in measurements:
        if m.note and m.peer:
            console.print(f"  {m.name}: {m.note}", highlight=False)


def progress(message: str) -> None:
    """Say on stderr what a long step is doing."""
    sys.stderr.write(message + "\n")
    sys.stderr.flush()
