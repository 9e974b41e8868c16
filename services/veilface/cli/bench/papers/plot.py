"""The papers' tables as one figure: cost of a comparison at each dimension, and sizes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from veilface.cli.bench.papers.rows import LIGHTPHE, Quantity, Row, SearchRow
from veilface.cli.bench.papers.run import Papers
from veilface.common.errors import ConfigurationError, Reason
from veilface.crypto.contract import Scheme

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DPI: Final = 160
_INK: Final = "#222831"
_PALE: Final = "#8a929b"
# From light to dark with the security that the parameters reach.
_COLORS: Final = {80: "#f2b134", 112: "#e0742c", 128: "#c1304e", 192: "#7a2a8c", 256: "#22306e"}
_SIZE_DIMENSION: Final = 512
_SIZE_TITLES: Final = {
    Quantity.TEMPLATE: "One template",
    Quantity.SCORE: "One encrypted score (1:1)",
    Quantity.PUBLIC_KEYS: "Public and evaluation keys",
}


@dataclass(frozen=True, slots=True)
class _Lane:
    """A line of the figure: one scheme in one implementation."""

    scheme: Scheme
    system: str
    label: str

    def has(self, row: Row) -> bool:
        return row.scheme == self.scheme and row.system == self.system


def draw(papers: Papers, path: Path) -> None:
    """Draw the figure. Raises ConfigurationError INVALID_SETTING if the file cannot be written."""
    import matplotlib
    from matplotlib.figure import Figure

    style: Any = {
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.spines.left": False,
        "axes.edgecolor": _PALE,
        "axes.labelcolor": _INK,
        "axes.titlesize": 10,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "xtick.color": _INK,
        "ytick.color": _INK,
        "text.color": _INK,
        "legend.frameon": False,
        "svg.fonttype": "none",
    }
    lanes = _lanes(papers.rows)
    dims = papers.dimensions
    size_dim = _SIZE_DIMENSION if _SIZE_DIMENSION in dims else dims[0]
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(13.5, 8.4), layout="constrained")
        halves: Any = figure.subfigures(2, 1, hspace=0.05)
        above, below = halves
        costs: Any = above.subplots(1, len(dims), sharex=True, sharey=True, squeeze=False)
        for axes, dim in zip(costs[0], dims, strict=True):
            _draw_costs(axes, dim, lanes, papers)
        sizes: Any = below.subplots(1, len(_SIZE_TITLES), sharey=True, squeeze=False)
        for axes, (quantity, title) in zip(sizes[0], _SIZE_TITLES.items(), strict=True):
            _draw_sizes(axes, quantity, title, lanes, [row for row in papers.rows if row.dim == size_dim])
        above.suptitle("Time per comparison, by scheme and dimension", x=0.005, ha="left", fontsize=12)
        below.suptitle(f"Sizes at d = {size_dim:,}", x=0.005, ha="left", fontsize=12)
        figure.legend(
            handles=_legend({row.security_bits for row in papers.rows}),
            loc="outside lower left",
            ncols=8,
            columnspacing=1.4,
            handletextpad=0.4,
        )
        try:
            figure.savefig(path, dpi=_DPI, metadata={"Title": "veilface bench papers"})
        except OSError as error:
            raise ConfigurationError(
                Reason.INVALID_SETTING, f"the plot {path} cannot be written: {error.strerror}"
            ) from error


def _lanes(rows: Sequence[Row]) -> list[_Lane]:
    """The lines from top to bottom: `ckks-packed` first, LightPHE's own below each additive scheme."""
    lanes = []
    for scheme in Scheme:
        for system in dict.fromkeys(row.system for row in rows if row.scheme == scheme):
            label = scheme.value if system != LIGHTPHE else "in LightPHE"
            lanes.append(_Lane(scheme, system, label))
    return lanes


