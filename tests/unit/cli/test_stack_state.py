"""The state folder: who may read it, what is kept from one start to the next, and who holds it."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from veilface.cli.local_stack.addresses import choose_addresses
from veilface.cli.local_stack.credentials import ensure_credentials
from veilface.cli.local_stack.layout import StateLayout
from veilface.cli.local_stack.process import start_mark
from veilface.cli.local_stack.record import RunningProcess, StackRecord, exclusive, stop_recorded
from veilface.cli.local_stack.services import service_process
from veilface.client import ClientSettings
from veilface.common.errors import ConfigurationError, FailedPreconditionError, Reason
from veilface.common.identities import EMBEDDING_IDENTITY, KEYS_IDENTITY, MATCHING_IDENTITY, OPERATOR_IDENTITY
from veilface.common.signing import TrustStore

ADDRESSES = {"embedding": "127.0.0.1:1", "keys": "127.0.0.1:2", "matching": "127.0.0.1:3"}


@pytest.fixture
def layout(tmp_path: Path) -> StateLayout:
    made = StateLayout.of(tmp_path / "state")
    made.create()
    return made


def test_only_the_owner_may_look_inside(layout: StateLayout) -> None:
    assert layout.root.stat().st_mode & 0o777 == 0o700
    ensure_credentials(layout)
    private = [*layout.certificates.glob("*.key"), *layout.signing.iterdir(), layout.master_key]
    assert len(private) == 11
    assert {path.stat().st_mode & 0o777 for path in private} == {0o600}


def test_a_folder_that_was_open_to_others_is_closed(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    folder.chmod(0o755)
    StateLayout.of(folder).create()
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(ConfigurationError):
        StateLayout.of(tmp_path / "state").create()


def test_credentials_are_made_once(layout: StateLayout) -> None:
    ensure_credentials(layout)
    before = {path: path.read_bytes() for path in layout.root.rglob("*") if path.is_file()}
    ensure_credentials(layout)
    assert {path: path.read_bytes() for path in before} == before
    assert len(before) > 15


def test_each_service_trusts_only_those_it_must(layout: StateLayout) -> None:
    ensure_credentials(layout)
    matching = TrustStore.from_file(layout.trust / "matching.json")
    keys = TrustStore.from_file(layout.trust / "keys.json")
    assert matching.identities == {EMBEDDING_IDENTITY, KEYS_IDENTITY, OPERATOR_IDENTITY}
    assert keys.identities == {EMBEDDING_IDENTITY, KEYS_IDENTITY, MATCHING_IDENTITY}


def test_addresses_are_free_distinct_and_told_to_clients(layout: StateLayout) -> None:
    addresses = choose_addresses(layout)
    assert len(set(addresses.values())) == 3
    settings = ClientSettings.from_state(layout.root)
    assert (settings.embedding_service, settings.key_service, settings.matching_service) == (
        addresses["embedding"],
        addresses["keys"],
        addresses["matching"],
    )


def test_addresses_stay_the_same_unless_somebody_took_one(layout: StateLayout) -> None:
    first = choose_addresses(layout)
    assert choose_addresses(layout) == first
    host, _, port = first["keys"].rpartition(":")
    with socket.socket() as taken:
        taken.bind((host, int(port)))
        taken.listen()
        second = choose_addresses(layout)
    assert second["keys"] != first["keys"]
    assert second["matching"] == first["matching"]


def test_a_stack_is_held_by_one_process(layout: StateLayout) -> None:
    with exclusive(layout), pytest.raises(FailedPreconditionError) as caught, exclusive(layout):
        pass
    assert caught.value.reason is Reason.STACK_RUNNING
    with exclusive(layout):
        pass


def test_what_a_killed_supervisor_left_behind_is_stopped(layout: StateLayout) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    mark = start_mark(child.pid)
    assert mark is not None
    gone = RunningProcess(2**22 - 1, "0")
    StackRecord(gone, {"keys": RunningProcess(child.pid, mark)}, "redis.sock").save(layout)
    assert stop_recorded(layout)
    assert child.wait(10) != 0
    assert not layout.record.exists()
    assert not stop_recorded(layout)


def test_a_process_that_only_has_the_same_id_is_left_alone(layout: StateLayout) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        StackRecord(RunningProcess(child.pid, "another start"), {}, "redis.sock").save(layout)
        assert not stop_recorded(layout)
        assert child.poll() is None
    finally:
        child.kill()
        child.wait(10)


@pytest.mark.parametrize("content", ["", "[]", '{"supervisor": 1}', '{"supervisor": {"pid": 1}, "children": {}}'])
def test_a_broken_record_is_no_record(layout: StateLayout, content: str) -> None:
    layout.record.write_text(content)
    assert StackRecord.read(layout) is None


def test_a_record_is_read_as_it_was_written(layout: StateLayout) -> None:
    record = StackRecord.of_this_process({"keys": os.getpid(), "redis": None}, layout.redis / "redis.sock")
    record.save(layout)
    assert StackRecord.read(layout) == record
    assert set(record.children) == {"keys"}


def test_services_do_not_inherit_what_would_weaken_them(layout: StateLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEILFACE_INSECURE", "true")
    monkeypatch.setenv("VEILFACE_MASTER_KEY", "planted")
    monkeypatch.setenv("VEILFACE_LOG_LEVEL", "debug")
    process = service_process(layout, "keys", ADDRESSES, layout.redis / "redis.sock")
    environment = process._environment
    assert "VEILFACE_INSECURE" not in environment
    assert "VEILFACE_MASTER_KEY" not in environment
    assert environment["VEILFACE_LOG_LEVEL"] == "debug"
    assert environment["VEILFACE_MASTER_KEY_FILE"] == str(layout.master_key)


@pytest.mark.parametrize("variable", ["VEILFACE_RESEARCH", "VEILFACE_CRYPTO_THREADS", "VEILFACE_WORKERS"])
def test_services_are_told_what_their_caller_may_choose(
    layout: StateLayout, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "1")
    for name in ADDRESSES:
        process = service_process(layout, name, ADDRESSES, layout.redis / "redis.sock")
        assert process._environment[variable] == "1"


@pytest.mark.parametrize("name", ["embedding", "matching"])
def test_only_the_key_service_is_told_where_the_master_key_is(layout: StateLayout, name: str) -> None:
    process = service_process(layout, name, ADDRESSES, layout.redis / "redis.sock")
    assert not any("MASTER" in variable or "keys.db" in value for variable, value in process._environment.items())
