import gc
import weakref

import numpy as np
import pytest

from veilface.crypto.contract import TemplateSpace
from veilface.matching.domain.blobs.mapping import file_sha256
from veilface.matching.domain.records import SegmentPlace
from veilface.matching.domain.segments import folder_cache
from veilface.matching.domain.segments.content import SegmentContent
from veilface.matching.domain.segments.folder_cache import FolderSegmentCache
from veilface.matching.domain.segments.packed import PackingTerms
from veilface.matching.domain.store.identity import StoreIdentity

PLACE = SegmentPlace(7, 2)
OTHER = SegmentPlace(7, 22)
TERMS = PackingTerms("keys/faces/versions/1", TemplateSpace(128))
IDENTITY = StoreIdentity("a" * 32, b"s" * 32)


def content(*numbers):
    count = len(numbers)
    return SegmentContent(
        np.arange(count, dtype=np.intp), np.array(numbers, dtype=np.uint64), np.zeros((count, 32), dtype=np.uint8)
    )


@pytest.fixture
def cache(tmp_path, events):
    return FolderSegmentCache(tmp_path / "segments", IDENTITY, events)


def files(tmp_path, ending):
    return sorted((tmp_path / "segments").rglob(f"*{ending}"))


def test_a_segment_outlives_the_process(cache, tmp_path, events):
    assert cache.store(PLACE, TERMS, content(1, 2), b"segment")
    again = FolderSegmentCache(tmp_path / "segments", IDENTITY, events)
    cached = again.find(PLACE, TERMS)
    assert cached.content.digest == content(1, 2).digest
    assert bytes(again.load(cached).view) == b"segment"
    assert (again.has(PLACE), again.has(OTHER)) == (True, False)
    assert again.own_places() == [PLACE]


def test_a_newer_segment_takes_the_place_of_an_older_one_that_stays_readable_where_it_is_mapped(cache, tmp_path):
    cache.store(PLACE, TERMS, content(1), b"older")
    mapped = cache.load(cache.find(PLACE, TERMS))
    cache.store(PLACE, TERMS, content(1, 2), b"newer")
    assert bytes(mapped.view) == b"older"
    assert bytes(cache.load(cache.find(PLACE, TERMS)).view) == b"newer"
    assert len(files(tmp_path, ".segment")) == 1


def test_a_dropped_segment_is_gone_and_the_others_are_not(cache, tmp_path):
    for place in (PLACE, OTHER):
        cache.store(place, TERMS, content(1), b"segment")
    assert cache.drop(PLACE)
    assert cache.find(PLACE, TERMS) is None
    assert cache.own_places() == [OTHER]
    assert bytes(cache.load(cache.find(OTHER, TERMS)).view) == b"segment"
    assert len(files(tmp_path, "")) == 1 + 2


@pytest.mark.parametrize("ending", [".listing", ".segment"])
def test_a_tampered_file_is_refused_and_removed(cache, tmp_path, events, ending):
    cache.store(PLACE, TERMS, content(1), b"segment")
    (path,) = files(tmp_path, ending)
    changed = bytearray(path.read_bytes())
    changed[-1] ^= 1
    path.write_bytes(changed)
    cached = cache.find(PLACE, TERMS)
    assert cached is None or cache.load(cached) is None
    assert events.refused == 1
    assert not cache.has(PLACE)


@pytest.mark.parametrize("ending", [".listing", ".segment"])
def test_a_cut_off_or_empty_file_is_no_segment(cache, tmp_path, ending):
    for keep in (0, 3):
        cache.store(PLACE, TERMS, content(1), b"segment")
        (path,) = files(tmp_path, ending)
        path.write_bytes(path.read_bytes()[:keep])
        cached = cache.find(PLACE, TERMS)
        assert cached is None or cache.load(cached) is None
        cache.drop(PLACE)


def test_a_lost_file_is_no_segment_and_not_listed_any_more(cache, tmp_path):
    cache.store(PLACE, TERMS, content(1), b"segment")
    (path,) = files(tmp_path, ".segment")
    path.unlink()
    assert cache.has(PLACE)
    assert cache.load(cache.find(PLACE, TERMS)) is None
    assert not cache.has(PLACE)


def test_the_digest_of_a_file_is_checked_once_until_the_file_changes(cache, tmp_path, events, monkeypatch):
    checked = []

    def counting(path):
        checked.append(path)
        return file_sha256(path)

    monkeypatch.setattr(folder_cache, "file_sha256", counting)
    cache.store(PLACE, TERMS, content(1), b"segment")
    cached = cache.find(PLACE, TERMS)
    assert cache.load(cached) is cache.load(cached)
    assert len(checked) == 1
    (path,) = files(tmp_path, ".segment")
    path.write_bytes(b"another")
    assert cache.load(cached) is None
    assert len(checked) == 2
    assert events.refused == 1


def test_a_dropped_segment_leaves_the_disk_although_it_was_mapped(cache, tmp_path):
    cache.store(PLACE, TERMS, content(1), b"segment")
    mapping = weakref.ref(cache.load(cache.find(PLACE, TERMS)))
    assert mapping() is not None
    cache.drop(PLACE)
    gc.collect()
    assert mapping() is None


def test_another_segments_listing_is_refused(cache, tmp_path, events):
    for place in (PLACE, OTHER):
        cache.store(place, TERMS, content(1), b"segment")
    ours, theirs = files(tmp_path, ".listing")
    ours.write_bytes(theirs.read_bytes())
    assert {cache.find(PLACE, TERMS) is None, cache.find(OTHER, TERMS) is None} == {True, False}
    assert events.refused == 1


def test_another_record_stores_segments_are_not_found(cache, tmp_path, events):
    cache.store(PLACE, TERMS, content(1), b"segment")
    other = FolderSegmentCache(tmp_path / "segments", StoreIdentity("b" * 32, b"s" * 32), events)
    assert other.find(PLACE, TERMS) is None
    assert other.own_places() == []


def test_a_folder_that_cannot_be_used_keeps_nothing_and_raises_nothing(tmp_path, events):
    (tmp_path / "file").write_bytes(b"")
    cache = FolderSegmentCache(tmp_path / "file", IDENTITY, events)
    assert not cache.store(PLACE, TERMS, content(1), b"segment")
    assert cache.find(PLACE, TERMS) is None
    assert cache.own_places() == []
