"""veilface up, down and status: the local stack."""

from typing import Annotated

import typer

from veilface.cli.exit_codes import ExitCode
from veilface.cli.options import JsonOption, StateOption, state_folder
from veilface.cli.output import Output

_PANEL = "Local stack"

DetachOption = Annotated[
    bool, typer.Option("--detach", "-d", help="Return when it is ready; 'veilface down' stops it.")
]
PipelinesOption = Annotated[
    str,
    typer.Option(
        "--pipelines",
        metavar="NAMES",
        envvar="VEILFACE_EMBEDDING_PIPELINES",
        show_default="dlib-resnet/hog/chip",
        help="Recognition pipelines as model/detector/alignment, separated by commas, the default first, for example "
        "Facenet/yunet/deepface.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(rich_help_panel=_PANEL)(up)
    app.command(rich_help_panel=_PANEL)(down)
    app.command(rich_help_panel=_PANEL)(status)


def up(
    state: StateOption = None,
    detach: DetachOption = False,
    pipelines: PipelinesOption = "",
    as_json: JsonOption = False,
) -> None:
    """Start the three services and a Redis on this machine, with their own certificates, and a key named "default"."""
    output = Output(as_json)
    with output.reporting():
        from veilface.cli.local_stack.foreground import run_detached, run_in_foreground

        if detach:
            run_detached(state_folder(state), output, ("--pipelines", pipelines) if pipelines else ())
        else:
            settings = {"embedding_pipelines": pipelines} if pipelines else {}
            run_in_foreground(state_folder(state), output, settings)


def down(state: StateOption = None, as_json: JsonOption = False) -> None:
    """Stop the local stack. What it stored stays."""
    output = Output(as_json)
    with output.reporting():
        from veilface.cli.local_stack.layout import StateLayout
        from veilface.cli.local_stack.record import stop_recorded

        stopped = stop_recorded(StateLayout.of(state_folder(state)))
        output.show({"stopped": stopped}, "stopped" if stopped else "nothing was running")


def status(state: StateOption = None, as_json: JsonOption = False) -> None:
    """Show which parts of the local stack run and answer."""
    output = Output(as_json)
    with output.reporting():
        from veilface.cli.local_stack.inspection import inspect, status_table

        parts = inspect(state_folder(state))
        document = {
            "state": str(state_folder(state).absolute()),
            "is_ready": all(part.is_ready for part in parts),
            "services": {
                part.name: {"address": part.address, "pid": part.pid, "is_ready": part.is_ready} for part in parts
            },
        }
        output.show(document, status_table(parts))
        if not document["is_ready"]:
            raise typer.Exit(ExitCode.UNAVAILABLE)
