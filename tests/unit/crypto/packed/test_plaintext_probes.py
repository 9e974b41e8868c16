"""Probes in the clear: the scores of encrypted ones, in smaller answers, and nothing that is out of range."""

from collections.abc import Callable

import numpy as np
import pytest

from tests.unit.crypto.packed.conftest import Keyring, unit_vectors
from tests.unit.crypto.packed.scores import PROFILES, error_bound, true_scores
from veilface.common.errors import InvalidCiphertextError, Reason
from veilface.crypto.contract import Metric, TemplateSpace, TemplateUse
from veilface.crypto.public.packed import wire
from veilface.crypto.public.packed.bulk import SegmentEncryptor


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("name", PROFILES)
def test_a_search_with_a_plaintext_probe_gives_the_same_scores_in_a_smaller_answer(
    name: str, metric: Metric, keyring: Callable[[str], Keyring]
) -> None:
    key = keyring(name)
    space = TemplateSpace(100, metric)
    n = key.profile.degree
    vectors = unit_vectors(n, 100, 11)
    bulk = SegmentEncryptor(key.material)
    segments = [key.comparer.segment_from_bytes(bulk.encrypt(vectors, space), space) for _ in range(3)]
    slots = [np.arange(n), np.arange(5), np.array([7])]
    plain = key.encryptor.encrypt(vectors[7], space, TemplateUse.PLAINTEXT_PROBE)
    prepared = key.comparer.prepare_probe(plain, space, TemplateUse.PLAINTEXT_PROBE)
    answers = key.comparer.search(prepared, segments, slots)
    expected = true_scores(vectors, vectors[7], metric)
    for answer, occupied in zip(answers, slots, strict=True):
        found = key.decrypter.decrypt(answer, space, occupied.size)
        assert np.abs(found - expected[occupied]).max() < error_bound(key.profile, metric)
    encrypted = key.comparer.prepare_probe(key.encryptor.encrypt(vectors[7], space, TemplateUse.PROBE), space)
    assert len(answers[0]) < 0.7 * len(key.comparer.search(encrypted, segments[:1], slots[:1])[0])


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("name", PROFILES)
def test_a_comparison_with_a_plaintext_probe_gives_the_same_score_in_a_smaller_answer(
    name: str, metric: Metric, keyring: Callable[[str], Keyring]
) -> None:
    key, space = keyring(name), TemplateSpace(100, metric)
    one, other = unit_vectors(2, 100, 12)
    reference = key.encryptor.encrypt(one, space, TemplateUse.REFERENCE)
    answers = {
        use: key.comparer.compare(reference, key.encryptor.encrypt(other, space, use), space)
        for use in (TemplateUse.PROBE, TemplateUse.PLAINTEXT_PROBE)
    }
    (expected,) = true_scores(one[None], other, metric)
    for answer in answers.values():
        assert abs(key.decrypter.decrypt(answer, space, 1)[0] - expected) < error_bound(key.profile, metric)
    assert len(answers[TemplateUse.PLAINTEXT_PROBE]) < 0.6 * len(answers[TemplateUse.PROBE])


def test_several_plaintext_probes_in_one_pass_equal_one_search_each(keyring: Callable[[str], Keyring]) -> None:
    key, space = keyring("ckks-packed-128"), TemplateSpace(40)
    vectors = unit_vectors(key.profile.degree, 40, 13)
    bulk = SegmentEncryptor(key.material)
    segments = [key.comparer.segment_from_bytes(bulk.encrypt(vectors, space), space) for _ in range(3)]
    slots = [np.arange(key.profile.degree)] * 3
    use = TemplateUse.PLAINTEXT_PROBE
    probes = [key.comparer.prepare_probe(key.encryptor.encrypt(row, space, use), space, use) for row in vectors[:3]]
    together = key.comparer.search_many(probes, segments, slots)
    assert together == [key.comparer.search(probe, segments, slots) for probe in probes]


LIMIT = 1 << 27


@pytest.mark.parametrize("weight", [LIMIT + 1, -LIMIT - 1, np.iinfo(np.int64).max, np.iinfo(np.int64).min])
def test_a_weight_that_no_embedding_has_is_refused(weight: int, keyring: Callable[[str], Keyring]) -> None:
    key, space = keyring("ckks-packed-128"), TemplateSpace(64)
    honest = key.encryptor.encrypt(unit_vectors(1, 64, 14)[0], space, TemplateUse.PLAINTEXT_PROBE)
    for value, is_refused in ((LIMIT, False), (-LIMIT, False), (weight, True)):
        changed = honest[: wire.HEADER_BYTES] + np.int64(value).tobytes() + honest[wire.HEADER_BYTES + 8 :]
        if not is_refused:
            key.comparer.check_template(changed, space, TemplateUse.PLAINTEXT_PROBE)
            continue
        with pytest.raises(InvalidCiphertextError) as caught:
            key.comparer.check_template(changed, space, TemplateUse.PLAINTEXT_PROBE)
        assert caught.value.reason is Reason.EMBEDDING_OUT_OF_RANGE
