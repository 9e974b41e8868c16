"""A progress bar on standard error."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from veilface.cli.output import Output


@contextmanager
def progress_bar(output: Output, what: str, total: int) -> Iterator[Callable[..., None]]:
    """Show progress while the block runs; tell what it yields how many are done. Silent unless a person watches."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=output.errors, transient=True, disable=not output.errors.is_terminal) as progress:
        task = progress.add_task(what, total=total)

        def advance(count: int = 1) -> None:
            progress.advance(task, count)

        yield advance
