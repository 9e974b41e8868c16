"""A command's connection to the services."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from veilface.cli.options import state_folder, uses_environment
from veilface.cli.output import Output

if TYPE_CHECKING:
    from veilface.client import VeilfaceClient


@contextmanager
def connected(state: Path | None, output: Output, identity: str = "client") -> Iterator["VeilfaceClient"]:
    """A client for the length of a command; errors are reported and become exit codes.

    Args:
        state: The folder given, if any. Without one, VEILFACE_EMBEDDING_SERVICE and its siblings name the services
            if they are set, and the local stack in .veilface has them otherwise.
        output: Where errors go.
        identity: As whom to call a local stack: "client", or "operator" to create keys.
    """
    with output.reporting():
        from veilface.client import ClientSettings, VeilfaceClient

        settings = None if uses_environment(state) else ClientSettings.from_state(state_folder(state), identity)
        with VeilfaceClient.connect(settings) as client:
            yield client
