"""Templates and segments moved to another key version score as before, and only under the new version."""

from collections.abc import Callable

import numpy as np
import pytest

from tests.unit.crypto.packed.conftest import Keyring, unit_vectors
from veilface.common.errors import InvalidArgumentError, InvalidCiphertextError, Reason
from veilface.crypto.contract import Metric, PublicMaterial, TemplateSpace, TemplateUse
from veilface.crypto.public.packed import wire
from veilface.crypto.public.packed.bulk import SegmentEncryptor
from veilface.crypto.public.packed.comparer import PackedComparer
from veilface.crypto.public.packed.encrypt import PackedEncryptor
from veilface.crypto.renewal import OrthogonalTransform
from veilface.crypto.secret.packed.decrypt import PackedDecrypter
from veilface.crypto.secret.packed.keyset import generate_key
from veilface.crypto.secret.packed.reencrypt import PackedReencrypter


def next_version(key: Keyring) -> tuple[PublicMaterial, PackedComparer, PackedEncryptor, PackedDecrypter]:
    fresh = generate_key(key.profile.name)
    material = PublicMaterial(
        key.material.scheme, key.profile.name, "keys/test/versions/2", fresh.public_key, fresh.evaluation_keys
    )
    decrypter = PackedDecrypter(key.profile.name, fresh.secret_key)
    return material, PackedComparer(material), PackedEncryptor(material), decrypter


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("name", ["ckks-packed-128", "ckks-packed-exact"])
def test_templates_and_segments_score_as_before_under_the_new_version(
    name: str, metric: Metric, keyring: Callable[[str], Keyring]
) -> None:
    key = keyring(name)
    space = TemplateSpace(96, metric)
    vectors = unit_vectors(40, 96, 1)
    material, comparer, encryptor, decrypter = next_version(key)
    move = PackedReencrypter(name, key.secret_key, material, None)

    segment = SegmentEncryptor(key.material).encrypt(vectors, space)
    kept = np.array([3, 4, 30])
    moved = comparer.segment_from_bytes(move.reencrypt_segment(segment, space, kept), space)
    probe = encryptor.encrypt(vectors[4], space, TemplateUse.PROBE)
    (answer,) = comparer.search(comparer.prepare_probe(probe, space), [moved], [np.arange(3)])
    cosines = vectors[kept] @ vectors[4]
    expected = cosines if metric is Metric.COSINE else 2 - 2 * cosines
    assert np.abs(decrypter.decrypt(answer, space, 3) - expected).max() < 4e-3

    reference = key.encryptor.encrypt(vectors[30], space, TemplateUse.REFERENCE)
    score = comparer.compare(move.reencrypt_template(reference, space, TemplateUse.REFERENCE), probe, space)
    assert abs(decrypter.decrypt(score, space, 1)[0] - expected[2]) < 4e-3
    old = key.decrypter.decrypt(score, space, 1)[0]
    assert abs(old - expected[2]) > 0.01


def test_renewal_changes_the_template_under_the_encryption_and_no_score(keyring: Callable[[str], Keyring]) -> None:
    key = keyring("ckks-packed-128")
    space = TemplateSpace(100)
    vectors = unit_vectors(5, 100, 2)
    seeds = (bytes(range(32)), bytes(range(32, 64)))
    before, after = (OrthogonalTransform(seed, 100) for seed in seeds)
    material, comparer, encryptor, decrypter = next_version(key)
    move = PackedReencrypter(key.profile.name, key.secret_key, material, seeds)
    reference = key.encryptor.encrypt(before.apply(vectors[0]), space, TemplateUse.REFERENCE)
    moved = move.reencrypt_template(reference, space, TemplateUse.REFERENCE)
    probe = encryptor.encrypt(after.apply(vectors[0]), space, TemplateUse.PROBE)
    stale = encryptor.encrypt(before.apply(vectors[0]), space, TemplateUse.PROBE)
    assert decrypter.decrypt(comparer.compare(moved, probe, space), space, 1)[0] == pytest.approx(1.0, abs=1e-4)
    assert abs(decrypter.decrypt(comparer.compare(moved, stale, space), space, 1)[0]) < 0.5


@pytest.mark.parametrize("dimension", [1, 2, 100, 128, 512, 2622])
def test_the_renewal_transform_is_orthogonal_and_invertible(dimension: int) -> None:
    vectors = unit_vectors(4, dimension, 3)
    transform = OrthogonalTransform(b"s" * 32, dimension)
    moved = transform.apply(vectors)
    assert np.abs(moved @ moved.T - vectors @ vectors.T).max() < 1e-12
    assert np.abs(transform.invert(moved) - vectors).max() < 1e-12
    assert np.array_equal(OrthogonalTransform(b"s" * 32, dimension).apply(vectors), moved)


def test_templates_of_one_embedding_under_two_seeds_are_unrelated() -> None:
    vectors = unit_vectors(200, 128, 4)
    one, other = (OrthogonalTransform(seed * 32, 128).apply(vectors) for seed in (b"a", b"b"))
    same = np.abs((one * other).sum(axis=1))
    different = np.abs((one * np.roll(other, 1, axis=0)).sum(axis=1))
    assert same.mean() == pytest.approx(different.mean(), rel=0.25)
    assert same.max() < 0.5


def test_a_transform_does_not_pickle() -> None:
    import pickle

    with pytest.raises(TypeError):
        pickle.dumps(OrthogonalTransform(b"s" * 32, 8))


def test_a_crafted_template_is_not_moved(keyring: Callable[[str], Keyring]) -> None:
    key = keyring("ckks-packed-128")
    space = TemplateSpace(64)
    material, *_ = next_version(key)
    move = PackedReencrypter(key.profile.name, key.secret_key, material, None)
    honest = key.encryptor.encrypt(unit_vectors(1, 64, 5)[0], space, TemplateUse.REFERENCE)
    assert move.reencrypt_template(honest, space, TemplateUse.REFERENCE)
    residues = wire.read_template(key.profile, 64, TemplateUse.REFERENCE, honest)
    doubled = residues.copy()
    for limb, prime in enumerate(key.profile.data_primes):
        doubled[:, limb] = residues[:, limb].astype(np.uint64) * 2 % prime
    with pytest.raises(InvalidArgumentError) as caught:
        move.reencrypt_template(
            wire.write_template(key.profile, 64, TemplateUse.REFERENCE, doubled), space, TemplateUse.REFERENCE
        )
    assert caught.value.reason is Reason.EMBEDDING_OUT_OF_RANGE
    with pytest.raises(InvalidCiphertextError):
        move.reencrypt_template(honest[:-1], space, TemplateUse.REFERENCE)
