import random
import secrets
from dataclasses import replace

import pytest

from veilface.common.errors import DataLossError, Reason
from veilface.common.names import KeyVersionName
from veilface.crypto.contract import Scheme
from veilface.keys.domain.master_key import MasterKey
from veilface.keys.domain.sealing import Purpose, SealContext, check_context, open_seal, rewrap, seal
from veilface.keys.domain.secret_bytes import SecretKey, TransformSeed

SECRET = secrets.token_bytes(4096)
CONTEXT = SealContext(
    Purpose.SECRET_KEY, KeyVersionName("office", 1), Scheme.CKKS_PACKED, "ckks-packed-128", bytes(32), b"\x01" * 32
)


def opened(blob: bytes, context: SealContext, master_key: MasterKey) -> bytes:
    with open_seal(SecretKey, blob, context, master_key) as secret_key, secret_key.exposed() as view:
        return bytes(view)


@pytest.fixture
def blob(master_key: MasterKey) -> bytes:
    return seal(SecretKey("keys/office/versions/1", bytearray(SECRET)), CONTEXT, master_key)


def test_what_was_sealed_is_opened(blob: bytes, master_key: MasterKey) -> None:
    assert opened(blob, CONTEXT, master_key) == SECRET


def test_a_sealed_blob_does_not_contain_the_secret(blob: bytes) -> None:
    assert all(SECRET[start : start + 8] not in blob for start in range(0, len(SECRET) - 8, 8))


def test_sealing_twice_shares_nothing(blob: bytes, master_key: MasterKey) -> None:
    again = seal(SecretKey("keys/office/versions/1", bytearray(SECRET)), CONTEXT, master_key)
    header_bytes = 8 + 2 + 8 + 2
    assert again[:header_bytes] == blob[:header_bytes]
    assert all(again[at : at + 8] != blob[at : at + 8] for at in range(header_bytes, len(blob) - 8))


def test_a_thousand_bit_flips_are_refused(blob: bytes, master_key: MasterKey) -> None:
    source = random.Random(20300517)
    # Every bit of what comes before the long ciphertext, and a sample of the rest.
    front = range(8 * 92)
    flips = [*front, *source.sample(range(front.stop, 8 * len(blob)), 1000 - len(front))]
    for bit in flips:
        flipped = bytearray(blob)
        flipped[bit // 8] ^= 1 << (bit % 8)
        with pytest.raises(DataLossError) as caught:
            opened(bytes(flipped), CONTEXT, master_key)
        assert caught.value.reason is Reason.SEAL_BROKEN
    assert opened(blob, CONTEXT, master_key) == SECRET


@pytest.mark.parametrize("length", [0, 1, 7, 8, 20, 80, 92, 107, -1])
def test_a_cut_blob_is_refused(blob: bytes, master_key: MasterKey, length: int) -> None:
    with pytest.raises(DataLossError):
        opened(blob[:length], CONTEXT, master_key)


def test_bytes_after_the_end_are_refused(blob: bytes, master_key: MasterKey) -> None:
    with pytest.raises(DataLossError):
        opened(blob + b"\x00", CONTEXT, master_key)


@pytest.mark.parametrize(
    "other",
    [
        replace(CONTEXT, key_version=KeyVersionName("office", 2)),
        replace(CONTEXT, key_version=KeyVersionName("officf", 1)),
        replace(CONTEXT, scheme=Scheme.CKKS_TENSEAL),
        replace(CONTEXT, profile="ckks-packed-192"),
        replace(CONTEXT, public_key_sha256=b"\x02" * 32),
        replace(CONTEXT, evaluation_keys_sha256=b"\x02" * 32),
        replace(CONTEXT, purpose=Purpose.TRANSFORM_SEED),
    ],
)
def test_a_blob_opens_in_its_own_context_only(blob: bytes, master_key: MasterKey, other: SealContext) -> None:
    with pytest.raises(DataLossError):
        opened(blob, other, master_key)
    with pytest.raises(DataLossError):
        check_context(blob, other, master_key)
    check_context(blob, CONTEXT, master_key)


def test_the_data_key_of_one_blob_does_not_open_another(master_key: MasterKey) -> None:
    first, second = (
        seal(SecretKey("keys/office/versions/1", bytearray(SECRET)), CONTEXT, master_key) for _ in range(2)
    )
    payload = 8 + 2 + 8 + 2 + 60
    for spliced in (first[:payload] + second[payload:], second[:payload] + first[payload:]):
        with pytest.raises(DataLossError):
            opened(spliced, CONTEXT, master_key)


def test_another_master_key_does_not_open_it(blob: bytes) -> None:
    with pytest.raises(DataLossError, match="another master key"):
        opened(blob, CONTEXT, MasterKey(bytearray(32)))


def test_neighboring_fields_do_not_run_into_each_other() -> None:
    left = replace(CONTEXT, key_version=KeyVersionName("office1", 2), profile="x")
    right = replace(CONTEXT, key_version=KeyVersionName("office", 12), profile="x")
    assert left.to_aad("secret") != right.to_aad("secret")


def test_rewrapping_moves_a_secret_to_a_new_master_key(blob: bytes, master_key: MasterKey) -> None:
    new = MasterKey(bytearray(secrets.token_bytes(32)))
    moved = rewrap(blob, CONTEXT, master_key, new)
    assert opened(moved, CONTEXT, new) == SECRET
    with pytest.raises(DataLossError):
        opened(moved, CONTEXT, master_key)


def test_a_seed_is_not_taken_for_a_secret_key(master_key: MasterKey) -> None:
    context = replace(CONTEXT, purpose=Purpose.TRANSFORM_SEED)
    blob = seal(TransformSeed("keys/office/versions/1", bytearray(32)), context, master_key)
    with open_seal(TransformSeed, blob, context, master_key) as seed, seed.exposed() as view:
        assert bytes(view) == bytes(32)
    with pytest.raises(DataLossError):
        opened(blob, CONTEXT, master_key)
