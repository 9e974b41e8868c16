"""What a search takes of the memory for searches, beside what it really holds."""

import numpy as np
import pytest
from tests.unit.crypto.packed.conftest import make_keyring, unit_vectors

from veilface.crypto.contract import TemplateSpace, TemplateUse
from veilface.crypto.public.packed.search import ExpandedProbe
from veilface.matching.domain.search.cost import SearchCost


@pytest.mark.parametrize("name", ["ckks-packed-128", "ckks-packed-exact"])
@pytest.mark.parametrize("dimension", [16, 17])
def test_an_expanded_probe_is_counted_as_large_as_it_is(name, dimension):
    key, space = make_keyring(name), TemplateSpace(dimension)
    probe = key.encryptor.encrypt(unit_vectors(1, dimension, 1)[0], space, TemplateUse.PROBE)
    expanded = key.comparer.prepare_probe(probe, space)
    assert isinstance(expanded, ExpandedProbe)
    encrypted = SearchCost.of(key.comparer, space, TemplateUse.PROBE, 3, 100)
    in_the_clear = SearchCost.of(key.comparer, space, TemplateUse.PLAINTEXT_PROBE, 3, 100)
    assert encrypted.score_bytes - in_the_clear.score_bytes == expanded.tiles.nbytes
    assert encrypted.segment_bytes == key.comparer.new_segment(space).tiles.nbytes
    assert encrypted.segment_bytes * 32 == expanded.tiles.nbytes * 26
    assert np.array_equal(expanded.tiles[:, dimension:], np.zeros_like(expanded.tiles[:, dimension:]))
