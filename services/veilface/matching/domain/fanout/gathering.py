"""The batches of one search, which come from several sides at once and go out in order."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

from veilface.common.attested import SignedScores, SignedTemplate
from veilface.common.errors import Reason, UnavailableError
from veilface.matching.domain.records import Gallery
from veilface.matching.domain.search.signing import AnsweredSegment, SigningScorer
from veilface.matching.domain.search.statistics import SearchStatistics
from veilface.matching.domain.search.windows import SEGMENTS_PER_WINDOW
from veilface.matching.domain.tickets import Answer

# Of the caller's time.
_SHARE_OF_PEERS: Final = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class FanOutQuestion:
    """What is to be scored.

    Attributes:
        segments: All of a gallery, by batch index.
        deadline_s: When the caller stops waiting, in seconds of the event loop; None: never.
    """

    probe: SignedTemplate
    gallery: Gallery
    answer: Answer
    segments: Sequence[AnsweredSegment]
    deadline_s: float | None = None

    def time_for_peers_s(self) -> float | None:
        """How long peers may take from now on; what is left then is for those segments that they did not score."""
        if self.deadline_s is None:
            return None
        return max(0.0, self.deadline_s - asyncio.get_running_loop().time()) * _SHARE_OF_PEERS


class Gathering:
    """Brings the batches together as they come. For use on one event loop.

    Args:
        here: Scores segments on this replica.
        question: What is asked.
        statistics: Counted up.
    """

    def __init__(self, here: SigningScorer, question: FanOutQuestion, statistics: SearchStatistics) -> None:
        self.question = question
        self.statistics = statistics
        self._here = here
        # One window of segments at a time, as the memory of the search is counted.
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._arrived: asyncio.Queue[tuple[int, SignedScores] | Exception] = asyncio.Queue()
        self._has_failed = False

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Do a part of the work beside the others."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def score_here(self, segments: Sequence[AnsweredSegment]) -> None:
        """Score segments on this replica."""
        todo = deque(segments)
        async with (
            self._turn,
            aclosing(self._here.score(self.question.answer, segments, self.statistics, is_last=False)) as windows,
        ):
            async for window in windows:
                for batch in window:
                    self.scored(todo.popleft(), batch)

    def scored(self, segment: AnsweredSegment, batch: SignedScores) -> None:
        """A batch is there."""
        self._arrived.put_nowait((segment.batch_index, batch))

    async def in_order(self) -> AsyncGenerator[list[SignedScores]]:
        """The next batches as soon as they are there. Raises the first error of the work.

        The first ones come together, as those of a window do that is scored here: as long as nothing is given out, an
        answer can be about a newer generation.
        """
        waiting: dict[int, SignedScores] = {}
        done = known = 0
        first = min(SEGMENTS_PER_WINDOW, len(self.question.segments))
        while done < len(self.question.segments):
            arrived = await self._arrived.get()
            if isinstance(arrived, Exception):
                raise arrived
            index, batch = arrived
            waiting[index] = batch
            while known in waiting:
                known += 1
            if first <= known and done < known:
                ready = [waiting.pop(position) for position in range(done, known)]
                done = known
                yield ready

    async def close(self) -> None:
        """Stop what is still going on, and wait for its end."""
        self._has_failed = True
        while tasks := list(self._tasks):
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = _stopped() if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            self._has_failed = True
            self._arrived.put_nowait(error)
        if not self._tasks and not self._has_failed:
            self._here.release()


def _stopped() -> UnavailableError:
    # Nobody waits for it where the whole search was given up; else something below it was stopped.
    return UnavailableError(Reason.NOT_READY, "a part of the search was stopped; try another replica")
