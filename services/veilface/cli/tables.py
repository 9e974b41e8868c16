"""Tables and sizes for people."""

from collections.abc import Iterable, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from veilface.client.steps import Payload, Step

_EXCERPT_DIGITS = 6
_UNITS = ("B", "kB", "MB", "GB", "TB")


def table(*columns: str, title: str = "", right: Sequence[str] = (), folding: Sequence[str] = ()) -> Table:
    """An empty table in the house style.

    Args:
        columns: The headings.
        title: A line above it.
        right: The headings of columns that hold numbers.
        folding: The headings of columns with long text; the others stay on one line.
    """
    made = Table(
        box=box.SIMPLE_HEAD,
        title=title or None,
        title_justify="left",
        title_style="bold",
        pad_edge=False,
        # A title is never broken, however narrow the columns are.
        min_width=len(title),
    )
    for column in columns:
        made.add_column(
            column, justify="right" if column in right else "left", overflow="fold", no_wrap=column not in folding
        )
    return made


def facts(rows: Iterable[tuple[str, str]]) -> Table:
    """Names and values, one pair per line."""
    made = Table(box=None, show_header=False, pad_edge=False)
    made.add_column(style="dim")
    made.add_column(overflow="fold")
    for name, value in rows:
        made.add_row(name, value)
    return made


def steps_table(steps: Iterable[Step]) -> Table:
    """What was asked of which service, how long it took, and what it was shown and gave."""
    payloads = ("was shown", "answered")
    made = table("service", "call", "ms", *payloads, right=("ms",), folding=payloads)
    for step in steps:
        made.add_row(
            step.service.value,
            step.call,
            f"{step.milliseconds:.1f}",
            _seen(step.sent, step.sent_bytes),
            _seen(step.received, step.received_bytes),
        )
    return made


def verdict(is_match: bool) -> Text:
    """The decision in color."""
    return Text("match", "bold green") if is_match else Text("no match", "bold yellow")


def told_band(band: str) -> str:
    """The band of a decision, behind its threshold; nothing if the key's policy tells none."""
    return f", passes {band}" if band else ""


def size(count: float) -> str:
    """Bytes in decimal units with three digits: "98.3 kB"."""
    unit = 0
    while count >= 1000 and unit < len(_UNITS) - 1:
        count /= 1000
        unit += 1
    digits = 0 if unit == 0 or count >= 100 else 1
    return f"{count:.{digits}f} {_UNITS[unit]}"


def _payload(payload: Payload) -> str:
    number = f"{payload.count} x " if payload.count > 1 else ""
    excerpt = f" {payload.excerpt[:_EXCERPT_DIGITS]}.." if payload.excerpt else ""
    return f"{number}{payload.kind.value}{excerpt} {size(payload.total_bytes)}"


def _seen(payloads: Sequence[Payload], total_bytes: int) -> str:
    return "\n".join(_payload(payload) for payload in payloads) or size(total_bytes)
