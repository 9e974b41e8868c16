"""Scores of segments, signed: one batch of an answer for each."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from veilface.common.attested import SignedScores
from veilface.common.pool import BoundedPool
from veilface.matching.domain.search.scorers import Scorer
from veilface.matching.domain.search.statistics import SearchStatistics
from veilface.matching.domain.store.snapshots import SegmentSnapshot
from veilface.matching.domain.tickets import Answer, TicketIssuer


@dataclass(frozen=True, slots=True, eq=False)
class AnsweredSegment:
    """A segment, and which batch of an answer is about it.

    Attributes:
        batch_index: From 0.
    """

    batch_index: int
    snapshot: SegmentSnapshot


class SigningScorer:
    """Scores segments and signs what comes out.

    Args:
        scorer: Scores.
        tickets: Sign.
        compute: Where that runs.
    """

    def __init__(self, scorer: Scorer, tickets: TicketIssuer, compute: BoundedPool) -> None:
        self._scorer = scorer
        self._tickets = tickets
        self._compute = compute

    async def score(
        self,
        answer: Answer,
        segments: Sequence[AnsweredSegment],
        statistics: SearchStatistics,
        *,
        is_last: bool = True,
    ) -> AsyncGenerator[list[SignedScores]]:
        """The batches of the next segments, until all are scored; arguments and errors as for `Scorer.score`."""
        snapshots = [segment.snapshot for segment in segments]
        done = 0
        async with aclosing(self._scorer.score(snapshots, statistics, is_last=is_last)) as windows:
            async for ciphertexts in windows:
                window = segments[done : done + len(ciphertexts)]
                done += len(window)
                yield await self._compute.run(self._sign, answer, window, ciphertexts)

    def release(self) -> None:
        """See `Scorer.release`."""
        self._scorer.release()

    def _sign(
        self, answer: Answer, window: Sequence[AnsweredSegment], ciphertexts: Sequence[bytes]
    ) -> list[SignedScores]:
        return [
            self._tickets.sign_segment(
                answer, segment.batch_index, ciphertext, len(segment.snapshot.content), segment.snapshot.place
            )
            for segment, ciphertext in zip(window, ciphertexts, strict=True)
        ]
