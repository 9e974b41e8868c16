"""1:N: a probe against everybody in a gallery, as of one generation."""

import asyncio
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
from veilface.matching.domain.search.scorers import PackedScorer, RowScorer, Scorer
from veilface.matching.domain.search.scoring import ScoringPass
from veilface.matching.domain.search.statistics import SearchStatistics
from veilface.matching.domain.segments.directory import Directory
from veilface.matching.domain.segments.library import SegmentLibrary
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
    """Searches galleries."""

    def __init__(
        self,
        *,
        desk: TemplateDesk,
        snapshots: SnapshotRecords,
        templates: TemplateRecords,
        library: SegmentLibrary,
        comparers: Comparers,
        tickets: TicketIssuer,
        scoring: ScoringPass,
        compute: BoundedPool,
        storage: BoundedPool,
        window_bytes: int,
    ) -> None:
        self._desk = desk
        self._snapshots = snapshots
        self._templates = templates
        self._library = library
        self._comparers = comparers
        self._tickets = tickets
        self._scoring = scoring
        self._compute = compute
        self._storage = storage
        self._window_bytes = window_bytes
        self._windows = asyncio.Lock()

    async def search(self, name: GalleryName, probe: SignedTemplate) -> AsyncGenerator[SearchPart]:
        """One part for each segment that is not empty, in order; a single part with statistics if all are.

        Raises:
            PermissionDeniedError, InvalidArgumentError: The probe is not vouched for or not well-formed.
            FailedPreconditionError: It does not fit the gallery; see `check_gallery`.
            NotFoundError: GALLERY_NOT_FOUND.
            UnavailableError: GALLERY_CHANGED if enrollments were erased while a large gallery was read.
        """
        vouched = await self._desk.verify(probe, TemplateUse.PROBE)
        snapshot = await self._snapshot(name, vouched)
        comparer = await self._comparers.get(vouched.statement.key_version)
        await self._desk.inspect(vouched, comparer)
        scorer, expand_time_s = await self._scorer(comparer, vouched)
        for tries_left in reversed(range(_SNAPSHOTS_TRIED)):
            has_answered = False
            try:
                statistics = SearchStatistics(expand_time_s=expand_time_s)
                async with aclosing(self._answer(snapshot, vouched, scorer, statistics)) as parts:
                    async for part in parts:
                        has_answered = True
                        yield part
                return
            except UnavailableError as error:
                # Before the first part is out, the answer can be about a newer generation.
                if error.reason is not Reason.GALLERY_CHANGED or has_answered or not tries_left:
                    raise
            snapshot = await self._snapshot(name, vouched)

    async def _snapshot(self, name: GalleryName, probe: VouchedTemplate) -> GallerySnapshot:
        snapshot = await self._storage.run(self._snapshots.take, name)
        check_gallery(probe.statement, snapshot.gallery)
        return snapshot

    async def _scorer(self, comparer: TemplateComparer, probe: VouchedTemplate) -> tuple[Scorer, float]:
        space = probe.statement.space
        if not comparer.supports_search:
            return RowScorer(self._templates, comparer, probe.ciphertext, space, self._compute, self._storage), 0.0
        begin = time.perf_counter()
        prepared = await self._compute.run(comparer.prepare_probe, probe.ciphertext, space, probe.statement.use)
        expand_time_s = time.perf_counter() - begin
        scorer = PackedScorer(self._library, self._scoring, comparer, prepared, self._window_bytes, self._windows)
        return scorer, expand_time_s

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
        async with aclosing(scorer.score(segments, statistics)) as windows:
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
