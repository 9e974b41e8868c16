"""veilface demo: the whole path on photographs, from a fresh stack to a table of decisions."""

from pathlib import Path
from typing import Annotated

import typer

from veilface.cli.options import JsonOption
from veilface.cli.output import Output

PhotosOption = Annotated[
    Path | None,
    typer.Option(
        "--photos",
        metavar="DIR",
        exists=True,
        file_okay=False,
        readable=True,
        show_default="portraits from PyPI packages",
        help="One folder of photographs per person, or photographs with a master.csv of pairs (file_x, file_y, "
        "Decision).",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel="Local stack")(demo)


def demo(photos: PhotosOption = None, as_json: JsonOption = False) -> None:
    """Enroll, verify and identify people on a stack made for it, and show what each service saw."""
    output = Output(as_json)
    with output.reporting():
        from veilface.cli.demo.run import run_demo

        code = run_demo(photos, output)
    raise typer.Exit(code)
