"""What the demo found out, with the truth beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from veilface.cli.demo.collection import Pair
from veilface.cli.demo.plan import Claim, GalleryPlan, Search
from veilface.client.results import Identification, Verification
from veilface.client.steps import Step
from veilface.common.errors import VeilfaceError


@dataclass(frozen=True, slots=True)
class PairFinding:
    """A 1:1 decision."""

    pair: Pair
    verification: Verification

    @property
    def is_right(self) -> bool:
        """Whether it agrees with the truth."""
        return self.verification.is_match == self.pair.is_mated


@dataclass(frozen=True, slots=True)
class ClaimFinding:
    """A 1:1 decision about an enrolled subject."""

    claim: Claim
    verification: Verification

    @property
    def is_right(self) -> bool:
        """Whether it agrees with the truth."""
        return self.verification.is_match == self.claim.is_mated


@dataclass(frozen=True, slots=True)
class SearchFinding:
    """A 1:N decision."""

    search: Search
    identification: Identification

    @property
    def found(self) -> str | None:
        """The best candidate; None for nobody."""
        candidates = self.identification.candidates
        return candidates[0].subject if candidates else None

    @property
    def is_right(self) -> bool:
        """Whether the best candidate is who it should be."""
        return self.found == self.search.subject


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything that was asked.

    Attributes:
        plan: Who was enrolled, and what was asked about the gallery.
        failed: Photographs that could not be used, and why.
        steps: Every call that was made.
        threshold_profile: The threshold of the decisions.
    """

    plan: GalleryPlan
    pairs: Sequence[PairFinding]
    claims: Sequence[ClaimFinding]
    searches: Sequence[SearchFinding]
    failed: Sequence[tuple[Path, VeilfaceError]]
    steps: Sequence[Step]
    threshold_profile: str

    @property
    def accuracy(self) -> float | None:
        """The share of pairs decided right; None without pairs."""
        return _share([finding.is_right for finding in self.pairs])

    @property
    def fmr(self) -> float | None:
        """False match rate: the share of non-mated pairs called a match."""
        return _share([finding.verification.is_match for finding in self.pairs if not finding.pair.is_mated])

    @property
    def fnmr(self) -> float | None:
        """False non-match rate: the share of mated pairs called no match."""
        return _share([not finding.verification.is_match for finding in self.pairs if finding.pair.is_mated])

    @property
    def rank_1_rate(self) -> float | None:
        """The share of searches for enrolled people whose best candidate is that person."""
        return _share([finding.is_right for finding in self.searches if finding.search.subject is not None])

    @property
    def fpir(self) -> float | None:
        """False positive identification rate: the share of searches for strangers that found somebody."""
        return _share([finding.found is not None for finding in self.searches if finding.search.subject is None])

    @property
    def wrong_count(self) -> int:
        """How many decisions disagree with the truth."""
        return sum(not finding.is_right for group in self._groups for finding in group)

    @property
    def all_right(self) -> bool:
        """Whether every photograph could be used and every decision agrees with the truth."""
        return not self.failed and any(self._groups) and self.wrong_count == 0

    @property
    def _groups(self) -> tuple[Sequence[PairFinding | ClaimFinding | SearchFinding], ...]:
        return self.pairs, self.claims, self.searches


def _share(hits: Sequence[bool]) -> float | None:
    return sum(hits) / len(hits) if hits else None
