"""Where the time of a search went, and where the segments came from."""

from collections import Counter
from dataclasses import dataclass, field

from veilface.matching.domain.segments.cache import Origin


@dataclass(slots=True)
class SearchStatistics:
    """Counted while a search goes on.

    Attributes:
        expand_time_s: The time to make the probe ready, in seconds.
        score_time_s: The time of the passes over the segments, in seconds; those of several replicas add up.
        gallery_bytes: How many bytes of encrypted templates were read.
    """

    enrollment_count: int = 0
    segment_count: int = 0
    expand_time_s: float = 0.0
    score_time_s: float = 0.0
    gallery_bytes: int = 0
    origins: Counter[Origin] = field(default_factory=Counter)

    def add_passes(self, other: "SearchStatistics") -> None:
        """Count what the passes of another replica took."""
        self.score_time_s += other.score_time_s
        self.gallery_bytes += other.gallery_bytes
        self.origins.update(other.origins)

    def take_passes(self) -> "SearchStatistics":
        """What the passes took since the last call."""
        taken = SearchStatistics(
            score_time_s=self.score_time_s, gallery_bytes=self.gallery_bytes, origins=Counter(self.origins)
        )
        self.score_time_s, self.gallery_bytes = 0.0, 0
        self.origins.clear()
        return taken
