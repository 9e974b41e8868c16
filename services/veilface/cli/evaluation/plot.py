"""Accuracy before and after encryption as one figure: scores, errors by threshold, and the ROC curve."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from veilface.cli.evaluation.findings import EncryptedFindings, Evaluation
from veilface.cli.evaluation.metrics import rates_at
from veilface.cli.evaluation.scores import score_of
from veilface.common.errors import ConfigurationError, InvalidArgumentError, Reason
from veilface.crypto.contract import Metric

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Rates = NDArray[np.float64]

SUFFIXES: Final = (".png", ".svg")
_DPI: Final = 160
_STEPS_PER_BIN: Final = 3
_EVERY: Final = 3
_MATED: Final = "#1b7f5c"
_NON_MATED: Final = "#c1502e"
_INK: Final = "#222831"
_PALE: Final = "#8a929b"
_BLUE: Final = "#2a6fbb"
_LABELS: Final = {Metric.COSINE: "cosine", Metric.SQUARED_EUCLIDEAN: "squared Euclidean distance"}


def check_plot(path: Path) -> None:
    """Whether a figure can be drawn, before the work begins.

    Raises:
        InvalidArgumentError: INVALID_FIELD for another format, or a folder that is not there.
        ConfigurationError: INVALID_SETTING if matplotlib is not installed.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise InvalidArgumentError(Reason.INVALID_FIELD, f"{path.name}: a plot is a file {' or '.join(SUFFIXES)}")
    if not path.absolute().parent.is_dir():
        raise InvalidArgumentError(Reason.INVALID_FIELD, f"the folder of the plot {path} does not exist")
    if find_spec("matplotlib") is None:
        raise ConfigurationError(
            Reason.INVALID_SETTING, "plots need matplotlib: pip install 'veilface[evaluate]', or leave out --plot"
        )


def draw(evaluation: Evaluation, path: Path) -> None:
    """Draw the figure. Raises ConfigurationError INVALID_SETTING if the file cannot be written."""
    import matplotlib
    from matplotlib.figure import Figure

    style: Any = {
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": _PALE,
        "axes.labelcolor": _INK,
        "axes.titlesize": 10,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "xtick.color": _INK,
        "ytick.color": _INK,
        "text.color": _INK,
        "legend.facecolor": "white",
        "legend.edgecolor": "white",
        "legend.framealpha": 0.9,
        "legend.fontsize": 8,
        "svg.fonttype": "none",
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(13.5, 4.6), layout="constrained")
        axes: Any = figure.subplots(1, 3)
        _draw_scores(axes[0], evaluation)
        _draw_errors(axes[1], evaluation)
        _draw_roc(axes[2], evaluation)
        figure.suptitle(_title(evaluation), x=0.012, ha="left", fontsize=11)
        try:
            figure.savefig(path, dpi=_DPI, metadata={"Title": "veilface evaluate"})
        except OSError as error:
            raise ConfigurationError(
                Reason.INVALID_SETTING, f"the plot {path} cannot be written: {error.strerror}"
            ) from error


def _draw_scores(axes: "Axes", evaluation: Evaluation) -> None:
    """How alike pairs are: filled in float64, as outlines by the encrypted decisions."""
    edges = evaluation.staircase.even[::_STEPS_PER_BIN]
    drawn = _units(edges, evaluation.metric)
    order = 1 if evaluation.metric is Metric.COSINE else -1
    plain = evaluation.encrypted.plain if evaluation.encrypted is not None else evaluation.scores
    after = evaluation.encrypted.encrypted if evaluation.encrypted is not None else None
    for name, color, is_mated in (("mated", _MATED, True), ("non-mated", _NON_MATED, False)):
        of = plain.mated if is_mated else plain.non_mated
        shares = np.histogram(of, edges)[0] / of.size
        axes.stairs(
            100 * shares[::order], drawn[::order], fill=True, color=color, alpha=0.35, label=f"{name} ({of.size:,})"
        )
        if after is not None:
            # Edges are thresholds, and what passes one belongs to the bin that begins there.
            found = after.mated if is_mated else after.non_mated
            shares = np.histogram(found, edges)[0] / found.size
            axes.stairs(100 * shares[::order], drawn[::order], color=color, linewidth=1.4, label="  encrypted")
    axes.set_title("Scores")
    axes.set_xlabel(_LABELS[evaluation.metric])
    axes.set_ylabel("pairs of a kind, %")
    _mark_points(axes, evaluation, with_names=True)
    axes.margins(x=0.01)
    axes.set_ylim(top=axes.get_ylim()[1] * 1.28)
    axes.legend(loc="upper left", ncols=2)


