"""1:N: a probe against everybody in a gallery, as of one generation."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from veilface.common.attested import Circuit, SignedScores, SignedTemplate
from veilface.common.errors import Reason, UnavailableError
from veilface.common.names import GalleryName
from veilface.common.pool import BoundedPool
from veilface.matching.domain.admission import check_gallery
from veilface.matching.domain.fanout.fanout import FanOut, FanOutQuestion
from veilface.matching.domain.search.preparation import ProbePreparation, ReadyProbe
from veilface.matching.domain.search.room import Room
from veilface.matching.domain.search.signing import AnsweredSegment, SigningScorer
from veilface.matching.domain.search.statistics import SearchStatistics
from veilface.matching.domain.segments.directory import Directory
from veilface.matching.domain.store.snapshots import GallerySnapshot, SnapshotRecords
from veilface.matching.domain.templates import VouchedTemplate
from veilface.matching.domain.tickets import Answer

_SNAPSHOTS_TRIED: Final = 5


@dataclass(frozen=True, slots=True)
class SearchedSegment:
    """The scores of one segment."""

    scores: SignedScores
    directory: Directory


@dataclass(frozen=True, slots=True)
class SearchPart:
    """A piece of the answer.

    Attributes:
        segment: None in the only part of the answer about an empty gallery.
        statistics: In the last part only.
    """

    segment: SearchedSegment | None
    statistics: SearchStatistics | None


class GallerySearch:
    """Searches galleries.

    Args:
        preparation: Makes probes ready.
        snapshots: What is in the galleries.
        room: The memory that searches share; a search waits for its part before its probe is expanded.
        fan_out: Has segments scored here or by other replicas.
        storage: Where blocking reads run.
    """

    def __init__(
        self,
        *,
        preparation: ProbePreparation,
        snapshots: SnapshotRecords,
        room: Room,
        fan_out: FanOut,
        storage: BoundedPool,
    ) -> None:
        self._preparation = preparation
        self._snapshots = snapshots
        self._room = room
        self._fan_out = fan_out
        self._storage = storage

    async def search(
        self, name: GalleryName, probe: SignedTemplate, time_left_s: float | None = None
    ) -> AsyncGenerator[SearchPart]:
        """One part for each segment that is not empty, in order; a single part with statistics if all are.

        Args:
            name: Of the gallery.
            probe: Who is asked about.
            time_left_s: How long the caller waits; None: without end.

        Raises:
            PermissionDeniedError, InvalidArgumentError: The probe is not vouched for or not well-formed.
            FailedPreconditionError: It does not fit the gallery; see `check_gallery`.
            NotFoundError: GALLERY_NOT_FOUND.
            UnavailableError: GALLERY_CHANGED if enrollments were erased while a large gallery was read.
            ResourceExhaustedError: OVERLOADED if too many searches wait already.
        """
        deadline_s = None if time_left_s is None else asyncio.get_running_loop().time() + time_left_s
        vouched = await self._preparation.vouch(probe)
        snapshot = await self._snapshot(name, vouched)
        async with (
            self._preparation.ready(vouched, snapshot.segments, self._room) as ready,
            aclosing(self._answer_with(ready, name, vouched, snapshot, deadline_s)) as parts,
        ):
            async for part in parts:
                yield part

    async def _answer_with(
        self,
        ready: ReadyProbe,
        name: GalleryName,
        probe: VouchedTemplate,
        snapshot: GallerySnapshot,
        deadline_s: float | None,
    ) -> AsyncGenerator[SearchPart]:
        for tries_left in reversed(range(_SNAPSHOTS_TRIED)):
            has_answered = False
            try:
                statistics = SearchStatistics(expand_time_s=ready.expand_time_s)
                async with aclosing(self._answer(snapshot, probe, ready.scorer, statistics, deadline_s)) as parts:
                    async for part in parts:
                        has_answered = True
                        yield part
                return
            except UnavailableError as error:
                # Before the first part is out, the answer can be about a newer generation.
                if error.reason is not Reason.GALLERY_CHANGED or has_answered or not tries_left:
                    raise
            snapshot = await self._snapshot(name, probe)

    async def _snapshot(self, name: GalleryName, probe: VouchedTemplate) -> GallerySnapshot:
        snapshot = await self._storage.run(self._snapshots.take, name)
        check_gallery(probe.statement, snapshot.gallery)
        return snapshot

    async def _answer(
        self,
        snapshot: GallerySnapshot,
        probe: VouchedTemplate,
        scorer: SigningScorer,
        statistics: SearchStatistics,
        deadline_s: float | None,
    ) -> AsyncGenerator[SearchPart]:
        segments = [AnsweredSegment(index, segment) for index, segment in enumerate(snapshot.segments)]
        if not segments:
            yield SearchPart(None, statistics)
            return
        statistics.segment_count = len(segments)
        statistics.enrollment_count = sum(len(segment.snapshot.content) for segment in segments)
        answer = Answer.to(Circuit.SEARCH, probe.statement, gallery=snapshot.gallery, batch_count=len(segments))
        question = FanOutQuestion(probe.signed, snapshot.gallery, answer, segments, deadline_s)
        done = 0
        async with aclosing(self._fan_out.score(question, scorer, statistics)) as windows:
            async for window in windows:
                for scores in window:
                    directory = segments[done].snapshot.directory
                    done += 1
                    yield SearchPart(SearchedSegment(scores, directory), statistics if done == len(segments) else None)
