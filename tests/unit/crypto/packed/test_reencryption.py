"""Templates and segments moved to another key version score as before, and only under the new version."""

from collections.abc import Callable

import numpy as np
import pytest

from tests.unit.crypto.packed.conftest import Keyring, unit_vectors
from veilface.common.errors import InvalidCiphertextError
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


def doubled(key: Keyring, template: bytes, space: TemplateSpace) -> bytes:
    """What anybody can make of a template: an encryption of twice its embedding."""
    residues = wire.read_template(key.profile, space.dimension, TemplateUse.REFERENCE, template).copy()
    for limb, prime in enumerate(key.profile.data_primes):
        residues[:, limb] = residues[:, limb].astype(np.uint64) * 2 % prime
    return wire.write_template(key.profile, space.dimension, TemplateUse.REFERENCE, residues)


def test_a_crafted_template_is_replaced_by_one_that_resembles_nobody(keyring: Callable[[str], Keyring]) -> None:
    key = keyring("ckks-packed-128")
    # 1024 dimensions: a random direction has a cosine of 0.25 or more with another once in 10^14.
    space = TemplateSpace(1024)
    material, comparer, encryptor, decrypter = next_version(key)
    move = PackedReencrypter(key.profile.name, key.secret_key, material, None)
    (face,) = unit_vectors(1, 1024, 5)
    honest = key.encryptor.encrypt(face, space, TemplateUse.REFERENCE)
    probe = encryptor.encrypt(face, space, TemplateUse.PROBE)

    moved = move.reencrypt_template(honest, space, TemplateUse.REFERENCE)
    assert decrypter.decrypt(comparer.compare(moved, probe, space), space, 1)[0] == pytest.approx(1, abs=1e-3)
    assert move.replaced_count == 0
    replaced = move.reencrypt_template(doubled(key, honest, space), space, TemplateUse.REFERENCE)
    assert abs(decrypter.decrypt(comparer.compare(replaced, probe, space), space, 1)[0]) < 0.25
    assert (len(replaced), move.replaced_count) == (len(moved), 1)


def test_a_template_that_holds_more_than_its_embedding_is_replaced(keyring: Callable[[str], Keyring]) -> None:
    key = keyring("ckks-packed-128")
    material, comparer, encryptor, decrypter = next_version(key)
    move = PackedReencrypter(key.profile.name, key.secret_key, material, None)
    long, short = TemplateSpace(2048), TemplateSpace(1024)
    vector = np.zeros(2048)
    vector[:1024], vector[1500] = unit_vectors(1, 1024, 6)[0] * 0.95, (1 - 0.95**2) ** 0.5
    residues = wire.read_template(
        key.profile, 2048, TemplateUse.REFERENCE, key.encryptor.encrypt(vector, long, TemplateUse.REFERENCE)
    )
    relabeled = wire.write_template(key.profile, 1024, TemplateUse.REFERENCE, residues)
    moved = move.reencrypt_template(relabeled, short, TemplateUse.REFERENCE)
    assert move.replaced_count == 1
    probe = encryptor.encrypt(unit_vectors(1, 1024, 6)[0], short, TemplateUse.PROBE)
    assert abs(decrypter.decrypt(comparer.compare(moved, probe, short), short, 1)[0]) < 0.25


def test_bytes_that_are_no_template_are_refused(keyring: Callable[[str], Keyring]) -> None:
    key = keyring("ckks-packed-128")
    space = TemplateSpace(64)
    material, *_ = next_version(key)
    move = PackedReencrypter(key.profile.name, key.secret_key, material, None)
    honest = key.encryptor.encrypt(unit_vectors(1, 64, 5)[0], space, TemplateUse.REFERENCE)
    assert move.reencrypt_template(honest, space, TemplateUse.REFERENCE)
    with pytest.raises(InvalidCiphertextError):
        move.reencrypt_template(honest[:-1], space, TemplateUse.REFERENCE)


def test_a_reencrypter_needs_its_seeds_no_longer_than_it_is_made_and_wipes_its_copies(
    keyring: Callable[[str], Keyring],
) -> None:
    key = keyring("ckks-packed-128")
    space = TemplateSpace(100)
    material, *_ = next_version(key)
    lent = tuple(memoryview(bytearray([value]) * 32) for value in (1, 2))
    move = PackedReencrypter(key.profile.name, key.secret_key, material, (lent[0], lent[1]))
    for seed in lent:
        seed.release()
    template = key.encryptor.encrypt(unit_vectors(1, 100, 5)[0], space, TemplateUse.REFERENCE)
    assert move.reencrypt_template(template, space, TemplateUse.REFERENCE)
    copies = move._renewal._seeds
    assert [bytes(copy) for copy in copies] == [b"\x01" * 32, b"\x02" * 32]
    move.wipe()
    assert [bytes(copy) for copy in copies] == [bytes(32)] * 2
    with pytest.raises(RuntimeError, match="wiped"):
        move.reencrypt_template(template, space, TemplateUse.REFERENCE)