def _draw_errors(axes: "Axes", evaluation: Evaluation) -> None:
    """FMR and FNMR at each threshold: lines in float64, dots by the encrypted decisions."""
    thresholds = evaluation.staircase.thresholds
    drawn = _units(thresholds, evaluation.metric)
    plain = evaluation.encrypted.plain if evaluation.encrypted is not None else evaluation.scores
    before = rates_at(plain, thresholds)
    after = None if evaluation.encrypted is None else rates_at(evaluation.encrypted.encrypted, thresholds)
    for position, (name, color) in enumerate((("FMR", _NON_MATED), ("FNMR", _MATED))):
        axes.step(drawn, 100 * before[position], where="mid", color=color, linewidth=1.4, label=name)
        if after is not None:
            axes.plot(
                drawn[:: _EVERY], 100 * after[position][:: _EVERY], "o", color=color, markersize=3.2,
                markerfacecolor="white", markeredgewidth=1.0, label=f"{name}, encrypted",
            )  # fmt: skip
    axes.set_title("Errors by threshold")
    axes.set_xlabel(f"threshold, {_LABELS[evaluation.metric]}")
    axes.set_ylabel("errors, %")
    axes.set_yscale("symlog", linthresh=1, linscale=0.5)
    axes.set_yticks([0, 1, 2, 5, 10, 20, 50, 100], labels=["0", "1", "2", "5", "10", "20", "50", "100"])
    axes.minorticks_off()
    axes.set_ylim(-0.2, 130)
    axes.margins(x=0.01)
    _mark_points(axes, evaluation, with_names=False)
    axes.grid(axis="y", color=_PALE, alpha=0.25, linewidth=0.6)
    axes.legend(loc="lower left", bbox_to_anchor=(0.02, 0.08))


def _draw_roc(axes: "Axes", evaluation: Evaluation) -> None:
    """True matches over false ones; no false match at all has a place of its own, left of the logarithmic axis."""
    encrypted = evaluation.encrypted
    plain = encrypted.plain if encrypted is not None else evaluation.scores
    one = 1 / plain.non_mated.size
    none, edge, floor = one / 2, one / 2**0.5, one / 2.8

    def place(fmr: Rates) -> Rates:
        return np.where(fmr > 0, fmr, none)

    axes.axvspan(floor, edge, color=_PALE, alpha=0.13, linewidth=0)
    thresholds = np.sort(np.concatenate([plain.similarities, evaluation.staircase.thresholds]))
    fmr, fnmr = rates_at(plain, thresholds)
    axes.plot(place(fmr), 100 * (1 - fnmr), color=_INK, linewidth=1.6, label="float64")
    if encrypted is not None:
        fmr, fnmr = rates_at(encrypted.encrypted, evaluation.staircase.thresholds)
        style: Any = {"markersize": 5, "markerfacecolor": "none", "markeredgewidth": 1.0, "linestyle": "none"}
        axes.plot(place(fmr), 100 * (1 - fnmr), marker="o", color=_BLUE, label="encrypted", **style)
    axes.set_xscale("log")
    axes.set_xlim(floor, 1.15)
    decades = [10.0**power for power in range(-9, 1) if 10.0**power > edge]
    axes.set_xticks([none, *decades], labels=["none", *(f"{100 * decade:g} %" for decade in decades)])
    axes.minorticks_off()
    axes.set_ylim(-3, 104)
    axes.set_title("ROC")
    axes.set_xlabel("false match rate")
    axes.set_ylabel("true match rate, %")
    axes.grid(color=_PALE, alpha=0.25, linewidth=0.6)
    axes.legend(loc="center", title=_areas(evaluation, encrypted), title_fontsize=8)


def _mark_points(axes: "Axes", evaluation: Evaluation, *, with_names: bool) -> None:
    for each in evaluation.points:
        axes.axvline(each.point.threshold, color=_INK, linewidth=0.8, linestyle=(0, (4, 3)), alpha=0.6)
        if with_names:
            axes.annotate(
                each.point.name,
                (each.point.threshold, 0.78),
                xycoords=("data", "axes fraction"),
                rotation=90,
                ha="center",
                va="top",
                fontsize=7.5,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
            )


def _areas(evaluation: Evaluation, encrypted: EncryptedFindings | None) -> str:
    if encrypted is None:
        return f"AUC {evaluation.separation.auc:.4f}"
    return f"AUC {encrypted.before.auc:.4f} in float64, {encrypted.after.auc:.4f} encrypted"


def _title(evaluation: Evaluation) -> str:
    encrypted = evaluation.encrypted
    data = evaluation.dataset.description
    if encrypted is None:
        return f"{evaluation.pipeline} on {data}"
    agreement = evaluation.agreement_everywhere
    return (
        f"{evaluation.pipeline} on {data}\n"
        f"{encrypted.scheme} ({encrypted.decisions.profile}): {agreement.different:,} of {agreement.compared:,} "
        "encrypted decisions differ from float64"
    )


def _units(similarities: NDArray[np.float64], metric: Metric) -> NDArray[np.float64]:
    return np.array([score_of(float(each), metric) for each in similarities])
