"""Serialized segments: 26 bits per residue, whatever the number of coordinates, and parsed to the last bit."""

from collections.abc import Callable

import numpy as np
import pytest

from tests.unit.crypto.packed.conftest import Keyring, unit_vectors
from tests.unit.crypto.packed.tiles import dense, segment_residues, tile
from veilface.common.errors import InvalidCiphertextError, Reason
from veilface.crypto.contract import Metric, TemplateSpace, TemplateUse
from veilface.crypto.public.packed import wire
from veilface.crypto.public.packed.bulk import SegmentEncryptor
from veilface.crypto.public.packed.profiles import PROFILES, RESIDUE_BITS
from veilface.crypto.public.packed.ring import U32
from veilface.crypto.public.packed.segment import segment_bytes, segment_ciphertexts, write_segment

DIMENSION = 17
SPACE = TemplateSpace(DIMENSION)
# Below, at and above a block of 16 coordinates, and more than one block.
DIMENSIONS = [1, 2, 15, 16, 17, 33]


@pytest.fixture(scope="module")
def key(keyring: Callable[[str], Keyring]) -> Keyring:
    return keyring("ckks-packed-128")


@pytest.fixture(scope="module")
def residues(key: Keyring) -> U32:
    """Of valid ciphertexts: (17, 2, segment_limbs, n)."""
    rng, profile = np.random.default_rng(1), key.profile
    rows = [rng.integers(0, q, (DIMENSION, 2, profile.degree), dtype=np.uint32) for q in profile.data_primes[:2]]
    return np.stack(rows, axis=2)


def serialized(residues: U32, key: Keyring) -> bytes:
    return write_segment(key.profile, DIMENSION, dense(tile(residues)))


def refusal(data: bytes | memoryview, key: Keyring) -> InvalidCiphertextError:
    with pytest.raises(InvalidCiphertextError) as caught:
        key.comparer.segment_from_bytes(data, SPACE)
    return caught.value


@pytest.mark.parametrize("coordinates", DIMENSIONS)
@pytest.mark.parametrize("name", list(PROFILES))
def test_residues_of_every_size_come_back_unchanged(name: str, coordinates: int) -> None:
    """The largest, the smallest and random ones, mixed, so that none runs into its neighbors."""
    profile = PROFILES[name]
    rng = np.random.default_rng(coordinates)
    shape = (coordinates, 2, profile.segment_limbs, profile.degree)
    choices = np.stack([np.zeros(shape), np.full(shape, 2**RESIDUE_BITS - 1), rng.integers(0, 2**RESIDUE_BITS, shape)])
    drawn = np.take_along_axis(choices, rng.integers(0, 3, (1, *shape)), axis=0)[0].astype(np.uint32)
    tiles = dense(tile(drawn))
    blocks = [segment_ciphertexts(profile, tiles, block) for block in range(tiles.shape[1])]
    found = np.concatenate(blocks)
    assert np.array_equal(found[:coordinates], drawn)
    assert not found[coordinates:].any()


@pytest.mark.parametrize("name", list(PROFILES))
def test_a_segment_takes_26_bits_per_residue(name: str) -> None:
    profile = PROFILES[name]
    for coordinates, blocks in ((1, 1), (16, 1), (17, 2), (512, 32), (514, 33)):
        bits = 16 * blocks * profile.degree * 2 * profile.segment_limbs * 26
        assert segment_bytes(profile, coordinates) * 8 == bits


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_imported_and_enrolled_templates_score_the_same_whatever_fills_the_last_block(
    dimension: int, metric: Metric, key: Keyring
) -> None:
    space = TemplateSpace(dimension, metric)
    vectors = unit_vectors(3, dimension, 2)
    enrolled = key.comparer.new_segment(space)
    enrolled.add_many([key.encryptor.encrypt(row, space, TemplateUse.REFERENCE) for row in vectors], [0, 1, 2])
    imported = key.comparer.segment_from_bytes(SegmentEncryptor(key.material).encrypt(vectors, space), space)
    cosines = vectors @ vectors[1]
    expected = cosines if metric is Metric.COSINE else 2 - 2 * cosines
    for use in (TemplateUse.PROBE, TemplateUse.PLAINTEXT_PROBE):
        prepared = key.comparer.prepare_probe(key.encryptor.encrypt(vectors[1], space, use), space, use)
        for answer in key.comparer.search(prepared, [enrolled, imported], [np.arange(3)] * 2):
            assert np.abs(key.decrypter.decrypt(answer, space, 3) - expected).max() < 1e-3


