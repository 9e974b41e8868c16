"""The other side of `fanout`: segments that a peer asks for, for an answer of its own.

Their memory is not that of the searches which arrive here: those wait for peers while they hold theirs. Who asks names
its answer, and gets it signed: it could sign it itself, for it has the same key.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from veilface.common.attested import Circuit
from veilface.common.pool import BoundedPool
from veilface.matching.domain.admission import check_gallery
from veilface.matching.domain.fanout.peers import FanOutEvents, PeerAnswer, PeerQuestion
from veilface.matching.domain.search.preparation import ProbePreparation
from veilface.matching.domain.search.room import Room
from veilface.matching.domain.search.signing import AnsweredSegment
from veilface.matching.domain.search.statistics import SearchStatistics
from veilface.matching.domain.store.snapshots import GallerySnapshot, SnapshotRecords
from veilface.matching.domain.tickets import Answer


class PeerAnswers:
    """Scores segments for other replicas, and asks none of them.

    Args:
        preparation: Makes probes ready.
        snapshots: What is in the galleries.
        room: The memory for what peers ask.
        events: Told what happens.
        compute: Where CPU work runs.
        storage: Where blocking reads run.
    """

    def __init__(
        self,
        *,
        preparation: ProbePreparation,
        snapshots: SnapshotRecords,
        room: Room,
        events: FanOutEvents,
        compute: BoundedPool,
        storage: BoundedPool,
    ) -> None:
        self._preparation = preparation
        self._snapshots = snapshots
        self._room = room
        self._events = events
        self._compute = compute
        self._storage = storage

    async def score(self, question: PeerQuestion) -> AsyncGenerator[PeerAnswer]:
        """First the segments that hold something else, if there are any; then a batch for each other, in order.

        Raises:
            PermissionDeniedError, InvalidArgumentError: The probe is not vouched for or not well-formed.
            FailedPreconditionError: It does not fit the gallery; see `check_gallery`.
            NotFoundError: GALLERY_NOT_FOUND.
            UnavailableError: GALLERY_CHANGED if enrollments were erased meanwhile.
            ResourceExhaustedError: OVERLOADED if too many peers wait already.
        """
        vouched = await self._preparation.vouch(question.probe)
        snapshot = await self._storage.run(self._snapshots.take, question.gallery)
        check_gallery(vouched.statement, snapshot.gallery)
        segments, changed = await self._compute.run(_choose, snapshot, question)
        if changed:
            yield PeerAnswer(changed=changed)
        if not segments:
            return
        gallery = replace(snapshot.gallery, generation=question.generation)
        answer = Answer(Circuit.SEARCH, vouched.statement, gallery, "", question.batch_count, question.nonce)
        statistics = SearchStatistics()
        chosen = [segment.snapshot for segment in segments]
        async with (
            self._preparation.ready(vouched, chosen, self._room) as ready,
            aclosing(ready.scorer.score(answer, segments, statistics)) as windows,
        ):
            async for window in windows:
                for batch in window[:-1]:
                    yield PeerAnswer(batch)
                yield PeerAnswer(window[-1], statistics=statistics.take_passes())
                self._events.segments_scored_for_peers(len(window))


def _choose(snapshot: GallerySnapshot, question: PeerQuestion) -> tuple[list[AnsweredSegment], tuple[int, ...]]:
    """The segments that hold what is asked for, and the numbers of those that do not."""
    known = {}
    if snapshot.gallery.uid == question.gallery_uid:
        known = {segment.place.number: segment for segment in snapshot.segments}
    chosen, changed = [], []
    for wanted in question.segments:
        found = known.get(wanted.number)
        if found is None or found.content.digest != wanted.content_sha256:
            changed.append(wanted.number)
        else:
            chosen.append(AnsweredSegment(wanted.batch_index, found))
    return chosen, tuple(changed)
