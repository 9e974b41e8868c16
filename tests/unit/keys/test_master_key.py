import base64
import os
import stat
import sys
from pathlib import Path

import pytest

from veilface.common.errors import AlreadyExistsError, ConfigurationError, Reason
from veilface.keys.domain.master_key import (
    CommandSource,
    EnvironmentSource,
    FileSource,
    MasterKey,
    create_master_key_file,
)

KEY = bytes(range(32))
TEXT = base64.b64encode(KEY).decode()
KEY_ID = MasterKey(bytearray(KEY)).key_id


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "master.key"
    path.write_text(TEXT + "\n")
    path.chmod(0o600)
    return path


def test_a_file_that_only_its_owner_can_read_is_accepted(path: Path) -> None:
    assert FileSource(path).load().key_id == KEY_ID


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610, 0o601, 0o777])
def test_a_file_that_others_can_reach_is_refused(path: Path, mode: int) -> None:
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        FileSource(path).load()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="absent") as caught:
        FileSource(tmp_path / "absent").load()
    assert caught.value.reason is Reason.MASTER_KEY_MISSING


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        FileSource(tmp_path).load()


@pytest.mark.parametrize("text", ["", "not base64!", base64.b64encode(bytes(31)).decode(), "A" * 100])
def test_a_file_with_anything_else_is_refused_without_quoting_it(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        FileSource(path).load()
    assert not text or text not in caught.value.message


def test_the_environment_gives_a_master_key() -> None:
    assert EnvironmentSource("MASTER", {"MASTER": TEXT}).load().key_id == KEY_ID


def test_a_missing_variable_is_named() -> None:
    with pytest.raises(ConfigurationError, match="MASTER is not set"):
        EnvironmentSource("MASTER", {}).load()


def test_a_command_gives_a_master_key() -> None:
    source = CommandSource((sys.executable, "-c", f"print({TEXT!r})"))
    assert source.load().key_id == KEY_ID


@pytest.mark.parametrize(
    "arguments",
    [
        (sys.executable, "-c", f"print({TEXT!r}); raise SystemExit(3)"),
        (sys.executable, "-c", "pass"),
        ("/nonexistent/command",),
    ],
)
def test_a_command_that_fails_gives_none(arguments: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        CommandSource(arguments).load()
    assert TEXT not in caught.value.message


def test_a_command_that_hangs_is_given_up() -> None:
    with pytest.raises(ConfigurationError, match="Timeout"):
        CommandSource((sys.executable, "-c", "input(); import time; time.sleep(60)"), timeout_s=0.01).load()


def test_a_created_file_is_private_and_loads(tmp_path: Path) -> None:
    path = tmp_path / "state" / "master.key"
    previous = os.umask(0)
    try:
        create_master_key_file(path)
    finally:
        os.umask(previous)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert len(FileSource(path).load().key_id) == 8


def test_two_created_keys_differ(tmp_path: Path) -> None:
    create_master_key_file(tmp_path / "a")
    create_master_key_file(tmp_path / "b")
    assert FileSource(tmp_path / "a").load().key_id != FileSource(tmp_path / "b").load().key_id


def test_an_existing_file_is_never_overwritten(path: Path) -> None:
    with pytest.raises(AlreadyExistsError):
        create_master_key_file(path)
    assert FileSource(path).load().key_id == KEY_ID


def test_showing_a_master_key_tells_its_id_only() -> None:
    assert repr(MasterKey(bytearray(KEY))) == f"MasterKey(id {KEY_ID.hex()})"
