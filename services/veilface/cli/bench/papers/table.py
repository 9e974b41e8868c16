"""The tables for people: one per dimension, and one of the searches."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from veilface.cli.bench.measurement import Sheet
from veilface.cli.bench.papers.rows import SIZES, VEILFACE, Quantity, Reading, Row, SearchRow
from veilface.cli.bench.papers.run import Papers
from veilface.cli.bench.report import measurement_console
from veilface.crypto.contract import Scheme

_HEADINGS = {
    Quantity.KEY_GENERATION: "make\nkey",
    Quantity.ENCRYPTION: "encrypt",
    Quantity.COMPARISON: "compare",
    Quantity.DECRYPTION: "decrypt",
    Quantity.PUBLIC_KEYS: "public\nkeys",
    Quantity.SECRET_KEY: "secret\nkey",
    Quantity.TEMPLATE: "template",
    Quantity.SCORE: "score",
    Quantity.ERROR: "cosine\nerror",
}
_LEGEND = (
    "~ extrapolated from fewer dimensions. public keys: with the evaluation keys. Rows stand under the security that "
    "their parameters reach: ckks-tenseal-192-defensive reaches 128 bits, ckks-tenseal-256-defensive 192. in LightPHE: "
    "LightPHE 0.0.27 as published, on non-negative floats; the row above it is this project's code with keys of the "
    "same size, on signed integers, against a probe in the clear."
)
_SEARCH_LEGEND = (
    "times cheaper: than one comparison of the peer, by the clock and in CPU time. ckks-packed: encrypted probe, "
    "beside the fastest ckks-tenseal set that reaches the same security. The others: probe in the clear, beside "
    "LightPHE's own @ on the same ciphertexts and weights; exact: every integer score equals numpy's."
)


def show(papers: Papers, closing: Sheet) -> None:
    """Print every table, and at the end what the run took."""
    console = measurement_console()
    for dim in papers.dimensions:
        console.print(_comparisons(dim, [row for row in papers.rows if row.dim == dim]))
    console.print(_LEGEND, style="dim")
    console.print()
    console.print(_searches(papers.searches))
    console.print(_SEARCH_LEGEND, style="dim")
    for measurement in closing.rows:
        console.print(f"{measurement.name}: {measurement.value:,.3g} {measurement.unit}")


def _comparisons(dim: int, rows: Sequence[Row]) -> Table:
    table = _table(f"1:1, d = {dim:,}")
    table.add_column("security and profile", no_wrap=True)
    for heading in _HEADINGS.values():
        table.add_column(heading, justify="right", no_wrap=True)
    packed = [row for row in rows if row.scheme == Scheme.CKKS_PACKED]
    for bits in sorted({row.security_bits for row in rows}):
        table.add_section()
        table.add_row(f"{bits} bits", style="bold")
        # Where ckks-packed has no profile that weak, the next stronger one stands beside.
        weakest_sufficient = min(row.security_bits for row in packed if row.security_bits >= bits)
        others = [row for row in rows if row.security_bits == bits and row.scheme != Scheme.CKKS_PACKED]
        for row in [*(row for row in packed if row.security_bits == weakest_sufficient), *others]:
            name = row.profile if row.system == VEILFACE else f"  in {row.system}"
            style = "green" if row.scheme == Scheme.CKKS_PACKED else "dim" if row.system != VEILFACE else ""
            table.add_row(name, *(_reading(quantity, row.readings[quantity]) for quantity in _HEADINGS), style=style)
    return table


def _searches(rows: Sequence[SearchRow]) -> Table:
    table = _table("1:N, packed templates")
    table.add_column("profile", no_wrap=True)
    for heading in ("d", "N", "us per\ntemplate", "one comparison\nof the peer", "times\ncheaper", "in CPU\ntime"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("against numpy", no_wrap=True)
    last = ""
    for row in rows:
        if row.profile != last and len({each.dim for each in rows}) > 1:
            table.add_section()
        exact = "exact, " if row.exact else "NOT EXACT, " if row.exact is not None else ""
        table.add_row(
            row.profile if row.profile != last else "",
            f"{row.dim:,}",
            f"{row.count:,}",
            f"{row.us_per_template:.3g}",
            _reading(Quantity.COMPARISON, row.peer_s),
            f"{row.times_cheaper:,.0f}",
            f"{row.times_cheaper_cpu:,.0f}",
            f"{exact}error {row.largest_error:.0e}",
            style="green" if row.scheme == Scheme.CKKS_PACKED else "",
        )
        last = row.profile
    return table


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False, padding=0)


def _reading(quantity: Quantity, reading: Reading) -> str:
    mark = "~" if reading.extrapolated else ""
    if quantity is Quantity.ERROR:
        return f"{mark}{reading.value:.0e}"
    units = (("B", 1.0), ("kB", 1e3), ("MB", 1e6), ("GB", 1e9)) if quantity in SIZES else _TIMES
    unit, size = next(((unit, size) for unit, size in reversed(units) if reading.value >= size), units[0])
    return f"{mark}{_short(reading.value / size)} {unit}"


_TIMES = (("us", 1e-6), ("ms", 1e-3), ("s", 1.0))


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 9.95 else f"{value:.1f}"
