"""`veilface up` and `veilface down` as processes: started, stopped, crashed and cleaned up after."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from veilface.cli.exit_codes import ExitCode
from veilface.cli.local_stack.layout import StateLayout
from veilface.cli.local_stack.process import wait_until_gone
from veilface.cli.local_stack.record import StackRecord, stop_recorded

TIMEOUT_S = 300
NAMES = {"redis", "keys", "embedding", "matching"}


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[StateLayout]:
    made = StateLayout.of(tmp_path / "state")
    yield made
    stop_recorded(made)


def veilface(layout: StateLayout, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command(layout, *arguments), capture_output=True, text=True, timeout=TIMEOUT_S, check=False)


def command(layout: StateLayout, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "veilface.cli.app", *arguments, "--json", "--state", str(layout.root)]


def record_of(layout: StateLayout) -> StackRecord:
    record = StackRecord.read(layout)
    assert record is not None
    return record


def test_a_detached_stack_is_found_stopped_and_started_again(layout: StateLayout) -> None:
    up = veilface(layout, "up", "--detach")
    assert up.returncode == ExitCode.DONE, up.stderr
    first = json.loads(up.stdout)
    assert set(first["services"]) == NAMES
    again = veilface(layout, "up", "--detach")
    assert (again.returncode, error_reason(again)) == (ExitCode.SETUP, "STACK_RUNNING")
    assert veilface(layout, "status").returncode == ExitCode.DONE
    record = record_of(layout)

    # A supervisor that was killed leaves the others behind, and "down" finds them.
    os.kill(record.supervisor.pid, signal.SIGKILL)
    assert all(child.is_running for child in record.children.values())
    down = veilface(layout, "down")
    assert json.loads(down.stdout) == {"stopped": True}
    assert not any(child.is_running for child in record.children.values())
    stopped = veilface(layout, "status")
    assert (stopped.returncode, error_reason(stopped)) == (ExitCode.SETUP, "STACK_NOT_RUNNING")

    second = veilface(layout, "up", "--detach")
    assert second.returncode == ExitCode.DONE, second.stderr
    assert addresses(json.loads(second.stdout)) == addresses(first)
    record = record_of(layout)
    assert json.loads(veilface(layout, "down").stdout) == {"stopped": True}
    assert not any(process.is_running for process in (record.supervisor, *record.children.values()))


def test_a_crash_stops_the_stack_and_is_reported_with_its_log(layout: StateLayout) -> None:
    up = subprocess.Popen(command(layout, "up"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        record = wait_until_ready(layout, up)
        os.kill(record.children["matching"].pid, signal.SIGKILL)
        stdout, stderr = up.communicate(timeout=TIMEOUT_S)
    finally:
        up.kill()
    assert up.returncode == ExitCode.SETUP
    assert "matching was ended by SIGKILL" in stderr.replace("\n", " ")
    assert "matching.log" in stderr
    # One document, whatever happens later.
    assert set(json.loads(stdout)["services"]) == NAMES
    assert not any(child.is_running for child in record.children.values())
    assert not layout.record.exists()


def test_why_a_detached_stack_ended_is_in_its_log(layout: StateLayout) -> None:
    up = veilface(layout, "up", "--detach")
    assert up.returncode == ExitCode.DONE, up.stderr
    record = record_of(layout)
    os.kill(record.children["matching"].pid, signal.SIGKILL)
    assert wait_until_gone(record.supervisor.pid, record.supervisor.started, TIMEOUT_S)
    assert "matching was ended by SIGKILL" in layout.log("up").read_text()
    assert not any(child.is_running for child in record.children.values())
    stopped = veilface(layout, "status")
    assert (stopped.returncode, error_reason(stopped)) == (ExitCode.SETUP, "STACK_NOT_RUNNING")
    assert str(layout.log("up")) in json.loads(stopped.stdout)["error"]["message"]


def test_a_detached_start_fails_like_one_in_the_foreground(layout: StateLayout) -> None:
    layout.create()
    (layout.certificates / "ca.crt").write_text("not a certificate")
    (layout.certificates / "ca.key").write_text("not a key")
    foreground, detached = veilface(layout, "up"), veilface(layout, "up", "--detach")
    assert json.loads(detached.stdout) == json.loads(foreground.stdout)
    assert detached.returncode == foreground.returncode == ExitCode.SETUP
    assert error_reason(detached) == "INVALID_SETTING"


def test_stopping_a_start_twice_leaves_nothing_behind(layout: StateLayout) -> None:
    up = subprocess.Popen(command(layout, "up"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        deadline_s = time.monotonic() + TIMEOUT_S
        while (record := StackRecord.read(layout)) is None:
            assert up.poll() is None, "it ended before it was started"
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
        # Its services are starting. Whoever is impatient asks again and again.
        while up.poll() is None:
            up.send_signal(signal.SIGINT)
            time.sleep(0.05)
            assert time.monotonic() < deadline_s
    finally:
        up.kill()
        up.communicate(timeout=TIMEOUT_S)
    # One that comes when all is done already ends the process itself.
    assert up.returncode in (ExitCode.INTERRUPTED, -signal.SIGINT)
    assert not any(child.is_running for child in record.children.values())
    assert not layout.record.exists()


def wait_until_ready(layout: StateLayout, up: "subprocess.Popen[str]") -> StackRecord:
    deadline_s = time.monotonic() + TIMEOUT_S
    while veilface(layout, "status").returncode != ExitCode.DONE:
        assert up.poll() is None, "it ended before it was ready"
        assert time.monotonic() < deadline_s
        time.sleep(0.2)
    return record_of(layout)


def addresses(document: dict[str, Any]) -> set[str]:
    return {service["address"] for service in document["services"].values()}


def error_reason(finished: "subprocess.CompletedProcess[str]") -> str:
    return str(json.loads(finished.stdout)["error"]["reason"])
