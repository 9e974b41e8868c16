"""Canaries in everything that the stack is shown turn up exactly where the design lets them, and nowhere else."""

import json
import urllib.request
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from redis import Redis
from tests.integration.security.canaries import AnyCanary, canaries_of
from tests.integration.security.history import History
from tests.integration.security.secret_forms import forms_of

from veilface.cli.local_stack.stack import LocalStack

TIMEOUT_S = 60
SERVICES = ("keys", "embedding", "matching")

# Names are not secret: they are stored in the clear where they belong, and errors say which name was wrong. That they
# are found there shows that the search works on each of these places.
EXPECTED = {
    "key id": {"key database", "audit log", "matching database", "errors"},
    "subject id": {"matching database", "errors"},
    "unknown subject id": {"errors"},
    "label": {"matching database"},
}
CANARIES = (
    *EXPECTED,
    "text in an image",
    "image",
    "pixels",
    "forged ciphertext",
    "embedding in decimals",
    "embedding in bytes",
    "score in decimals",
    "score in bytes",
    "secret key",
    "secret key in text",
    "transform seed",
    "master key",
)


@pytest.fixture(scope="module")
def canaries(history: History, stack: LocalStack) -> dict[str, AnyCanary]:
    return canaries_of(history, stack.layout)


@pytest.fixture(scope="module")
def places(history: History, stack: LocalStack) -> dict[str, bytes]:
    """All that was written, shown or answered, by where."""
    layout = stack.layout
    return {
        "logs": contents(layout.logs.iterdir()),
        "errors": b"\n".join(history.errors),
        "metrics": b"\n".join(metrics_of(stack, name) for name in SERVICES),
        "Redis": everything_in_redis(stack),
        "key database": contents(layout.keys.glob("keys.db*")),
        "audit log": contents(layout.keys.glob("audit.log*")),
        "matching database": contents(layout.matching.glob("matching.db*")),
        "segments and blobs": contents(layout.matching.glob("*/**/*")),
    }


def contents(paths: Iterable[Path]) -> bytes:
    return b"\n".join(path.read_bytes() for path in sorted(paths) if path.is_file())


def metrics_of(stack: LocalStack, name: str) -> bytes:
    events = [json.loads(line) for line in stack.layout.log(name).read_text().splitlines() if line.startswith("{")]
    (port,) = [event["metrics_port"] for event in events if event.get("event") == "listening"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=TIMEOUT_S) as response:
        content: bytes = response.read()
    return content


def everything_in_redis(stack: LocalStack) -> bytes:
    with Redis(unix_socket_path=str(stack.redis_socket)) as redis:
        found = []
        for key in redis.scan_iter(count=1000):
            kind = redis.type(key)
            found += [key, *(redis.smembers(key) if kind == b"set" else [redis.get(key) or b""])]
    return b"\n".join(found)


@pytest.mark.parametrize("name", CANARIES)
def test_a_canary_is_found_exactly_where_it_belongs(
    canaries: dict[str, AnyCanary], places: dict[str, bytes], name: str
) -> None:
    found = {place for place, content in places.items() if canaries[name].is_in(content)}
    assert found == EXPECTED.get(name, set())


def test_every_canary_is_looked_for(canaries: dict[str, AnyCanary]) -> None:
    assert set(canaries) == set(CANARIES)


def test_every_place_was_really_looked_at(places: dict[str, bytes], history: History) -> None:
    assert b'"method": "/veilface.keys.v1.KeyService/DecideVerification"' in places["logs"]
    assert (
        b'veilface_calls_total{code="OK",method="/veilface.matching.v1.MatchingService/SearchGallery"}'
        in (places["metrics"])
    )
    assert len(places["Redis"]) > 4_000_000
    assert len(places["segments and blobs"]) > 4_000_000
    assert b"TICKET_REPLAYED" in places["errors"]
    assert len(history.errors) > 12


@pytest.mark.parametrize("name", CANARIES)
def test_the_same_search_finds_a_canary_that_was_let_out(
    canaries: dict[str, AnyCanary], history: History, stack: LocalStack, name: str
) -> None:
    assert canaries[name].is_in(b'{"event": "call", "content": ' + let_out(name, history, stack) + b"}\n")


def let_out(name: str, history: History, stack: LocalStack) -> bytes:
    """A line that a careless programmer could have written."""
    from tests.integration.security import history as planted

    vector = history.embeddings[2]
    return {
        "key id": planted.KEY.encode(),
        "subject id": planted.SUBJECT.encode(),
        "unknown subject id": planted.UNKNOWN_SUBJECT.encode(),
        "label": planted.LABEL_VALUE.encode(),
        "text in an image": planted.IMAGE_TEXT.encode(),
        "image": history.images[0],
        "pixels": history.pixels,
        "forged ciphertext": planted.SMUGGLED,
        "embedding in decimals": f"{vector[:5]}".encode(),
        "embedding in bytes": vector.astype("f4").tobytes(),
        "score in decimals": f"score {history.scores[0]} is above".encode(),
        "score in bytes": np.array(history.scores).tobytes(),
        "secret key": forms_of(history.secret_key, history.profile)["int8"],
        "secret key in text": history.secret_key.hex().encode(),
        "transform seed": history.transform_seed.hex().encode(),
        "master key": stack.layout.master_key.read_bytes(),
    }[name]
