import base64
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from veilface.common.database import Database
from veilface.common.errors import ConfigurationError, DataLossError
from veilface.common.names import KeyName
from veilface.keys.domain.audit import AuditEvent
from veilface.keys.domain.master_key import FileSource, MasterKey
from veilface.keys.domain.vault import Vault
from veilface.keys.domain.versions import Key
from veilface.keys.offline import main, parse_head
from veilface.keys.storage.audit import DurableAuditLog
from veilface.keys.storage.key_store import SqlKeyStore
from veilface.keys.storage.tables import audit_records


@pytest.fixture
def old_file(tmp_path: Path) -> Path:
    path = tmp_path / "old.key"
    assert main(["create-master-key", str(path)]) == 0
    return path


@pytest.fixture
def master_key(old_file: Path) -> MasterKey:
    return FileSource(old_file).load()


@pytest.fixture
def url(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("VEILFACE_DATABASE_URL", database_url)
    return database_url


@pytest.fixture
def log(database: Database, tmp_path: Path, clock: Any) -> Iterator[DurableAuditLog]:
    log = DurableAuditLog(database, tmp_path / "audit.jsonl", clock)
    log.open()
    yield log
    log.close()


def test_reseal_moves_the_vault_and_leaves_a_record(
    create: Callable[..., Key],
    store: SqlKeyStore,
    generate: Any,
    clock: Any,
    url: str,
    old_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    create()
    new = base64.b64encode(secrets.token_bytes(32)).decode()
    monkeypatch.setenv("NEW_MASTER", new)
    audit_file = tmp_path / "audit.jsonl"
    arguments = ["reseal", "--audit-file", str(audit_file), "--old-file", str(old_file), "--new-variable", "NEW_MASTER"]
    assert main(arguments) == 0
    assert "moved 1 key version" in capsys.readouterr().out
    assert '"operation":"reseal-vault"' in audit_file.read_text()
    vault = Vault(store, generate, clock)
    with pytest.raises(DataLossError):
        vault.unseal(FileSource(old_file).load())
    vault.unseal(MasterKey(bytearray(base64.b64decode(new))))
    monkeypatch.setenv("NEW_MASTER", new)
    assert main(arguments) == 1
    assert "another master key" in capsys.readouterr().err


def test_a_running_vault_notices_that_it_was_resealed(
    create: Callable[..., Key], vault: Vault, url: str, old_file: Path, tmp_path: Path
) -> None:
    create()
    new = tmp_path / "new.key"
    main(["create-master-key", str(new)])
    vault.seal_if_resealed()
    audit_file = str(tmp_path / "audit.jsonl")
    assert main(["reseal", "--audit-file", audit_file, "--old-file", str(old_file), "--new-file", str(new)]) == 0
    with pytest.raises(DataLossError):
        create("lobby")
    assert vault.is_sealed
    vault.unseal(FileSource(new).load())
    assert vault.resolve(KeyName("office")).version.number == 1


def test_audit_verify_prints_a_head_that_it_accepts_later(
    log: DurableAuditLog, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log.append(AuditEvent("me", "verify", "keys/a", "", "ALLOWED", 1))
    assert main(["audit-verify", str(tmp_path / "audit.jsonl")]) == 0
    head = capsys.readouterr().out.split()[-1]
    assert parse_head(head) == log.head()
    log.append(AuditEvent("me", "verify", "keys/a", "", "ALLOWED", 1))
    assert main(["audit-verify", "--head", head]) == 0


def test_audit_verify_fails_for_a_tampered_log(
    log: DurableAuditLog, database: Database, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    log.append(AuditEvent("me", "verify", "keys/a", "", "ALLOWED", 1))
    with database.write() as connection:
        connection.execute(update(audit_records).values(hash=bytes(32)))
    assert main(["audit-verify"]) == 1
    assert "AUDIT_BROKEN" in capsys.readouterr().err


def test_audit_verify_fails_for_a_head_that_the_log_does_not_have(
    log: DurableAuditLog, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit-verify", "--head", "3:" + "0" * 64]) == 1


@pytest.mark.parametrize("text", ["", "3", "3:", "x:00", "-1:" + "0" * 64, "3:" + "0" * 63, "3:" + "g" * 64])
def test_a_malformed_head_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_head(text)


def test_without_a_database_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("VEILFACE_DATABASE_URL", raising=False)
    assert main(["audit-verify"]) == 1
    assert "VEILFACE_DATABASE_URL" in capsys.readouterr().err
