"""Runs the demo on a stack of its own."""

import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Final

from rich.markup import escape

from veilface.cli.demo.collection import Collection, collection, collection_from_folder
from veilface.cli.demo.portraits import packaged_portraits
from veilface.cli.demo.questions import Interview
from veilface.cli.demo.report import document, tables
from veilface.cli.exit_codes import ExitCode
from veilface.cli.local_stack.signals import interrupted_by_signals
from veilface.cli.local_stack.stack import LocalStack, Started
from veilface.cli.output import Output
from veilface.cli.progress import progress_bar
from veilface.keys.conversion.policy import policy_to_proto
from veilface.keys.domain.policy import UNLIMITED, KeyPolicy

KEY: Final = "demo"
# It asks about everybody many times within a minute, as no caller of a real key should.
DEMO_POLICY: Final = KeyPolicy(quotas=UNLIMITED)


def run_demo(photos: Path | None, output: Output) -> ExitCode:
    """Start a stack in a temporary folder, ask, report and stop it.

    Args:
        photos: A folder of photographs; None for portraits from packages.
        output: Where tables or the document go.

    Returns:
        DONE if every decision was right, else NO_MATCH.

    Raises:
        VeilfaceError: If the photographs cannot be had or a service fails.
    """
    began_s = time.monotonic()
    chosen = _collection(photos, output)
    output.note(f"[bold]veilface demo[/] on {escape(chosen.origin)}; starting a stack of its own")

    def on_started(process: Started) -> None:
        output.note(f"  [green]ready[/]  {process.name:<10} [dim]{process.seconds:.1f} s[/]")

    with (
        interrupted_by_signals(),
        tempfile.TemporaryDirectory(prefix="veilface-demo-") as folder,
        LocalStack(Path(folder), on_started=on_started) as stack,
    ):
        with stack.client("operator") as operator:
            operator.keys.create(KEY, policy=policy_to_proto(DEMO_POLICY))
        with stack.client() as client:
            findings = Interview(client, KEY, chosen, partial(progress_bar, output)).run()
    seconds = time.monotonic() - began_s
    output.show(document(chosen, findings, seconds), *tables(chosen, findings, seconds))
    return ExitCode.DONE if findings.all_right else ExitCode.NO_MATCH


def _collection(photos: Path | None, output: Output) -> Collection:
    if photos is not None:
        return collection_from_folder(photos)
    return collection("portraits from Python packages", packaged_portraits(output.note))
