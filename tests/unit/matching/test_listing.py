import numpy as np
import pytest

from veilface.common.errors import DataLossError
from veilface.crypto.contract import Metric, TemplateSpace
from veilface.matching.domain.records import SegmentPlace
from veilface.matching.domain.segments.content import SegmentContent
from veilface.matching.domain.segments.listing import open_listing, seal_listing
from veilface.matching.domain.segments.packed import PackingTerms

KEY = bytes(range(32))
PLACE = SegmentPlace(7, 2)
TERMS = PackingTerms("keys/faces/versions/1", TemplateSpace(128))
CONTENT = SegmentContent(
    np.array([0, 4], dtype=np.intp), np.array([11, 15], dtype=np.uint64), np.full((2, 32), 9, dtype=np.uint8)
)
PIECES = (b"a" * 32, b"b" * 32)


def sealed():
    return seal_listing(KEY, PLACE, TERMS, CONTENT, PIECES, 12_345)


def test_a_listing_opens_where_it_was_sealed_for():
    cached = open_listing(KEY, PLACE, TERMS, sealed())
    assert cached.content.digest == CONTENT.digest
    assert (cached.piece_sha256, cached.total_bytes, cached.place) == (PIECES, 12_345, PLACE)


def test_a_flipped_bit_anywhere_is_refused():
    listing = sealed()
    for position in range(len(listing)):
        changed = bytearray(listing)
        changed[position] ^= 1
        with pytest.raises(DataLossError):
            open_listing(KEY, PLACE, TERMS, bytes(changed))


@pytest.mark.parametrize("length", [0, 31, 32, 40, 47, 100])
def test_a_cut_off_listing_is_refused(length):
    with pytest.raises(DataLossError):
        open_listing(KEY, PLACE, TERMS, sealed()[:length])


@pytest.mark.parametrize(
    ("key", "place", "terms"),
    [
        (bytes(32), PLACE, TERMS),
        (KEY, SegmentPlace(7, 3), TERMS),
        (KEY, SegmentPlace(8, 2), TERMS),
        (KEY, PLACE, PackingTerms("keys/faces/versions/2", TERMS.space)),
        (KEY, PLACE, PackingTerms(TERMS.key_version, TemplateSpace(129))),
        (KEY, PLACE, PackingTerms(TERMS.key_version, TemplateSpace(128, Metric.SQUARED_EUCLIDEAN))),
    ],
    ids=["store", "segment", "gallery", "key version", "dimension", "metric"],
)
def test_a_listing_does_not_open_elsewhere(key, place, terms):
    with pytest.raises(DataLossError):
        open_listing(key, place, terms, sealed())
