"""How the measurements of a run are shown: JSON lines for scripts, a table for people."""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from veilface.cli.bench.measurement import Measurement, Sheet, comparison
from veilface.cli.output import Output

_WIDTH_OF_FILES = 100
_SCALES = (
    {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9},
    {"GB": 1e9, "MB": 1e6, "kB": 1e3, "bytes": 1.0},
    {"M/s": 1e6, "k/s": 1e3, "per s": 1.0},
)
_CAPTION = "ratio: veilface / peer. Below 1 is better for times, sizes and errors, above 1 for rates (per s)."


def report(title: str, measure: Callable[[], Sheet], *, as_json: bool) -> None:
    """Measure, and print one JSON object per line or a table."""
    with Output(as_json).reporting():
        sheet = measure()
        sheet.finish()
        if as_json:
            sys.stdout.writelines(json.dumps(asdict(row)) + "\n" for row in sheet.rows)
            sys.stdout.flush()
        else:
            _print(title, sheet)


def measurement_console() -> Console:
    """Standard output for tables, wide enough for them where it is a file."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH_OF_FILES
    return console


def _print(title: str, sheet: Sheet) -> None:
    threads = f"{sheet.threads} thread{'s' if sheet.threads != 1 else ''}"
    table = Table(
        title=f"{title}: N = {sheet.n:,}, d = {sheet.dim:,}, {threads}, {sheet.profile}",
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("", no_wrap=True)
    table.add_column("veilface", justify="right", no_wrap=True)
    table.add_column("peer", justify="right", no_wrap=True)
    table.add_column("ratio", justify="right", no_wrap=True)
    table.add_column("the peer")
    for row in sheet.rows:
        name = row.name if row.threads == sheet.threads else f"{row.name}, {row.threads} thread"
        peer_value = "" if row.peer_value is None else _number(row.peer_value, row.unit)
        ratio = "" if row.ratio is None else comparison(row.ratio)
        table.add_row(name, _number(row.value, row.unit), peer_value, ratio, row.peer)
    console = measurement_console()
    console.print(table)
    console.print(_CAPTION, style="dim")
    for note in _notes(sheet.rows):
        console.print(note, style="dim")


def _notes(rows: Sequence[Measurement]) -> list[str]:
    return [f"{row.name.strip()}: {row.note}" for row in rows if row.note]


def _number(value: float, unit: str) -> str:
    """Three digits in the unit that suits the size; JSON lines keep the unit of the measurement."""
    if unit == "cosine":
        return f"{value:.1e}"
    scale = next((scale for scale in _SCALES if unit in scale), {unit: 1.0})
    base = value * scale[unit]
    unit, size = next(((name, size) for name, size in scale.items() if abs(base) >= size), [*scale.items()][-1])
    shown = base / size
    return f"{shown:,.0f} {unit}" if abs(shown) >= 100 or shown == int(shown) else f"{shown:.3g} {unit}"