def _draw_costs(axes: "Axes", dim: int, lanes: Sequence[_Lane], papers: Papers) -> None:
    """Circles: one comparison 1:1. Diamonds: one template inside a search. A line joins the two of one profile."""
    searches = [row for row in papers.searches if row.dim == dim]
    for position, lane in enumerate(lanes):
        rows = sorted((row for row in papers.rows if row.dim == dim and lane.has(row)), key=_strength)
        for row, y in zip(rows, _spread(position, len(rows)), strict=True):
            color = _COLORS[row.security_bits]
            reading = row.readings[Quantity.COMPARISON]
            inside = _search_of(row, searches)
            if inside is not None:
                seconds = inside.us_per_template / 1e6
                axes.plot([seconds, reading.value], [y, y], color=color, linewidth=0.9, alpha=0.45, zorder=1)
                axes.plot(seconds, y, "D", color=color, markersize=5.0)
            axes.plot(
                reading.value, y, "o", color=color, markersize=5.5, markeredgewidth=1.2,
                markerfacecolor="white" if reading.extrapolated else color,
            )  # fmt: skip
    axes.set_title(f"d = {dim:,}")
    axes.set_xscale("log")
    ticks = {1e-7: "0.1 us", 1e-6: "1 us", 1e-5: "10 us", 1e-4: "0.1 ms", 1e-3: "1 ms", 1e-2: "10 ms", 0.1: "0.1 s"}
    ticks |= {1.0: "1 s", 10.0: "10 s"}
    axes.set_xticks(list(ticks), labels=list(ticks.values()), rotation=40, ha="right", rotation_mode="anchor")
    axes.set_xlim(1.0e-7, 4e1)
    _finish(axes, lanes)


def _draw_sizes(axes: "Axes", quantity: Quantity, title: str, lanes: Sequence[_Lane], rows: Iterable[Row]) -> None:
    of_dim = list(rows)
    for position, lane in enumerate(lanes):
        found = sorted((row for row in of_dim if lane.has(row)), key=_strength)
        for row, y in zip(found, _spread(position, len(found)), strict=True):
            axes.plot(row.readings[quantity].value, y, "s", color=_COLORS[row.security_bits], markersize=5.0)
    axes.set_title(title)
    axes.set_xscale("log")
    ticks = {1e2: "100 B", 1e3: "1 kB", 1e4: "10 kB", 1e5: "100 kB", 1e6: "1 MB", 1e7: "10 MB", 1e8: "100 MB"}
    axes.set_xticks(list(ticks), labels=list(ticks.values()), rotation=40, ha="right", rotation_mode="anchor")
    axes.set_xlim(1e2, 9e8)
    _finish(axes, lanes)


def _finish(axes: "Axes", lanes: Sequence[_Lane]) -> None:
    axes.minorticks_off()
    axes.set_yticks(range(len(lanes)), labels=[lane.label for lane in lanes])
    # Axes that share their labels with the first have none of their own.
    for label, lane in zip(axes.get_yticklabels(), lanes, strict=False):
        label.set_color(_PALE if lane.system == LIGHTPHE else _INK)
        label.set_fontweight("bold" if lane.scheme is Scheme.CKKS_PACKED else "normal")
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(lanes) - 0.4, -0.6)
    for position in range(1, len(lanes), 2):
        axes.axhspan(position - 0.5, position + 0.5, color=_PALE, alpha=0.08, linewidth=0)
    axes.grid(axis="x", color=_PALE, alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)


def _spread(position: int, count: int) -> list[float]:
    """Where the profiles of a lane lie, so that equal values do not hide each other."""
    return [position + 0.62 * ((index + 0.5) / count - 0.5) for index in range(count)]


def _strength(row: Row) -> tuple[int, str]:
    return row.security_bits, row.profile


def _search_of(row: Row, searches: Sequence[SearchRow]) -> SearchRow | None:
    if row.system == LIGHTPHE:
        return None
    return next((search for search in searches if search.profile == row.profile), None)


def _legend(levels: Iterable[int]) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    ink: Any = {"color": _INK, "linestyle": "none"}
    return [
        Line2D([], [], marker="o", label="one comparison 1:1", markersize=5.5, **ink),
        Line2D([], [], marker="o", label="the same, extrapolated", markersize=5.5, markerfacecolor="white", **ink),
        Line2D([], [], marker="D", label="one template inside a 1:N search", markersize=5.0, **ink),
        *(Patch(color=_COLORS[bits], label=f"{bits} bits") for bits in sorted(levels)),
    ]
