"""veilface up: in the foreground until it is told to stop, or detached in a process that does the same."""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape

from veilface.cli.exit_codes import ExitCode, error_of
from veilface.cli.local_stack.layout import StateLayout
from veilface.cli.local_stack.signals import interrupted_by_signals
from veilface.cli.local_stack.stack import READY_TIMEOUT_S, LocalStack, Started
from veilface.cli.output import Output
from veilface.client.keys import Key
from veilface.common.errors import Reason, UnavailableError

_WATCH_S = 0.5


def run_in_foreground(folder: Path, output: Output, settings: Mapping[str, str] | None = None) -> None:
    """Start a stack, say so, and watch it until a signal stops it.

    Args:
        folder: The state folder.
        output: Where to say so.
        settings: As for `LocalStack`.

    Raises:
        UnavailableError: STACK_FAILED if a process ends by itself; the others are stopped.
        VeilfaceError: As for `LocalStack.start`.
    """
    began_s = time.monotonic()
    started: list[Started] = []

    def on_started(process: Started) -> None:
        started.append(process)
        _tell_started(output, process)

    stack = LocalStack(folder, on_started=on_started, settings=settings)
    with interrupted_by_signals():
        if not output.as_json:
            output.note(f"[bold]veilface[/] local stack in {escape(str(stack.layout.root))}")
        stack.start()
        try:
            key, is_new = stack.ensure_key()
            _tell_ready(output, stack, started, key, is_new, time.monotonic() - began_s)
            _watch(stack)
            if not output.as_json:
                output.note("stopping")
        finally:
            stack.stop()


def run_detached(folder: Path, output: Output, arguments: Sequence[str] = ()) -> None:
    """Start a stack in a process of its own and return when it is ready.

    Args:
        folder: The state folder.
        output: Where to say so.
        arguments: More of `veilface up`.

    Raises:
        VeilfaceError: What that process failed with.
    """
    layout = StateLayout.of(folder)
    layout.create()
    command = [sys.executable, "-m", "veilface.cli.app", "up", "--json", "--state", str(layout.root), *arguments]
    with layout.log("up").open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - this program itself
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, start_new_session=True
        )
    document = _read_document(process, 4 * READY_TIMEOUT_S, layout.log("up"))
    if "error" in document:
        error = document["error"]
        raise error_of(ExitCode(error["exit_code"]), Reason(error["reason"]), error["message"])
    if output.as_json:
        output.write(document)
        return
    for name, service in document["services"].items():
        _tell_started(output, Started(name, service["address"], service["pid"], service["seconds"]))
    output.note(f"ready in {document['seconds']:.1f} s; stop it with 'veilface down'")


def _read_document(process: "subprocess.Popen[bytes]", timeout_s: float, log: Path) -> dict[str, Any]:
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    os.set_blocking(descriptor, False)
    deadline_s = time.monotonic() + timeout_s
    received = b""
    while time.monotonic() < deadline_s:
        if select.select([descriptor], [], [], 1.0)[0]:
            piece = os.read(descriptor, 65_536)
            received += piece
            try:
                document = json.loads(received)
            except ValueError:
                if not piece:
                    raise UnavailableError(
                        Reason.STACK_FAILED, f"the detached process ended without an answer: {log} may say why"
                    ) from None
                continue
            assert isinstance(document, dict)
            return document
    process.terminate()
    raise UnavailableError(
        Reason.STACK_FAILED, f"the detached process was not ready in {timeout_s:.0f} s and is being stopped: see {log}"
    )


def _watch(stack: LocalStack) -> None:
    try:
        while True:
            time.sleep(_WATCH_S)
            stack.check()
    except KeyboardInterrupt:
        return


def _tell_started(output: Output, process: Started) -> None:
    if not output.as_json:
        output.note(f"  [green]ready[/]  {process.name:<10} {process.address:<24} [dim]{process.seconds:.1f} s[/]")


def _tell_ready(
    output: Output, stack: LocalStack, started: list[Started], key: Key, is_new: bool, seconds: float
) -> None:
    if output.as_json:
        output.write(
            {
                "state": str(stack.layout.root),
                "seconds": round(seconds, 3),
                "services": {
                    process.name: {
                        "address": process.address,
                        "pid": process.pid,
                        "seconds": round(process.seconds, 3),
                    }
                    for process in started
                },
                "key": key.name,
            }
        )
        return
    made = "made" if is_new else "kept"
    output.note(f"  key {key.name} ({key.profile}) {made}")
    output.note(f"ready in {seconds:.1f} s; logs in {escape(str(stack.layout.logs))}")
    output.note("try: [bold]veilface gallery create staff[/], then [bold]veilface enroll staff PHOTO --subject NAME[/]")
    output.note("[dim]Ctrl-C stops it[/]")
