"""Tasks that go on while the service runs, and end with it."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog


class BackgroundTasks:
    """Starts tasks, logs how they fail, and stops them together."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._log = structlog.get_logger()

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work` until it ends or everything is stopped."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def join(self) -> None:
        """Wait until every task has ended by itself."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def stop(self) -> None:
        """Cancel every task and wait until they have ended."""
        for task in set(self._tasks):
            task.cancel()
        await self.join()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._log.error("background_task_failed", task=task.get_name(), exc_info=error)
