"""One key of the real size: a full segment of 88 templates of 512 dimensions."""

import numpy as np
import pytest

from tests.unit.crypto.phe.faces import embeddings, integer_scores
from veilface.crypto.contract import PublicMaterial, Scheme, TemplateSpace, TemplateUse
from veilface.crypto.public.phe.factory import load_comparer, load_encryptor
from veilface.crypto.secret.phe.factory import generate_key, load_decrypter

DIMENSION = 512


@pytest.mark.parametrize("scheme", [Scheme.PAILLIER, Scheme.DAMGARD_JURIK, Scheme.OKAMOTO_UCHIYAMA])
def test_the_default_profile_scores_512_dimensions_exactly(scheme: Scheme):
    profile = f"{scheme.value}-112"
    generated = generate_key(profile)
    material = PublicMaterial(scheme, profile, "keys/test/versions/1", generated.public_key, b"")
    encryptor, comparer = load_encryptor(material), load_comparer(material)
    decrypter = load_decrypter(profile, generated.secret_key)
    space = TemplateSpace(DIMENSION)
    faces, probe = embeddings(3, DIMENSION, seed=41), embeddings(1, DIMENSION, seed=42)[0]
    query = encryptor.encrypt(probe, space, TemplateUse.PLAINTEXT_PROBE)
    segment = comparer.new_segment(space)
    slots = np.array([0, segment.capacity // 2, segment.capacity - 1])
    templates = [encryptor.encrypt(face, space, TemplateUse.REFERENCE) for face in faces]
    for template, slot in zip(templates, slots, strict=True):
        segment.add(template, int(slot))

    (response,) = comparer.search(comparer.prepare_probe(query, space), [segment], [slots])
    single = comparer.compare(templates[0], query, space)

    expected = integer_scores(faces, probe, space)
    assert decrypter.decrypt_integers(response, space, 3) == expected
    assert decrypter.decrypt_integers(single, space, 1) == expected[:1]
    assert np.abs(decrypter.decrypt(response, space, 3) - faces @ probe).max() < 1e-3
