"""One key of the real size per scheme: a full segment of 512 dimensions."""

import numpy as np
import pytest

from tests.unit.crypto.phe.faces import embeddings, integer_scores
from veilface.crypto.contract import PublicMaterial, Scheme, TemplateSpace, TemplateUse
from veilface.crypto.public.phe.factory import load_comparer, load_encryptor, load_segment_encryptor
from veilface.crypto.secret.phe.factory import generate_key, load_decrypter

DIMENSION = 512
CAPACITIES = {Scheme.PAILLIER: 87, Scheme.DAMGARD_JURIK: 176, Scheme.OKAMOTO_UCHIYAMA: 43}


@pytest.mark.parametrize("scheme", list(CAPACITIES))
def test_a_full_segment_of_the_default_profile_scores_512_dimensions_exactly(scheme: Scheme):
    profile = f"{scheme.value}-112"
    generated = generate_key(profile)
    material = PublicMaterial(scheme, profile, "keys/test/versions/1", generated.public_key, b"")
    encryptor, comparer = load_encryptor(material), load_comparer(material)
    decrypter = load_decrypter(profile, generated.secret_key)
    space = TemplateSpace(DIMENSION)
    count = CAPACITIES[scheme]
    faces, probe = embeddings(count, DIMENSION, seed=41), embeddings(1, DIMENSION, seed=42)[0]
    query = encryptor.encrypt(probe, space, TemplateUse.PLAINTEXT_PROBE)
    # All but the last encrypted at once; the last one added to the highest slot, which takes the most squarings.
    segment = comparer.segment_from_bytes(load_segment_encryptor(material).encrypt(faces[:-1], space), space)
    template = encryptor.encrypt(faces[-1], space, TemplateUse.REFERENCE)
    segment.add(template, count - 1)

    (response,) = comparer.search(comparer.prepare_probe(query, space), [segment], [np.arange(count)])
    single = comparer.compare(template, query, space)

    assert segment.capacity == count
    expected = integer_scores(faces, probe, space)
    assert decrypter.decrypt_integers(response, space, count) == expected
    assert decrypter.decrypt_integers(single, space, 1) == expected[-1:]
    assert np.abs(decrypter.decrypt(response, space, count) - faces @ probe).max() < 1e-3
