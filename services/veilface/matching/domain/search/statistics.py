"""Where the time of a search went, and where the segments came from."""

from collections import Counter
from dataclasses import dataclass, field

from veilface.matching.domain.segments.cache import Origin


@dataclass(slots=True)
class SearchStatistics:
    """Counted while a search goes on.

    Attributes:
        expand_time_s: The time to make the probe ready, in seconds.
        score_time_s: The time of the passes over the segments, in seconds.
        gallery_bytes: How many bytes of encrypted templates were read.
    """

    enrollment_count: int = 0
    segment_count: int = 0
    expand_time_s: float = 0.0
    score_time_s: float = 0.0
    gallery_bytes: int = 0
    origins: Counter[Origin] = field(default_factory=Counter)
