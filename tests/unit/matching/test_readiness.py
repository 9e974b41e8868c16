"""What must hold before the service takes calls."""

import asyncio
import threading

from veilface.common.database import Database
from veilface.common.errors import Reason, UnavailableError
from veilface.common.health import Readiness
from veilface.matching.domain.store.identity import read_identity
from veilface.matching.domain.store.migrate import migrate
from veilface.matching.readiness import DATABASE, KERNELS, prepare_database, warm_kernels


async def test_the_service_is_not_ready_before_its_kernels_are_warm():
    readiness, may_end = Readiness(KERNELS), threading.Event()
    warming = asyncio.create_task(warm_kernels(readiness, lambda: may_end.wait(20)))
    await asyncio.sleep(0.01)
    assert not readiness.is_ready
    assert KERNELS in readiness.problems
    may_end.set()
    await warming
    assert readiness.is_ready


async def test_a_database_that_is_away_is_named_and_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr("veilface.matching.readiness._RETRY_S", 0.01)
    answers = [UnavailableError(Reason.DEPENDENCY_UNAVAILABLE, "it does not answer"), None]
    problems = []
    readiness, database = Readiness(DATABASE), Database(f"sqlite:///{tmp_path}/matching.db")

    def migrate_later(database):
        problems.append(readiness.problems[DATABASE])
        answer = answers.pop(0)
        if answer is not None:
            raise answer
        migrate(database)

    monkeypatch.setattr("veilface.matching.readiness.migrate", migrate_later)
    identity = await prepare_database(readiness, database)
    assert identity == read_identity(database)
    database.close()
    assert problems == ["not checked yet", "it does not answer"]
