"""How a local stack is doing, seen from outside."""

from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from veilface.cli.local_stack.health import is_serving, redis_answers
from veilface.cli.local_stack.layout import StateLayout
from veilface.cli.local_stack.record import StackRecord
from veilface.cli.tables import table
from veilface.client import ClientSettings
from veilface.common.errors import FailedPreconditionError, Reason
from veilface.common.pki import tls_settings


@dataclass(frozen=True, slots=True)
class Part:
    """One process of the stack.

    Attributes:
        pid: None if it does not run.
    """

    name: str
    address: str
    pid: int | None
    is_ready: bool


def inspect(folder: Path) -> list[Part]:
    """Ask every process of a stack.

    Raises:
        ConfigurationError: INVALID_SETTING if there never was a stack in the folder.
        FailedPreconditionError: STACK_NOT_RUNNING.
    """
    layout = StateLayout.of(folder)
    settings = ClientSettings.from_state(layout.root)
    record = StackRecord.read(layout)
    if record is None:
        log = layout.log("up")
        hint = f"; if it was not stopped, {log} says why it ended" if log.exists() and log.stat().st_size else ""
        raise FailedPreconditionError(
            Reason.STACK_NOT_RUNNING,
            f"the local stack in {layout.root} is not running: start it with 'veilface up'{hint}",
        )
    tls = tls_settings(layout.certificates, "client")
    addresses = {
        "keys": settings.key_service,
        "embedding": settings.embedding_service,
        "matching": settings.matching_service,
    }
    parts = [Part("redis", record.redis_socket, _pid(record, "redis"), redis_answers(Path(record.redis_socket)))]
    for name, address in addresses.items():
        parts.append(Part(name, address, _pid(record, name), is_serving(address, tls)))
    return parts


def status_table(parts: list[Part]) -> Table:
    """The parts, for people."""
    made = table("part", "address", "pid", "state", right=("pid",))
    for part in parts:
        state = "[green]ready[/]" if part.is_ready else "[yellow]not ready[/]" if part.pid else "[red]stopped[/]"
        made.add_row(part.name, part.address, str(part.pid or ""), state)
    return made


def _pid(record: StackRecord, name: str) -> int | None:
    child = record.children.get(name)
    return child.pid if child is not None and child.is_running else None
