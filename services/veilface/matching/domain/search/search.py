"""1:N: a probe against everybody in a gallery, as of one generation."""

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from veilface.common.attested import Circuit, SignedScores, SignedTemplate
from veilface.common.errors import Reason, UnavailableError
from veilface.common.names import GalleryName
from veilface.common.pool import BoundedPool
from veilface.crypto.contract import TemplateComparer, TemplateUse
from veilface.matching.domain.admission import check_gallery
from veilface.matching.domain.comparers import Comparers
from veilface.matching.domain.patience import run_to_its_end
from veilface.matching.domain.search.cost import SearchCost
from veilface.matching.domain.search.room import Room, Share
from veilface.matching.domain.search.scans import GalleryScans
from veilface.matching.domain.search.scorers import PackedScorer, RowScorer, Scorer
from veilface.matching.domain.search.statistics import SearchStatistics
from veilface.matching.domain.segments.directory import Directory
from veilface.matching.domain.store.snapshots import GallerySnapshot, SegmentSnapshot, SnapshotRecords
from veilface.matching.domain.store.templates import TemplateRecords
from veilface.matching.domain.templates import TemplateDesk, VouchedTemplate
from veilface.matching.domain.tickets import Answer, TicketIssuer

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
        desk: Looks at the probe.
        snapshots: What is in the galleries.
        templates: The stored templates.
        scans: Score packed segments.
        room: The memory that searches share; a search waits for its part before its probe is expanded.
        comparers: Of the key versions.
        tickets: Sign the answers.
        compute: Where CPU work runs.
        storage: Where blocking reads run.
    """

    def __init__(
        self,
        *,
        desk: TemplateDesk,
        snapshots: SnapshotRecords,
        templates: TemplateRecords,
        scans: GalleryScans,
        room: Room,
        comparers: Comparers,
        tickets: TicketIssuer,
        compute: BoundedPool,
        storage: BoundedPool,
    ) -> None:
        self._desk = desk
        self._snapshots = snapshots
        self._templates = templates
        self._scans = scans
        self._room = room
        self._comparers = comparers
        self._tickets = tickets
        self._compute = compute
        self._storage = storage

    async def search(self, name: GalleryName, probe: SignedTemplate) -> AsyncGenerator[SearchPart]:
        """One part for each segment that is not empty, in order; a single part with statistics if all are.

        Raises:
            PermissionDeniedError, InvalidArgumentError: The probe is not vouched for or not well-formed.
            FailedPreconditionError: It does not fit the gallery; see `check_gallery`.
            NotFoundError: GALLERY_NOT_FOUND.
            UnavailableError: GALLERY_CHANGED if enrollments were erased while a large gallery was read.
            ResourceExhaustedError: OVERLOADED if too many searches wait already.
        """
        vouched = await self._desk.verify(probe, TemplateUse.PROBE)
        snapshot = await self._snapshot(name, vouched)
        comparer = await self._comparers.get(vouched.statement.key_version)
        await self._desk.inspect(vouched, comparer)
        cost = await self._compute.run(_cost, comparer, vouched, snapshot)
        async with self._room.take(cost.expand_bytes) as share:
            scorer, expand_time_s = await self._scorer(comparer, vouched, share, cost)
            async with aclosing(self._answer_with(scorer, expand_time_s, name, vouched, snapshot)) as parts:
                async for part in parts:
                    yield part

    async def _answer_with(
        self,
        scorer: Scorer,
        expand_time_s: float,
        name: GalleryName,
        probe: VouchedTemplate,
        snapshot: GallerySnapshot,
    ) -> AsyncGenerator[SearchPart]:
        for tries_left in reversed(range(_SNAPSHOTS_TRIED)):
            has_answered = False
            try:
                statistics = SearchStatistics(expand_time_s=expand_time_s)
                async with aclosing(self._answer(snapshot, probe, scorer, statistics)) as parts:
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

    async def _scorer(
        self, comparer: TemplateComparer, probe: VouchedTemplate, share: Share, cost: SearchCost
    ) -> tuple[Scorer, float]:
        space = probe.statement.space
        if not comparer.supports_search:
            return RowScorer(self._templates, comparer, probe.ciphertext, space, self._compute, self._storage), 0.0
        begin = time.perf_counter()
        use = probe.statement.use
        prepared = await run_to_its_end(self._compute, comparer.prepare_probe, probe.ciphertext, space, use)
        share.shrink(cost.score_bytes)
        return PackedScorer(self._scans, comparer, prepared, share, cost), time.perf_counter() - begin

    async def _answer(
        self, snapshot: GallerySnapshot, probe: VouchedTemplate, scorer: Scorer, statistics: SearchStatistics
    ) -> AsyncGenerator[SearchPart]:
        segments = snapshot.segments
        if not segments:
            yield SearchPart(None, statistics)
            return
        statistics.segment_count = len(segments)
        statistics.enrollment_count = sum(len(segment.content) for segment in segments)
        answer = Answer.to(Circuit.SEARCH, probe.statement, gallery=snapshot.gallery, batch_count=len(segments))
        done = 0
        async with aclosing(scorer.score(snapshot, statistics)) as windows:
            async for ciphertexts in windows:
                window = segments[done : done + len(ciphertexts)]
                signed = await self._compute.run(self._sign, answer, done, window, ciphertexts)
                for segment, scores in zip(window, signed, strict=True):
                    done += 1
                    yield SearchPart(
                        SearchedSegment(scores, segment.directory), statistics if done == len(segments) else None
                    )

    def _sign(
        self, answer: Answer, first_index: int, window: Sequence[SegmentSnapshot], ciphertexts: Sequence[bytes]
    ) -> list[SignedScores]:
        return [
            self._tickets.sign_segment(answer, first_index + offset, ciphertext, len(segment.content), segment.place)
            for offset, (segment, ciphertext) in enumerate(zip(window, ciphertexts, strict=True))
        ]


def _cost(comparer: TemplateComparer, probe: VouchedTemplate, snapshot: GallerySnapshot) -> SearchCost:
    statement = probe.statement
    if not comparer.supports_search:
        return SearchCost.of_rows(len(probe.ciphertext))
    score_count = sum(len(segment.content) for segment in snapshot.segments)
    return SearchCost.of(comparer, statement.space, statement.use, len(snapshot.segments), score_count)
