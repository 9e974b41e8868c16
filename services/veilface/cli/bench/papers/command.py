"""What `veilface bench papers` does."""

import sys
from pathlib import Path

from veilface.cli.bench.measurement import Sheet
from veilface.cli.bench.papers.lines import closing_lines, json_lines
from veilface.cli.bench.papers.rows import Row
from veilface.cli.bench.papers.run import DIMENSIONS, QUICK_DIMENSIONS, Papers, check_peers
from veilface.cli.bench.papers.table import show


def run_papers(*, quick: bool, plot: Path | None, cap_s: float, as_json: bool) -> None:
    """Measure everything; print JSON lines as they come, or tables at the end; draw the figure.

    Raises:
        ConfigurationError: INVALID_SETTING if a package is missing or the figure cannot be written.
        InvalidArgumentError: INVALID_FIELD for a figure of another format.
    """
    from veilface.cli.evaluation.plot import check_plot

    check_peers()
    if plot is not None:
        check_plot(plot)
    papers = Papers(QUICK_DIMENSIONS if quick else DIMENSIONS, cap_s)
    closing = Sheet("", 1, max(papers.dimensions))
    for row in papers.measure():
        if as_json:
            beside = papers.beside(row) if isinstance(row, Row) else None
            sys.stdout.writelines(f"{line}\n" for line in json_lines(row, beside))
            sys.stdout.flush()
    closing.finish()
    if as_json:
        sys.stdout.writelines(f"{line}\n" for line in closing_lines(closing))
    else:
        show(papers, closing)
    if plot is not None:
        from veilface.cli.bench.papers.plot import draw

        draw(papers, plot)
