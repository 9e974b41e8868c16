"""One profile at one dimension: search packed templates, and check every score against numpy."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from veilface.cli.bench.measurement import progress
from veilface.cli.bench.papers.rows import SearchRow
from veilface.cli.bench.parties import Party
from veilface.cli.bench.subjects import unit_vectors_float64
from veilface.cli.bench.timing import timed
from veilface.crypto.contract import TemplateSpace
from veilface.crypto.public.packed.bulk import SegmentEncryptor
from veilface.crypto.public.phe.bulk import PheSegmentEncryptor
from veilface.crypto.public.phe.encrypt import PheEncryptor
from veilface.crypto.public.phe.quantization import SCALE, quantize

# More than a last-level cache holds, so that templates are read from memory.
_GALLERY_BYTES = 1 << 28
# The additive schemes compute on eight segments at once in each thread.
_ADDITIVE_SEGMENTS = 16

Encrypt = Callable[[NDArray[np.float64]], bytes]


def search_packed(party: Party, security_bits: int, dim: int, cap_s: float) -> SearchRow:
    """A search of `ckks-packed`: encrypted probe, scores with a little noise."""
    bulk = SegmentEncryptor(party.material)
    space = TemplateSpace(dim)
    copies = max(1, _GALLERY_BYTES // party.comparer.new_segment(space).memory_bytes)
    return _search(
        party, security_bits, dim, cap_s, bulk.capacity(space), copies, lambda rows: bulk.encrypt(rows, space)
    )


def search_additive(party: Party, security_bits: int, dim: int, cap_s: float) -> SearchRow:
    """A search of an additive scheme: plaintext probe, integer scores."""
    if not isinstance(party.encryptor, PheEncryptor):
        raise TypeError("not a party of an additive scheme")
    space = TemplateSpace(dim)
    bulk = PheSegmentEncryptor(party.encryptor)
    capacity = bulk.capacity(space)
    return _search(
        party, security_bits, dim, cap_s, capacity, _ADDITIVE_SEGMENTS, lambda rows: bulk.encrypt(rows, space)
    )


def _search(
    party: Party, security_bits: int, dim: int, cap_s: float, capacity: int, copies: int, encrypt: Encrypt
) -> SearchRow:
    progress(f"{party.profile}: {dim} dimensions, 1:N")
    space = TemplateSpace(dim)
    vectors = unit_vectors_float64(capacity + 1, dim, 12)
    probe, gallery = vectors[0], vectors[1:]
    data = encrypt(gallery)
    # A segment may look into its bytes, and copies that share memory would come from the cache.
    segments = [party.comparer.segment_from_bytes(bytes(bytearray(data)), space) for _ in range(copies)]
    slots = [np.arange(capacity)] * copies
    query = party.encryptor.encrypt(probe, space, party.probe_use)
    prepared = party.comparer.prepare_probe(query, space, party.probe_use)
    timing, responses = timed(lambda: party.comparer.search(prepared, segments, slots), max(cap_s, 1.0))
    expected = gallery @ probe
    scores = [party.decrypter.decrypt(response, space, capacity) for response in responses]
    return SearchRow(
        scheme=party.scheme.value,
        profile=party.profile,
        security_bits=security_bits,
        dim=dim,
        count=capacity * copies,
        us_per_template=timing.wall_s / (capacity * copies) * 1e6,
        cpu_us_per_template=timing.cpu_s / (capacity * copies) * 1e6,
        largest_error=max(float(np.abs(found - expected).max()) for found in scores),
        exact=_exact(scores, gallery, probe) if isinstance(party.encryptor, PheEncryptor) else None,
    )


def _exact(scores: list[NDArray[np.float64]], gallery: NDArray[np.float64], probe: NDArray[np.float64]) -> bool:
    """Whether every score is exactly numpy's inner product of integers."""
    space = TemplateSpace(len(probe))
    expected = np.stack([quantize(row, space) for row in gallery]) @ quantize(probe, space)
    return all(np.array_equal(np.rint(found * SCALE**2).astype(np.int64), expected) for found in scores)
