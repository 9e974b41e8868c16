"""One search on several replicas: the one that got it has each segment scored by the replica that owns it.

To own a segment means to have it in memory, probably. Every replica can score every segment, so whatever happens to a
peer (it dies, hangs, is full, refuses, is of another version, answers nonsense), the rest of its segments is scored
here, and nothing else happens. That never waits for what others hold: the memory of the search is taken before anybody
is asked, and peers are answered out of a memory of their own (see `answering`), so two replicas that ask each other
with full memories do not block each other. Who is asked by a peer asks nobody.

A peer is asked for the content that the snapshot here lists, digest by digest, because a caller maps positions of
scores to enrollments by that snapshot. It signs its batches with the key that all matchers share, about the answer that
is given here; each batch must say exactly what would have been signed here. So an answer is the same whoever scored it.

This serves all schemes: packed segments, with probes encrypted or in the clear, and stored templates one by one.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from veilface.common.attested import SignedScores
from veilface.common.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    Reason,
    ResourceExhaustedError,
    VeilfaceError,
)
from veilface.common.pool import BoundedPool
from veilface.matching.domain.fanout.gathering import FanOutQuestion, Gathering
from veilface.matching.domain.fanout.ownership import owner_of
from veilface.matching.domain.fanout.peers import (
    FanOutEvents,
    Peer,
    PeerAnswer,
    PeerQuestion,
    Peers,
    RefusedAnswerError,
    Retry,
    SegmentRevision,
)
from veilface.matching.domain.patience import run_patiently
from veilface.matching.domain.search.signing import AnsweredSegment, SigningScorer
from veilface.matching.domain.search.statistics import SearchStatistics
from veilface.matching.domain.tickets import Answer, TicketIssuer


@dataclass(frozen=True, slots=True)
class FanOutTerms:
    """When and how peers are asked.

    Attributes:
        fewest_segments: A gallery with fewer segments is scored where the search arrives.
        patience_s: How long a peer may say nothing before its segments are scored here.
    """

    fewest_segments: int
    patience_s: float


class FanOut:
    """Has segments scored. For use on one event loop.

    Args:
        peers: The other replicas.
        terms: When and how they are asked.
        tickets: Check their signatures.
        compute: Where that runs.
        events: Told what happens.
    """

    def __init__(
        self, *, peers: Peers, terms: FanOutTerms, tickets: TicketIssuer, compute: BoundedPool, events: FanOutEvents
    ) -> None:
        self._peers = peers
        self._terms = terms
        self._tickets = tickets
        self._compute = compute
        self._events = events

    async def score(
        self, question: FanOutQuestion, here: SigningScorer, statistics: SearchStatistics
    ) -> AsyncGenerator[list[SignedScores]]:
        """The batches of the next segments, in order, until all are scored.

        Args:
            question: What is asked.
            here: Scores what is not left to peers.
            statistics: Counted up.

        Raises:
            VeilfaceError: What `here` raises. Errors of peers are none.
        """
        live = self._peers.live() if len(question.segments) >= self._terms.fewest_segments else ()
        if not live:
            async with aclosing(here.score(question.answer, question.segments, statistics)) as windows:
                async for window in windows:
                    yield window
            return
        own, of_peers = await self._compute.run(_spread, question.segments, live, self._peers.own_name)
        gathering = Gathering(here, question, statistics)
        try:
            for peer, segments in of_peers:
                gathering.start(self._ask(gathering, peer, segments))
            if own:
                gathering.start(gathering.score_here(own))
            async with aclosing(gathering.in_order()) as windows:
                async for window in windows:
                    yield window
        finally:
            await gathering.close()

    async def _ask(self, gathering: Gathering, peer: Peer, segments: Sequence[AnsweredSegment]) -> None:
        """Have a peer score its segments, and score here what it does not."""
        todo = deque(segments)
        time_left_s = gathering.question.time_for_peers_s()
        patience_s = self._terms.patience_s if time_left_s is None else min(self._terms.patience_s, time_left_s)
        try:
            await self._take(gathering, peer, todo, time_left_s, patience_s)
        except TimeoutError:
            self._retry(gathering, Retry.SLOW, todo)
            # A caller in a hurry says nothing about the peer.
            if patience_s == self._terms.patience_s:
                self._peers.give_up(peer, f"it said nothing for {patience_s:g} s")
        except VeilfaceError as error:
            cause = _cause(error)
            self._retry(gathering, cause, todo)
            if cause is Retry.LOST:
                # A peer's own message may name a gallery, which is nothing for a log.
                self._peers.give_up(peer, f"its answer ended with {error.reason.value}")
        except RefusedAnswerError as error:
            self._retry(gathering, Retry.REFUSED, todo)
            self._peers.give_up(peer, str(error))

    async def _take(
        self,
        gathering: Gathering,
        peer: Peer,
        todo: deque[AnsweredSegment],
        time_left_s: float | None,
        patience_s: float,
    ) -> None:
        question = gathering.question
        async with aclosing(peer.score(_question_to_peer(question, todo), time_left_s)) as answers:
            while todo:
                async with asyncio.timeout(patience_s):
                    part = await anext(answers, None)
                if part is None:
                    raise RefusedAnswerError(f"{len(todo)} segments were left out")
                await self._accept(gathering, part, todo)
            # What the last passes took comes with the last batch; anything behind it is one too many.
            async with asyncio.timeout(patience_s):
                if await anext(answers, None) is not None:
                    raise RefusedAnswerError("more batches came than were asked for")

    async def _accept(self, gathering: Gathering, part: PeerAnswer, todo: deque[AnsweredSegment]) -> None:
        if part.changed:
            numbers = set(part.changed)
            changed = [segment for segment in todo if segment.snapshot.place.number in numbers]
            left = [segment for segment in todo if segment.snapshot.place.number not in numbers]
            if len(changed) != len(part.changed):
                raise RefusedAnswerError("segments are said to have changed that were not asked for")
            todo.clear()
            todo.extend(left)
            self._retry(gathering, Retry.CHANGED, changed)
        if part.batch is not None:
            segment = todo[0] if todo else None
            if segment is None:
                raise RefusedAnswerError("more batches came than were asked for")
            await self._check(gathering.question.answer, segment, part.batch)
            todo.popleft()
            self._events.segments_scored_by_peers(1)
            gathering.scored(segment, part.batch)
        if part.statistics is not None:
            gathering.statistics.add_passes(part.statistics)

    async def _check(self, answer: Answer, segment: AnsweredSegment, batch: SignedScores) -> None:
        snapshot = segment.snapshot
        try:
            await run_patiently(
                self._compute,
                self._tickets.check_segment,
                answer,
                segment.batch_index,
                batch,
                len(snapshot.content),
                snapshot.place,
            )
        except (PermissionDeniedError, InvalidArgumentError, FailedPreconditionError) as error:
            raise RefusedAnswerError(f"a batch is not what was asked for ({error.reason.value})") from error

    def _retry(self, gathering: Gathering, cause: Retry, segments: Sequence[AnsweredSegment]) -> None:
        if segments:
            self._events.segments_retried(cause, len(segments))
            gathering.start(gathering.score_here(list(segments)))


def _spread(
    segments: Sequence[AnsweredSegment], live: Sequence[Peer], own_name: str | None
) -> tuple[list[AnsweredSegment], list[tuple[Peer, list[AnsweredSegment]]]]:
    """The segments that this replica owns, and those of each peer."""
    names = [peer.name for peer in live]
    if own_name is not None:
        names.append(own_name)
    owned: dict[str, list[AnsweredSegment]] = defaultdict(list)
    for segment in segments:
        # It names the content to the peer; the first time takes a while.
        _ = segment.snapshot.content.digest
        owned[owner_of(segment.snapshot.place, names)].append(segment)
    own = owned.pop(own_name, []) if own_name is not None else []
    return own, [(peer, owned[peer.name]) for peer in live if peer.name in owned]


def _question_to_peer(question: FanOutQuestion, segments: Sequence[AnsweredSegment]) -> PeerQuestion:
    return PeerQuestion(
        gallery=question.gallery.name,
        probe=question.probe,
        segments=tuple(
            SegmentRevision(segment.snapshot.place.number, segment.batch_index, segment.snapshot.content.digest)
            for segment in segments
        ),
        gallery_uid=question.gallery.uid,
        generation=question.gallery.generation,
        batch_count=question.answer.batch_count,
        nonce=question.answer.nonce,
    )


def _cause(error: VeilfaceError) -> Retry:
    if isinstance(error, ResourceExhaustedError):
        return Retry.OVERLOADED
    # The gallery was changed, deleted or moved to another key version between the two looks at it.
    if error.reason is Reason.GALLERY_CHANGED or isinstance(error, NotFoundError | FailedPreconditionError):
        return Retry.CHANGED
    return Retry.SLOW if error.reason is Reason.DEADLINE_EXCEEDED else Retry.LOST
