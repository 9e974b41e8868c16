"""Memory that searches share, counted in bytes and given out in the order of arrival."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from veilface.common.errors import Reason, ResourceExhaustedError


class Share:
    """Bytes that somebody holds. Made by a `Room`."""

    def __init__(self, room: "Room") -> None:
        self._room = room
        self._held_bytes = 0

    @property
    def held_bytes(self) -> int:
        """How much it is."""
        return self._held_bytes

    def shrink(self, wanted_bytes: int) -> None:
        """Give back what is held beyond `wanted_bytes`."""
        if wanted_bytes < self._held_bytes:
            self.resize(wanted_bytes)

    def resize(self, wanted_bytes: int) -> None:
        """Hold this much from now on, whether there is room or not: it says what is used already."""
        self._room._give_back(self._held_bytes - wanted_bytes)
        self._held_bytes = wanted_bytes

    def grow(self, more_bytes: int) -> bool:
        """Hold this much more, if there is room and nobody waits for it."""
        if not self._room._is_free(more_bytes):
            return False
        self.resize(self._held_bytes + more_bytes)
        return True


@dataclass(eq=False)
class _Waiting:
    wanted_bytes: int
    entered: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Room:
    """A budget of bytes. For use on one event loop.

    Args:
        total_bytes: How much is held at once. Who needs more than that gets in alone.
        most_waiting: How many may wait; not given: everybody.
        setting: The environment variable that the budget comes from, for the refusal.
    """

    def __init__(self, total_bytes: int, most_waiting: int | None = None, setting: str = "") -> None:
        self._total_bytes = total_bytes
        self._free_bytes = total_bytes
        self._most_waiting = most_waiting
        self._setting = setting
        self._waiting: deque[_Waiting] = deque()

    @property
    def total_bytes(self) -> int:
        """The budget."""
        return self._total_bytes

    @property
    def free_bytes(self) -> int:
        """How much nobody holds; negative while more is used than there should be."""
        return self._free_bytes

    @asynccontextmanager
    async def take(self, wanted_bytes: int) -> AsyncIterator[Share]:
        """Hold this much as soon as there is room, and not before those who came earlier.

        Raises:
            ResourceExhaustedError: OVERLOADED if too many wait already.
        """
        share = self.nothing()
        await self.enter(share, wanted_bytes)
        try:
            yield share
        finally:
            share.shrink(0)

    def nothing(self) -> Share:
        """A share that holds nothing yet."""
        return Share(self)

    async def enter(self, share: Share, wanted_bytes: int) -> None:
        """Like `take`, for a share that holds nothing; the caller gives it back."""
        wanted_bytes = min(wanted_bytes, self._total_bytes)
        if share.grow(wanted_bytes):
            return
        if self._most_waiting is not None and len(self._waiting) >= self._most_waiting:
            raise ResourceExhaustedError(
                Reason.OVERLOADED,
                f"{len(self._waiting)} others wait already for a part of the {self._total_bytes} bytes of working "
                f"memory; try again later, or give the service more ({self._setting})",
            )
        waiting = _Waiting(wanted_bytes)
        self._waiting.append(waiting)
        try:
            await waiting.entered
        except asyncio.CancelledError:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
                self._let_in()
            else:
                self._give_back(wanted_bytes)
            raise
        share._held_bytes = wanted_bytes

    def _is_free(self, wanted_bytes: int) -> bool:
        return not self._waiting and wanted_bytes <= self._free_bytes

    def _give_back(self, returned_bytes: int) -> None:
        self._free_bytes += returned_bytes
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting and self._waiting[0].wanted_bytes <= self._free_bytes:
            first = self._waiting.popleft()
            self._free_bytes -= first.wanted_bytes
            if not first.entered.done():
                first.entered.set_result(None)
