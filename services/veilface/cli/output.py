"""What the command line prints: documents for scripts on standard output, or text and tables for people."""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import typer

from veilface.cli.exit_codes import ExitCode, exit_code_of
from veilface.common.errors import VeilfaceError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


_WIDTH_OF_FILES = 160


class Output:
    """Where results, progress and errors go.

    Args:
        as_json: One JSON document on standard output instead of text.
    """

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self._has_written = False

    @cached_property
    def console(self) -> "Console":
        """Standard output, for people."""
        return _console(stderr=False)

    @cached_property
    def errors(self) -> "Console":
        """Standard error: progress, notes and errors."""
        return _console(stderr=True)

    def show(self, document: Mapping[str, Any], *renderables: "RenderableType") -> None:
        """Print the result: the document, or the renderables in its place."""
        if self.as_json:
            self.write(document)
            return
        for renderable in renderables:
            self.console.print(renderable)

    def write(self, document: Mapping[str, Any]) -> None:
        """Print a document."""
        self._has_written = True
        sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """Tell people something on standard error."""
        self.errors.print(text)

    def fail(self, error: VeilfaceError, code: ExitCode) -> None:
        """Print an error on standard error, and as the document if none was printed before."""
        if self.as_json and not self._has_written:
            self.write({"error": {"reason": error.reason.value, "message": error.message, "exit_code": int(code)}})
        first, _, rest = error.message.partition("\n")
        from rich.text import Text

        self.errors.print(Text.assemble(("error", "bold red"), f": {first} ", (f"[{error.reason.value}]", "dim")))
        if rest:
            self.errors.print(Text(rest, "dim"))

    def confirm(self, question: str) -> None:
        """Go on only if a person says yes.

        Raises:
            typer.BadParameter: If there is nobody to ask.
            typer.Abort: If the answer is no.
        """
        if self.as_json or not _somebody_is_there():
            raise typer.BadParameter(f"{question} There is nobody to ask: add --yes", param_hint="--yes")
        typer.confirm(question, abort=True, err=True)

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """Turn errors into messages and exit codes."""
        try:
            yield
        except VeilfaceError as error:
            code = exit_code_of(error)
            self.fail(error, code)
            raise typer.Exit(code) from None
        except (KeyboardInterrupt, typer.Abort):
            raise typer.Exit(ExitCode.INTERRUPTED) from None


def _somebody_is_there() -> bool:
    return sys.stdin.isatty()


def _console(stderr: bool) -> "Console":
    from rich.console import Console

    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal:
        # Nobody sees where a line ends in a file, but names broken in two are hard to search for.
        console.width = _WIDTH_OF_FILES
    return console
