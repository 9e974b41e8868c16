import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from veilface.common.database import Database
from veilface.common.errors import DataLossError, UnavailableError
from veilface.common.health import Readiness
from veilface.common.names import KeyName
from veilface.keys.domain.audit import AuditEvent
from veilface.keys.domain.master_key import MasterKey
from veilface.keys.domain.resealing import reseal
from veilface.keys.domain.vault import Vault
from veilface.keys.domain.versions import Key
from veilface.keys.maintenance import AUDIT, DATABASE, MASTER_KEY, Maintenance
from veilface.keys.storage.audit import DurableAuditLog
from veilface.keys.storage.key_store import SqlKeyStore

NAME = KeyName("office")
TIMEOUT_S = 30
EVENT = AuditEvent("spiffe://me", "verify", "keys/office/versions/1", "galleries/staff", "ALLOWED", 1)


class Given:
    """A source that always has the same master key."""

    def __init__(self, master_key: MasterKey) -> None:
        self.master_key = master_key

    def load(self) -> MasterKey:
        return self.master_key


@pytest.fixture
def log(database: Database, tmp_path: Path, clock: Any) -> Iterator[DurableAuditLog]:
    log = DurableAuditLog(database, tmp_path / "audit.jsonl", clock)
    yield log
    log.close()


@pytest.fixture
def readiness() -> Readiness:
    return Readiness(DATABASE, AUDIT, MASTER_KEY)


@pytest.fixture
def maintenance(
    database: Database, log: DurableAuditLog, master_key: MasterKey, means: Any, readiness: Readiness
) -> Maintenance:
    return Maintenance(database, log, Given(master_key), means, readiness, 0.02, 0.02)


@pytest.fixture
async def running(maintenance: Maintenance, readiness: Readiness) -> AsyncIterator[None]:
    task = asyncio.create_task(maintenance.run())
    await until(lambda: readiness.is_ready)
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while not holds():
            await asyncio.sleep(0.01)


@pytest.mark.usefixtures("running")
async def test_an_audit_file_that_cannot_be_written_takes_the_service_out_until_it_can(
    log: DurableAuditLog, readiness: Readiness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(UnavailableError):
            log.append(EVENT)
        await until(lambda: AUDIT in readiness.problems)
        assert "No space left" in readiness.problems[AUDIT]
    await until(lambda: readiness.is_ready)
    log.append(EVENT)


def test_a_version_whose_time_has_come_is_destroyed_with_one_record(
    maintenance: Maintenance, create: Callable[..., Key], vault: Vault, clock: Any, audit: Any
) -> None:
    create()
    vault.rotate(NAME)
    vault.schedule_destruction(NAME.version(1), timedelta(hours=1))
    maintenance.sweep()
    assert audit.events == []
    clock.advance(timedelta(hours=2))
    maintenance.sweep()
    maintenance.sweep()
    assert [(event.operation, event.resource, event.outcome) for event in audit.events] == [
        ("destroy-version", "keys/office/versions/1", "ALLOWED")
    ]


def test_a_version_that_another_replica_destroyed_first_leaves_a_record_that_says_so(
    maintenance: Maintenance,
    create: Callable[..., Key],
    vault: Vault,
    clock: Any,
    audit: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for key in ("office", "lobby"):
        create(key)
        vault.rotate(KeyName(key))
        vault.schedule_destruction(KeyName(key).version(1), timedelta(hours=1))
    clock.advance(timedelta(hours=2))
    due = vault.due_for_destruction()
    vault.destroy_due(NAME.version(1))
    monkeypatch.setattr(vault, "due_for_destruction", lambda: due)
    maintenance.sweep()
    outcomes = {(event.resource, event.outcome) for event in audit.events}
    assert outcomes == {
        ("keys/office/versions/1", "ALLOWED"),
        ("keys/office/versions/1", "KEY_CHANGED"),
        ("keys/lobby/versions/1", "ALLOWED"),
    }


def test_a_vault_that_was_resealed_is_sealed_and_its_decrypters_are_wiped(
    maintenance: Maintenance,
    create: Callable[..., Key],
    vault: Vault,
    store: SqlKeyStore,
    means: Any,
    decrypter: Any,
    master_key: MasterKey,
) -> None:
    create()
    with means.decrypters.lease(vault.resolve(NAME)):
        pass
    maintenance.sweep()
    assert not decrypter.is_wiped
    reseal(store, master_key, MasterKey(bytearray(range(32))))
    with pytest.raises(DataLossError):
        maintenance.sweep()
    assert vault.is_sealed
    assert (len(means.decrypters), decrypter.is_wiped) == (0, True)
