"""What bounds a search: reading the encrypted templates from memory, or multiplying what is read."""

from collections.abc import Sequence
from dataclasses import dataclass

from veilface.cli.bench.machine import read_gb_s
from veilface.cli.bench.measurement import US, Peer, Sheet
from veilface.cli.bench.subjects import SyntheticGallery
from veilface.cli.bench.timing import shortest
from veilface.crypto.public.packed.profiles import PackedProfile
from veilface.crypto.public.packed.search import ExpandedProbe, expanded_products
from veilface.crypto.public.packed.segment import PackedSegment

# As many as a search takes at a time.
_GROUP = 64


@dataclass(frozen=True, slots=True)
class SearchBounds:
    """The multiply-add of one probe with a whole gallery, and its two limits.

    Attributes:
        product_s: The multiply-add alone, without the transform and serialization of scores.
        compute_s: As many multiply-adds with a tile that stays in the cache: the limit of computation.
        read_s: A pure read of the same bytes in the same order: the limit of memory.
        busy_threads: How many threads the multiply-add kept busy.
        read_gb_s: Of the pure read.
        gallery_bytes: What is read.
    """

    product_s: float
    compute_s: float
    read_s: float
    busy_threads: float
    read_gb_s: float
    gallery_bytes: int

    @classmethod
    def measure(cls, profile: PackedProfile, gallery: SyntheticGallery, probe: ExpandedProbe) -> "SearchBounds":
        """Measure the three on one gallery."""
        segments = gallery.segments
        product = shortest(lambda: _multiply_add(profile, probe, segments))
        # Tile by tile all segments are the same one, so that its tile is in the cache from the second segment on.
        compute = shortest(lambda: _multiply_add(profile, probe, segments[:1] * len(segments)))
        gb_s = read_gb_s([segment.tiles for segment in segments], rows=segments[0].tiles.shape[0])
        read_s = gallery.segment_bytes / gb_s / 1e9
        return cls(product.wall_s, compute.wall_s, read_s, product.busy_threads, gb_s, gallery.segment_bytes)

    def add_to(self, sheet: Sheet, search_s: float) -> None:
        """Add the rows that show which limit binds.

        Args:
            sheet: Of the run.
            search_s: The whole search.
        """
        per_template = US / sheet.n
        limit = "memory" if self.read_s >= self.compute_s else "computation"
        sheet.add(
            "  multiply-add, memory limit",
            self.product_s * per_template,
            "us",
            Peer("pure read of the same bytes", self.read_s * per_template, sheet.threads),
            note=f"{limit} is the nearer limit, and so what bounds the search; {self.busy_threads:.1f} threads busy",
        )
        sheet.add(
            "  multiply-add, compute limit",
            self.product_s * per_template,
            "us",
            Peer("the same from the cache", self.compute_s * per_template, sheet.threads),
        )
        rest_s = max(0.0, search_s - self.product_s)
        sheet.add("  the rest: transform, serialize", rest_s * per_template, "us")
        sheet.add(
            "  multiply-add reads",
            self.gallery_bytes / self.product_s / 1e9,
            "GB/s",
            Peer("pure read of the same bytes", self.read_gb_s, sheet.threads),
        )


def _multiply_add(profile: PackedProfile, probe: ExpandedProbe, segments: Sequence[PackedSegment]) -> None:
    for first in range(0, len(segments), _GROUP):
        expanded_products([probe], segments[first : first + _GROUP], profile)