def test_enrolling_into_an_imported_segment_changes_a_copy(key: Keyring) -> None:
    vectors = unit_vectors(2, DIMENSION, 3)
    data = SegmentEncryptor(key.material).encrypt(vectors[:1], SPACE)
    before = bytes(data)
    segment = key.comparer.segment_from_bytes(data, SPACE)
    reference = key.encryptor.encrypt(vectors[1], SPACE, TemplateUse.REFERENCE)
    segment.add(reference, 1)
    assert segment.to_bytes() != before
    segment.subtract(reference, 1)
    assert segment.to_bytes() == before == data


def test_a_segment_is_read_wherever_it_begins_in_memory(key: Keyring, residues: U32) -> None:
    data = serialized(residues, key)
    for offset in (0, 1, 4, 7):
        view = memoryview(bytes(offset) + data)[offset:]
        assert key.comparer.segment_from_bytes(view, SPACE).to_bytes() == data


def test_a_segment_that_is_not_exactly_right_is_refused(key: Keyring, residues: U32) -> None:
    data = serialized(residues, key)
    assert np.array_equal(segment_residues(data, DIMENSION, key.profile), residues)
    key.comparer.segment_from_bytes(data, SPACE)
    for wrong, reason in (
        (b"", Reason.WRONG_SIZE),
        (data[:-1], Reason.WRONG_SIZE),
        (data[: wire.HEADER_BYTES], Reason.WRONG_SIZE),
        (data + b"\0", Reason.WRONG_SIZE),
        (b"X" + data[1:], Reason.MALFORMED_CIPHERTEXT),
        (data[:4] + b"\1" + data[5:], Reason.WRONG_USE),
        (data[:10] + b"\x12" + data[11:], Reason.WRONG_DIMENSION),
    ):
        assert refusal(wrong, key).reason is reason


@pytest.mark.parametrize("limb", [0, 1])
@pytest.mark.parametrize("place", [(0, 0), (3, 1), (15, 1), (16, 1)])
@pytest.mark.parametrize("position", [0, 31, 4095])
def test_a_residue_that_is_not_below_its_prime_is_refused(
    limb: int, place: tuple[int, int], position: int, key: Keyring, residues: U32
) -> None:
    prime = key.profile.data_primes[limb]
    changed = residues.copy()
    changed[*place, limb, position] = prime - 1
    key.comparer.segment_from_bytes(serialized(changed, key), SPACE)
    for value in (prime, 2**RESIDUE_BITS - 1):
        changed[*place, limb, position] = value
        error = refusal(serialized(changed, key), key)
        assert error.reason is Reason.MALFORMED_CIPHERTEXT
        assert "not below its prime" in error.message


@pytest.mark.parametrize(("coordinate", "position"), [(17, 0), (31, 4095)])
def test_a_coordinate_behind_the_last_one_must_be_zero(
    coordinate: int, position: int, key: Keyring, residues: U32
) -> None:
    filled = np.zeros((32, *residues.shape[1:]), dtype=np.uint32)
    filled[:DIMENSION] = residues
    key.comparer.segment_from_bytes(serialized(filled, key), SPACE)
    filled[coordinate, 1, 1, position] = 1
    error = refusal(serialized(filled, key), key)
    assert error.reason is Reason.MALFORMED_CIPHERTEXT
    assert "behind the last one" in error.message


def test_a_segment_of_another_format_is_refused_and_says_what_to_do(key: Keyring, residues: U32) -> None:
    """Format 1 has its residues in 32-bit words."""
    data = serialized(residues, key)
    words = tile(residues)[:, :DIMENSION]
    header = wire.Header(wire.Kind.SEGMENT, 2, 2, key.profile.segment_log_scale, DIMENSION)
    old = b"VFP1" + wire.write(key.profile, header, words.tobytes())[4:]
    assert data[:4] == b"VFP2"
    key.comparer.segment_from_bytes(data, SPACE)
    for other in (old, b"VFP1" + data[4:], b"VFP3" + data[4:]):
        error = refusal(other, key)
        assert error.reason is Reason.WRONG_FORMAT
        assert "another version of veilface wrote" in error.message
        assert "importing or enrolling its templates" in error.message
