"""One process of the local stack: its own session, its output in a log file."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from veilface.common.errors import Reason, UnavailableError

_TAIL_LINES = 15
_TAIL_BYTES = 8192
_LARGEST_LOG_BYTES = 16 << 20
_KILL_TIMEOUT_S = 10.0


class StackProcess:
    """A process that can be started, stopped, killed and started again.

    Args:
        name: For people: "redis", "embedding", "keys" or "matching".
        command: The program and its arguments.
        environment: All of its environment.
        log: The file that its output is appended to.
    """

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self._command = tuple(command)
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    def start(self) -> None:
        """Start it. Raises UnavailableError STACK_FAILED if there is no such program."""
        if self.is_running:
            return
        if self.log.exists() and self.log.stat().st_size > _LARGEST_LOG_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            self._log_start = os.fstat(descriptor).st_size
            # In a session of its own, an interrupt from the keyboard does not reach it: the stack stops it in order.
            self._process = subprocess.Popen(  # noqa: S603 - the command is this package's own
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                start_new_session=True,
            )
        except OSError as error:
            raise UnavailableError(
                Reason.STACK_FAILED, f"{self.name} cannot be started ({self._command[0]}: {error.strerror})"
            ) from error
        finally:
            os.close(descriptor)

    @property
    def pid(self) -> int | None:
        """Its id while it runs."""
        return self._process.pid if self._process is not None and self.is_running else None

    @property
    def is_running(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def check(self) -> None:
        """Raise UnavailableError STACK_FAILED with the end of its log if it has ended by itself."""
        if self._process is None or self.is_running:
            return
        raise UnavailableError(
            Reason.STACK_FAILED,
            f"{self.name} {_how_it_ended(self._process.returncode)}. The end of {self.log}:\n{self.log_tail()}",
        )

    def ask_to_stop(self) -> None:
        """Ask it to end, without waiting."""
        self._signal(signal.SIGTERM)

    def stop(self, timeout_s: float) -> None:
        """Ask it to end, and end it if it has not after the timeout."""
        self.ask_to_stop()
        try:
            self._wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._signal(signal.SIGKILL)
        self._wait(_KILL_TIMEOUT_S)

    def log_tail(self) -> str:
        """The last lines of its output since it was started."""
        with self.log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(self._log_start, size - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
        return "\n".join(lines[-_TAIL_LINES:]) or "(it wrote nothing)"

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self.is_running:
            self._process.send_signal(number)

    def _wait(self, timeout_s: float) -> None:
        if self._process is not None:
            self._process.wait(timeout_s)


def wait_until_gone(pid: int, started: str, timeout_s: float) -> bool:
    """Wait for a process that is not a child of this one; answers whether it is gone."""
    deadline_s = time.monotonic() + timeout_s
    while start_mark(pid) == started:
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.05)
    return True


def start_mark(pid: int) -> str | None:
    """When a process was started, so that its id is not mistaken for that of a later one; None if it is gone."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            # The name in parentheses may hold anything; state and start time are 1 and 20 places after it.
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] == "Z" else fields[19]
    finished = subprocess.run(  # noqa: S603
        ["/bin/ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, timeout=10, check=False
    )
    return finished.stdout.strip() or None


def _how_it_ended(return_code: int) -> str:
    if return_code < 0:
        return f"was ended by {signal.Signals(-return_code).name}"
    return f"ended with exit code {return_code}"
