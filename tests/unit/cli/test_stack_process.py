import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from veilface.cli.local_stack.process import StackProcess, start_mark, wait_until_gone
from veilface.common.errors import Reason, UnavailableError

SLEEP = "import time; time.sleep(60)"


class Programs:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[StackProcess] = []

    def make(self, program: str) -> StackProcess:
        command = (sys.executable, "-c", program)
        process = StackProcess("keys", command, dict(os.environ), self._folder / "keys.log")
        self._started.append(process)
        return process

    def close(self) -> None:
        for process in self._started:
            process.stop(5)


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    made = Programs(tmp_path)
    yield made
    made.close()


def wait_for_end(process: StackProcess) -> None:
    assert process.pid is not None
    mark = start_mark(process.pid)
    assert mark is None or wait_until_gone(process.pid, mark, 20)


def test_a_running_process_is_fine(programs: Programs) -> None:
    process = programs.make(SLEEP)
    process.start()
    process.check()
    assert process.is_running


def test_a_crash_is_reported_with_the_end_of_its_log(programs: Programs) -> None:
    process = programs.make("import sys; print('the database is locked'); sys.exit(78)")
    process.start()
    wait_for_end(process)
    with pytest.raises(UnavailableError, match=r"exit code 78[\s\S]*the database is locked") as caught:
        process.check()
    assert caught.value.reason is Reason.STACK_FAILED


def test_only_what_was_written_since_the_start_is_reported(programs: Programs) -> None:
    process = programs.make("print('once')")
    process.start()
    wait_for_end(process)
    process.start()
    wait_for_end(process)
    assert process.log_tail() == "once"
    assert process.log.read_text() == "once\nonce\n"


def test_a_killed_process_says_so_and_can_be_started_again(programs: Programs) -> None:
    process = programs.make(SLEEP)
    process.start()
    first = process.pid
    process.kill()
    with pytest.raises(UnavailableError, match="SIGKILL"):
        process.check()
    process.start()
    process.check()
    assert process.pid not in (None, first)


def test_a_process_that_ignores_the_stop_signal_is_ended(programs: Programs, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    process = programs.make(
        f"import pathlib, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        f"pathlib.Path({str(ready)!r}).touch(); time.sleep(60)"
    )
    process.start()
    while not ready.exists():
        process.check()
    pid = process.pid
    assert pid is not None
    process.stop(0.1)
    assert start_mark(pid) is None


def test_a_missing_program_is_an_error(tmp_path: Path) -> None:
    process = StackProcess("redis", [str(tmp_path / "missing")], {}, tmp_path / "redis.log")
    with pytest.raises(UnavailableError, match="redis cannot be started"):
        process.start()


def test_its_log_is_for_its_owner_only(programs: Programs) -> None:
    process = programs.make("print('hello')")
    process.start()
    assert process.log.stat().st_mode & 0o777 == 0o600


def test_an_interrupt_from_the_keyboard_does_not_reach_it(programs: Programs) -> None:
    process = programs.make(SLEEP)
    process.start()
    assert process.pid is not None
    assert os.getsid(process.pid) == process.pid != os.getsid(0)


def test_start_marks_tell_processes_apart() -> None:
    mark = start_mark(os.getpid())
    assert mark is not None
    assert mark == start_mark(os.getpid())
    assert start_mark(2**22 - 1) is None


def test_waiting_for_a_process_that_stays_ends(programs: Programs) -> None:
    process = programs.make(SLEEP)
    process.start()
    assert process.pid is not None
    mark = start_mark(process.pid)
    assert mark is not None
    assert not wait_until_gone(process.pid, mark, 0.1)
    os.kill(process.pid, signal.SIGKILL)
    assert wait_until_gone(process.pid, mark, 10)
