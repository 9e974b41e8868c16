"""Other replicas, as the rules see them."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from veilface.common.attested import SignedScores, SignedTemplate
from veilface.common.names import GalleryName
from veilface.matching.domain.search.statistics import SearchStatistics


@dataclass(frozen=True, slots=True)
class SegmentRevision:
    """A segment with a certain content.

    Attributes:
        number: Of the segment in its gallery.
        batch_index: Which batch of the whole answer is about it, from 0.
        content_sha256: See `SegmentContent.digest`.
    """

    number: int
    batch_index: int
    content_sha256: bytes


@dataclass(frozen=True, slots=True)
class PeerQuestion:
    """What one replica asks another: a part of an answer that it will give.

    Attributes:
        generation: Of the gallery, which the whole answer is about.
        segments: In ascending order of their batches.
        batch_count: Of the whole answer.
        nonce: Of the whole answer.
    """

    gallery: GalleryName
    probe: SignedTemplate
    segments: tuple[SegmentRevision, ...]
    gallery_uid: int
    generation: int
    batch_count: int
    nonce: bytes


@dataclass(frozen=True, slots=True)
class PeerAnswer:
    """A piece of what comes back.

    Attributes:
        batch: The scores of the next segment, in the order of the question.
        changed: The numbers of segments that hold something else than asked for, and get no batch.
        statistics: What the passes since the last statistics took.
    """

    batch: SignedScores | None = None
    changed: tuple[int, ...] = ()
    statistics: SearchStatistics | None = None


class RefusedAnswerError(Exception):
    """A peer does not answer as agreed, so nothing that it says counts. It never leaves the fan-out."""


class Peer(Protocol):
    """Another replica."""

    @property
    def name(self) -> str:
        """What every replica calls it."""
        ...

    def score(self, question: PeerQuestion, time_left_s: float | None) -> AsyncGenerator[PeerAnswer]:
        """Ask it. Nothing that comes back is known to be true.

        Args:
            question: What is asked.
            time_left_s: How long it may take altogether; None: without end.

        Raises:
            RefusedAnswerError: If what comes back cannot be read.
            VeilfaceError: Its own error, or that of the call.
        """
        ...


class Peers(Protocol):
    """All other replicas."""

    @property
    def own_name(self) -> str | None:
        """What the others call this replica; None as long as that is not known."""
        ...

    def live(self) -> Sequence[Peer]:
        """Those that can be asked now."""
        ...

    def give_up(self, peer: Peer, reason: str) -> None:
        """A peer did not answer as it should: it is not live before it is found to be well again."""
        ...


class NoPeers:
    """The peers of a replica that is alone."""

    own_name = None

    def live(self) -> Sequence[Peer]:
        """See `Peers.live`."""
        return ()

    def give_up(self, peer: Peer, reason: str) -> None:
        """See `Peers.give_up`."""


class Retry(StrEnum):
    """Why segments of a peer are scored by the replica that asked."""

    CHANGED = "changed"
    OVERLOADED = "overloaded"
    SLOW = "slow"
    LOST = "lost"
    REFUSED = "refused"


class FanOutEvents(Protocol):
    """Who wants to know how segments are spread."""

    def segments_scored_by_peers(self, count: int) -> None:
        """Other replicas scored segments for this one."""
        ...

    def segments_scored_for_peers(self, count: int) -> None:
        """This replica scored segments for others."""
        ...

    def segments_retried(self, cause: Retry, count: int) -> None:
        """Segments that a peer was asked for were, or are going to be, scored here."""
        ...
