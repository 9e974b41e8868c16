"""No process but the key service holds a secret key, and nobody without privileges reads that one's memory."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.integration.security.history import History
from tests.integration.security.memory import count_hits, count_hits_in_file, loaded_bytes, write_core
from tests.integration.security.secret_forms import PIECES, forms_of, pieces_of, windows_of

from veilface.cli.local_stack.stack import LocalStack
from veilface.crypto.public.packed.profiles import packed_profile

TIMEOUT_S = 60
PLANT = """
import sys
content = sys.stdin.buffer.read(int(sys.argv[1]))
print("planted", flush=True)
sys.stdin.buffer.read()
"""
# What the key service does with a secret key, in a process that may be looked into.
DECRYPT = """
import sys
from veilface.crypto.contract import Scheme
from veilface.crypto.secret.registry import load_decrypter
decrypter = load_decrypter(Scheme.CKKS_PACKED, sys.argv[2], sys.stdin.buffer.read(int(sys.argv[1])))
print("planted", flush=True)
sys.stdin.buffer.read()
"""

Pieces = dict[str, Sequence[bytes]]


@pytest.fixture(scope="module")
def secret_pieces(history: History) -> Pieces:
    return pieces_of(forms_of(history.secret_key, history.profile), packed_profile(history.profile).degree)


@pytest.fixture(scope="module")
def seen_by_embedding_only(history: History) -> Pieces:
    """Images and embeddings, which only the embedding service sees."""
    return {
        "image": [window for image in history.images for window in windows_of(image)],
        "pixels": windows_of(history.pixels, 3 * 64),
        "embedding": [window for each in history.embeddings for window in windows_of(each.tobytes())],
        "embedding as float32": [
            window for each in history.embeddings for window in windows_of(each.astype("f4").tobytes())
        ],
    }


@contextmanager
def holding(script: str, content: bytes, *arguments: str) -> Iterator[int]:
    """The id of a process that holds some content."""
    command = [sys.executable, "-c", script, str(len(content)), *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(content)
        process.stdin.flush()
        assert process.stdout.readline() == b"planted\n"
        yield process.pid
        process.stdin.close()
        process.wait(TIMEOUT_S)


def pid_of(stack: LocalStack, name: str) -> int:
    pid = stack.process(name).pid
    assert pid is not None
    return pid


def test_a_matcher_that_served_people_holds_no_secret_key_no_image_and_no_embedding(
    stack: LocalStack, history: History, secret_pieces: Pieces, seen_by_embedding_only: Pieces
) -> None:
    wanted = {**secret_pieces, **seen_by_embedding_only, "evaluation keys": windows_of(history.evaluation_keys)}
    hits = count_hits(pid_of(stack, "matching"), wanted)
    assert hits.pop("evaluation keys") > 0, "the scan did not even find what every matcher holds"
    assert not any(hits.values()), hits


def test_an_embedding_service_that_served_people_holds_no_secret_key(
    stack: LocalStack, history: History, secret_pieces: Pieces
) -> None:
    hits = count_hits(
        pid_of(stack, "embedding"), {**secret_pieces, "public key": windows_of(history.public_key, count=32)}
    )
    assert hits.pop("public key") > 0, "the scan did not even find what every embedding service holds"
    assert not any(hits.values()), hits


def test_the_same_scan_finds_a_planted_secret_key_in_every_form(history: History, secret_pieces: Pieces) -> None:
    forms = forms_of(history.secret_key, history.profile)
    with holding(PLANT, b"".join(forms.values())) as pid:
        hits = count_hits(pid, secret_pieces)
    assert hits == dict.fromkeys(forms, PIECES)


def test_the_same_scan_finds_a_secret_key_that_is_in_use(history: History, secret_pieces: Pieces) -> None:
    with holding(DECRYPT, history.secret_key, history.profile) as pid:
        hits = count_hits(pid, secret_pieces)
    primes = packed_profile(history.profile).data_primes
    assert [hits[f"NTT mod {prime} as uint32"] for prime in primes] == [PIECES] * len(primes)


def test_a_core_of_a_matcher_that_served_people_holds_no_secret_key_no_image_and_no_embedding(
    stack: LocalStack, history: History, secret_pieces: Pieces, seen_by_embedding_only: Pieces, tmp_path: Path
) -> None:
    wanted = {**secret_pieces, **seen_by_embedding_only, "evaluation keys": windows_of(history.evaluation_keys)}
    core = tmp_path / "core"
    write_core(pid_of(stack, "matching"), core)
    hits = count_hits_in_file(core, wanted)
    core.unlink()
    assert hits.pop("evaluation keys") > 0, "the scan did not even find what every matcher holds"
    assert not any(hits.values()), hits


def test_the_same_scan_finds_a_planted_secret_key_in_a_core_in_every_form(
    history: History, secret_pieces: Pieces, tmp_path: Path
) -> None:
    forms = forms_of(history.secret_key, history.profile)
    with holding(PLANT, b"".join(forms.values())) as pid:
        write_core(pid, tmp_path / "core")
    assert count_hits_in_file(tmp_path / "core", secret_pieces) == dict.fromkeys(forms, PIECES)
    assert 0 < loaded_bytes(tmp_path / "core") < (tmp_path / "core").stat().st_size


def test_the_same_scan_finds_planted_images_and_embeddings(history: History, seen_by_embedding_only: Pieces) -> None:
    vectors = [*history.embeddings, *(each.astype("f4") for each in history.embeddings)]
    content = b"".join([*history.images, history.pixels, *(each.tobytes() for each in vectors)])
    with holding(PLANT, content) as pid:
        hits = count_hits(pid, seen_by_embedding_only)
    assert all(hits.values()), hits


def test_without_privileges_nobody_reads_the_memory_of_the_key_service(
    stack: LocalStack, history: History, unprivileged: ThreadPoolExecutor
) -> None:
    wanted = {"evaluation keys": windows_of(history.evaluation_keys)}
    refused = unprivileged.submit(count_hits, pid_of(stack, "keys"), wanted)
    with pytest.raises(PermissionError):
        refused.result(TIMEOUT_S)
    # The same thread may read a process of the same user that is not protected.
    allowed = unprivileged.submit(count_hits, pid_of(stack, "matching"), wanted)
    assert allowed.result(TIMEOUT_S)["evaluation keys"] > 0


def test_the_key_service_leaves_no_core(stack: LocalStack) -> None:
    limits = Path(f"/proc/{pid_of(stack, 'keys')}/limits").read_text()
    (core,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
    assert core.split()[4:6] == ["0", "0"]
