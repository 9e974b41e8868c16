import base64
import hashlib
import os
import stat
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from veilface.common.errors import AlreadyExistsError, ConfigurationError, Reason
from veilface.common.names import KeyName
from veilface.crypto.contract import Scheme
from veilface.keys.domain.master_key import (
    CommandSource,
    EnvironmentSource,
    FileSource,
    MasterKey,
    ProviderSource,
    create_master_key_file,
)
from veilface.keys.domain.policy import KeyPolicy
from veilface.keys.domain.vault import Vault

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


@pytest.fixture
def of_root_and(path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], Path]:
    """Makes the file look as if root owned it, with a group and a mode, to a process of group 10001."""
    look = os.fstat

    def make(group: int, mode: int) -> Path:
        path.chmod(mode)

        def fstat(descriptor: int) -> os.stat_result:
            fields = list(look(descriptor))
            fields[stat.ST_UID], fields[stat.ST_GID] = 0, group
            return os.stat_result(fields)

        monkeypatch.setattr("veilface.keys.domain.master_key.os.fstat", fstat)
        return path

    monkeypatch.setattr("veilface.keys.domain.master_key.os.getgroups", lambda: [10001])
    return make


def test_a_file_of_a_kubernetes_secret_is_accepted(of_root_and: Callable[[int, int], Path]) -> None:
    assert FileSource(of_root_and(10001, 0o440)).load().key_id == KEY_ID


@pytest.mark.parametrize(
    ("group", "mode"), [(10001, 0o444), (10001, 0o460), (10001, 0o450), (10002, 0o440), (0, 0o440)]
)
def test_a_file_of_root_that_others_can_reach_is_refused(
    of_root_and: Callable[[int, int], Path], group: int, mode: int
) -> None:
    with pytest.raises(ConfigurationError, match="chmod 600"):
        FileSource(of_root_and(group, mode)).load()


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


def test_an_environment_variable_is_taken_out_when_it_is_read() -> None:
    environment = {"MASTER": TEXT, "OTHER": "stays"}
    source = EnvironmentSource("MASTER", environment)
    first = source.load()
    assert environment == {"OTHER": "stays"}
    # After a database did not answer, the vault asks again.
    assert source.load() is first


class Kms:
    """A master key that is somewhere else."""

    key_id = b"ours"

    def wrap(self, data_key: memoryview, aad: bytes) -> bytes:
        return bytes(byte ^ 0x5A for byte in data_key) + hashlib.sha256(aad).digest()

    def unwrap(self, wrapped: bytes, aad: bytes) -> bytearray:
        assert wrapped[32:] == hashlib.sha256(aad).digest()
        return bytearray(byte ^ 0x5A for byte in wrapped[:32])


def failing() -> Kms:
    raise OSError("secret detail")


def test_a_provider_of_another_package_seals_and_opens(
    monkeypatch: pytest.MonkeyPatch, store: Any, generate: Any, clock: Any
) -> None:
    monkeypatch.setitem(sys.modules, "our_kms", types.SimpleNamespace(wrapper=Kms, other=dict, failing=failing))
    wrapper = ProviderSource("our_kms:wrapper").load()
    vault = Vault(store, generate, clock)
    vault.unseal(wrapper)
    key = vault.create_key(KeyName("a"), Scheme.CKKS_PACKED, "ckks-packed-128", KeyPolicy(), transformed=True)
    again = Vault(store, generate, clock)
    again.unseal(ProviderSource("our_kms:wrapper").load())
    with again.open_secret_key(again.resolve(key.name)) as secret_key, secret_key.exposed() as view:
        assert len(view) == 512
    for name, problem in (("other", "no KeyWrapper"), ("failing", "OSError"), ("absent", "AttributeError")):
        with pytest.raises(ConfigurationError, match=problem) as caught:
            ProviderSource(f"our_kms:{name}").load()
        assert "secret detail" not in caught.value.message
