"""Which processes of a local stack run: written while they do, so that another command can stop them."""

import fcntl
import json
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from veilface.cli.local_stack.layout import StateLayout
from veilface.cli.local_stack.process import start_mark, wait_until_gone
from veilface.common.errors import FailedPreconditionError, Reason
from veilface.common.files import write_private_file

_ORDERLY_STOP_S = 45.0
_KILL_S = 5.0


@dataclass(frozen=True, slots=True)
class RunningProcess:
    """A process and the mark that tells it from a later one with the same id."""

    pid: int
    started: str

    @property
    def is_running(self) -> bool:
        """Whether it still runs."""
        return start_mark(self.pid) == self.started


@dataclass(frozen=True, slots=True)
class StackRecord:
    """The processes of a stack.

    Attributes:
        supervisor: The process that started the others and will stop them.
        children: The others by name.
        redis_socket: The path of Redis's unix socket.
    """

    supervisor: RunningProcess
    children: Mapping[str, RunningProcess]
    redis_socket: str

    @classmethod
    def read(cls, layout: StateLayout) -> "StackRecord | None":
        """What was recorded; None if nothing was, or nothing that makes sense."""
        try:
            document = json.loads(layout.record.read_bytes())
            return cls(
                RunningProcess(**document["supervisor"]),
                {name: RunningProcess(**child) for name, child in document["children"].items()},
                str(document["redis_socket"]),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    @classmethod
    def of_this_process(cls, pids: Mapping[str, int | None], redis_socket: Path) -> "StackRecord":
        """A stack that this process runs."""
        children = {name: _running(pid) for name, pid in pids.items() if pid is not None}
        return cls(_running(os.getpid()), children, str(redis_socket))

    def save(self, layout: StateLayout) -> None:
        """Write it."""
        document = {
            "supervisor": {"pid": self.supervisor.pid, "started": self.supervisor.started},
            "children": {name: {"pid": child.pid, "started": child.started} for name, child in self.children.items()},
            "redis_socket": self.redis_socket,
        }
        write_private_file(layout.record, (json.dumps(document, indent=2) + "\n").encode())


@contextmanager
def exclusive(layout: StateLayout) -> Iterator[None]:
    """Hold the state folder: one stack at a time.

    Raises:
        FailedPreconditionError: STACK_RUNNING.
    """
    descriptor = os.open(layout.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FailedPreconditionError(
                Reason.STACK_RUNNING,
                f"the local stack in {layout.root} runs already: see 'veilface status', stop it with 'veilface down'",
            ) from error
        yield
    finally:
        os.close(descriptor)


def stop_recorded(layout: StateLayout) -> bool:
    """Stop the stack of another process, in order if that process lives, at once if it left others behind.

    Returns:
        Whether anything ran.
    """
    record = StackRecord.read(layout)
    if record is None:
        return False
    stopped = _end(record.supervisor, signal.SIGTERM, _ORDERLY_STOP_S)
    left_behind = end_leftovers(record)
    layout.record.unlink(missing_ok=True)
    return stopped or left_behind


def end_leftovers(record: StackRecord) -> bool:
    """End the processes that a killed supervisor left behind; answers whether there were any."""
    ended = [child for child in record.children.values() if _end(child, signal.SIGKILL, _KILL_S)]
    return bool(ended)


def _end(process: RunningProcess, number: signal.Signals, timeout_s: float) -> bool:
    if not process.is_running:
        return False
    try:
        os.kill(process.pid, number)
    except ProcessLookupError:
        return False
    if not wait_until_gone(process.pid, process.started, timeout_s):
        os.kill(process.pid, signal.SIGKILL)
        wait_until_gone(process.pid, process.started, _KILL_S)
    return True


def _running(pid: int) -> RunningProcess:
    return RunningProcess(pid, start_mark(pid) or "")
