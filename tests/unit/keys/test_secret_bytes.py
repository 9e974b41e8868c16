import copy
import json
import pickle
from collections.abc import Callable

import pytest

from veilface.keys.domain.secret_bytes import SecretKey

CANARY = b"a-secret-that-nobody-may-see"


@pytest.fixture
def secret_key() -> SecretKey:
    return SecretKey("keys/office/versions/1", bytearray(CANARY))


def test_the_secret_can_be_read_where_it_is_lent(secret_key: SecretKey) -> None:
    with secret_key.exposed() as view:
        assert bytes(view) == CANARY


@pytest.mark.parametrize("show", [repr, str, "{}".format, "{0!r}".format, "%s".__mod__, ascii])
def test_showing_it_tells_name_and_version_only(secret_key: SecretKey, show: Callable[[object], str]) -> None:
    assert show(secret_key) == "SecretKey(keys/office/versions/1)"


@pytest.mark.parametrize(
    "attempt",
    [copy.copy, copy.deepcopy, pickle.dumps, bytes, list, len, json.dumps, memoryview, lambda key: key.__getstate__()],
)
def test_copying_and_serializing_are_refused(secret_key: SecretKey, attempt: Callable[[object], object]) -> None:
    with pytest.raises(TypeError) as caught:
        attempt(secret_key)
    assert CANARY.decode() not in str(caught.value)


def test_the_lent_view_is_read_only_and_ends_with_the_block(secret_key: SecretKey) -> None:
    with secret_key.exposed() as view, pytest.raises(TypeError):
        view[0] = 0
    with pytest.raises(ValueError, match="released"):
        bytes(view)


def test_leaving_the_block_overwrites_the_buffer() -> None:
    buffer = bytearray(CANARY)
    with SecretKey("keys/office/versions/1", buffer):
        assert buffer == CANARY
    assert buffer == bytes(len(CANARY))


def test_dropping_the_last_reference_overwrites_the_buffer() -> None:
    buffer = bytearray(CANARY)
    secret_key = SecretKey("keys/office/versions/1", buffer)
    del secret_key
    assert buffer == bytes(len(CANARY))


def test_a_wiped_secret_is_not_lent_again(secret_key: SecretKey) -> None:
    secret_key.wipe()
    with pytest.raises(ValueError, match="wiped"), secret_key.exposed():
        pass


def test_two_secrets_are_never_equal_by_content(secret_key: SecretKey) -> None:
    assert secret_key != SecretKey("keys/office/versions/1", bytearray(CANARY))
