"""How much memory a search takes beside the segments, and when."""

from dataclasses import dataclass
from typing import Final, Self

from veilface.crypto.contract import TemplateComparer, TemplateSpace, TemplateUse
from veilface.matching.domain.search.windows import SEGMENTS_PER_WINDOW

# An expanded probe has as many residues as a segment, in 32 bits where that has them in 26.
_PROBE_BITS: Final = 32
_SEGMENT_BITS: Final = 26
# In expanded probes. On the way there, the ciphertexts lie in memory once at all limbs, once rescaled and once in
# tiles, the first two rounded up to a power of two of coordinates.
_EXPANSION: Final = 6
# Three polynomials of at most three limbs of 4 bytes.
_PRODUCT_BYTES_PER_SLOT: Final = 36
_ANSWER_BYTES_PER_SCORE: Final = 20

ROWS_PER_WINDOW: Final = 64
"""Stored templates that are read at once, by schemes without segments."""


@dataclass(frozen=True, slots=True)
class SearchCost:
    """Upper bounds, in bytes.

    Attributes:
        segment_bytes: What one segment takes.
        expand_bytes: What the search takes while its probe is made ready.
        score_bytes: What it takes from then on, until everything is scored: the probe, and what becomes of it.
        answer_bytes: What it takes until its caller has taken everything.
        shares_passes: Whether several probes of this kind cost less in one pass than one after the other.
    """

    segment_bytes: int
    expand_bytes: int
    score_bytes: int
    answer_bytes: int
    shares_passes: bool

    @classmethod
    def of(
        cls, comparer: TemplateComparer, space: TemplateSpace, use: TemplateUse, segment_count: int, score_count: int
    ) -> Self:
        """What a search of so many segments with so many scores takes. Blocks for as long as a segment is made."""
        segment = comparer.new_segment(space)
        answer_bytes = score_count * _ANSWER_BYTES_PER_SCORE
        product_bytes = min(segment_count, SEGMENTS_PER_WINDOW) * segment.capacity * _PRODUCT_BYTES_PER_SLOT
        later_bytes = product_bytes + answer_bytes
        is_expanded = use is TemplateUse.PROBE
        probe_bytes = is_expanded * (-(-segment.memory_bytes * _PROBE_BITS // _SEGMENT_BITS))
        return cls(
            segment_bytes=segment.memory_bytes,
            expand_bytes=later_bytes + _EXPANSION * probe_bytes,
            score_bytes=later_bytes + probe_bytes,
            answer_bytes=answer_bytes,
            shares_passes=is_expanded or comparer.plaintext_probes_share_a_pass,
        )

    @classmethod
    def of_rows(cls, template_bytes: int) -> Self:
        """What a comparison with one stored template after the other takes."""
        window_bytes = 2 * ROWS_PER_WINDOW * template_bytes
        return cls(0, window_bytes, window_bytes, window_bytes, shares_passes=False)
