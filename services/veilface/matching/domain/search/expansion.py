"""A probe that is being made ready, while other replicas are asked already."""

import asyncio
import time
from collections.abc import Callable

from veilface.common.pool import BoundedPool
from veilface.crypto.contract import PreparedProbe, TemplateComparer
from veilface.matching.domain.patience import run_to_its_end
from veilface.matching.domain.templates import VouchedTemplate


class Expansion:
    """Makes a probe ready for a search; begins at once. For use on one event loop.

    Args:
        probe: Who is asked about.
        comparer: Of its key version.
        compute: Where that runs.
        on_ready: Called when it is ready.
    """

    def __init__(
        self, probe: VouchedTemplate, comparer: TemplateComparer, compute: BoundedPool, on_ready: Callable[[], None]
    ) -> None:
        self._seconds = 0.0
        self._task: asyncio.Task[PreparedProbe] | None = asyncio.create_task(
            self._expand(probe, comparer, compute, on_ready)
        )

    @property
    def seconds(self) -> float:
        """How long it took; 0 before it is ready."""
        return self._seconds

    async def probe(self) -> PreparedProbe:
        """The probe, as soon as it is ready.

        Raises:
            ResourceExhaustedError: OVERLOADED if too many wait for a thread already.
        """
        if self._task is None:
            raise ValueError("everything is scored already")
        return await asyncio.shield(self._task)

    def release(self) -> None:
        """Let go of the probe; nobody asks for it any more."""
        if self._task is not None and self._task.done():
            self._task = None

    async def close(self) -> None:
        """End. Memory that it takes is free afterwards."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _expand(
        self, probe: VouchedTemplate, comparer: TemplateComparer, compute: BoundedPool, on_ready: Callable[[], None]
    ) -> PreparedProbe:
        begin = time.perf_counter()
        statement = probe.statement
        prepared = await run_to_its_end(
            compute, comparer.prepare_probe, probe.ciphertext, statement.space, statement.use
        )
        self._seconds = time.perf_counter() - begin
        on_ready()
        return prepared
