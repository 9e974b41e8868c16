"""The benchmarks, run small through the command, and how what they measured is shown."""

import json
import math
import os
import re
import shutil
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from tests.unit.cli.conftest import Run
from veilface.cli.bench.blas import share_threads
from veilface.cli.bench.machine import read_gb_s
from veilface.cli.bench.measurement import Measurement, Peer, Sheet, comparison
from veilface.cli.bench.report import report
from veilface.cli.bench.stack_gallery import default_budget_bytes
from veilface.crypto.public.packed.parallel import worker_count

KEYS = ["name", "value", "unit", "peer", "peer_value", "ratio", "n", "dim", "threads", "profile", "note"]
ERROR = "largest error against float64"
CLOSING = {"peak resident memory, this process", "wall time of this run"}
SMALL = {
    "search": ("--n", "4100", "--dim", "16"),
    "expand": ("--dim", "16"),
    "verify": ("--dim", "16"),
    "encrypt": ("--dim", "16"),
    "decide": ("--n", "9000", "--dim", "16"),
}
PEERS = {
    "search": {
        "search, per template": "numpy float32 X @ v",
        "  multiply-add, memory limit": "pure read of the same bytes",
        "  multiply-add, compute limit": "the same from the cache",
        "  multiply-add reads": "pure read of the same bytes",
        "numpy reads": "pure read of the same bytes",
        "one comparison inside the search": "CipherFace",
        "gallery bytes per template": "CipherFace",
        "response per score": "CipherFace",
    },
    "expand": {"expand one probe": "loop of SEAL apply_galois"},
    "verify": {"compare 1:1": "CipherFace", "decrypt one score": "CipherFace", "template": "CipherFace"},
    "encrypt": {
        "encrypt one template": "CipherFace",
        "bulk, per template": "CipherFace",
        "bulk, per ciphertext of a segment": "SEAL encrypt_zero and save",
    },
    "decide": {
        "decide: decrypt and rank": "CipherFace, decryption x 12,288, extrapolated",
        "  rank the best 10 above a threshold": "numpy, full argsort",
    },
}


@pytest.fixture(autouse=True)
def restored_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the command says to numpy's BLAS is not said to later tests."""
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
        monkeypatch.setenv(name, os.environ.get(name, str(worker_count())))


def lines(finished_stdout: str) -> dict[str, dict[str, Any]]:
    documents = [json.loads(line) for line in finished_stdout.splitlines()]
    by_name = {document["name"]: document for document in documents}
    assert len(by_name) == len(documents)
    return by_name


def check_rows(rows: dict[str, dict[str, Any]], profile: str) -> None:
    assert rows.keys() >= CLOSING | {ERROR}
    for row in rows.values():
        assert list(row) == KEYS
        assert math.isfinite(row["value"])
        assert row["profile"] == profile
        assert row["threads"] in (1, worker_count())
        assert bool(row["peer"]) == (row["peer_value"] is not None)
        if row["ratio"] is not None:
            assert row["ratio"] == pytest.approx(row["value"] / row["peer_value"])
    assert 0 < rows[ERROR]["value"] < 1e-3
    assert rows["peak resident memory, this process"]["value"] > 0


@pytest.mark.parametrize("command", SMALL)
def test_a_benchmark_gives_every_number_with_its_peer_and_its_error(veilface: Run, command: str) -> None:
    finished = veilface("bench", command, *SMALL[command], "--json")
    assert finished.exit_code == 0
    rows = lines(finished.stdout)
    check_rows(rows, "ckks-packed-128")
    for name, peer in PEERS[command].items():
        assert rows[name]["peer"].startswith(peer), name
        assert rows[name]["peer_value"] > 0
        assert rows[name]["ratio"] > 0
        assert rows[name]["dim"] == 16


@pytest.mark.parametrize("command", SMALL)
def test_the_table_of_a_benchmark_fits_100_columns(veilface: Run, command: str) -> None:
    finished = veilface("bench", command, *SMALL[command], COLUMNS="100")
    assert finished.exit_code == 0
    assert max(map(len, finished.stdout.splitlines())) <= 100
    assert "…" not in finished.stdout
    assert ERROR in finished.stdout


def test_one_template_of_one_dimension_is_enough(veilface: Run) -> None:
    rows = lines(veilface("bench", "search", "--n", "1", "--dim", "1", "--json").stdout)
    check_rows(rows, "ckks-packed-128")


def test_another_profile_is_measured_under_its_name(veilface: Run) -> None:
    rows = lines(veilface("bench", "verify", "--dim", "16", "--profile", "ckks-packed-192", "--json").stdout)
    check_rows(rows, "ckks-packed-192")


def test_a_gallery_beyond_the_memory_budget_is_searched_from_disk(veilface: Run) -> None:
    budget_gib = 0.0625
    finished = veilface("bench", "import", "--n", "9000", "--dim", "512", "--memory-budget", str(budget_gib), "--json")
    assert finished.exit_code == 0
    rows = lines(finished.stdout)
    check_rows(rows, "ckks-packed-128")
    from_memory, from_disk = rows["  segments from memory"], rows["  segments from disk"]
    assert from_memory["unit"] == from_disk["unit"] == "of 3"
    assert from_disk["value"] > 0
    assert from_memory["value"] + from_disk["value"] == 3
    assert rows["memory budget, matching service"]["value"] == budget_gib
    assert rows["peak resident memory, matching service"]["value"] > budget_gib
    assert rows["import, encrypted and stored"]["peer"] == "CipherFace, encryption x 9,000, 1 thread, extrapolated"
    assert rows["whole search, warm"]["peer"] == "numpy float32 argmax(X @ v)"


def test_throughput_is_measured_beside_one_caller_at_a_time(veilface: Run) -> None:
    finished = veilface(
        *("bench", "throughput", "--n", "5000", "--dim", "16", "--callers", "3", "--searches", "2", "--json")
    )
    assert finished.exit_code == 0
    rows = lines(finished.stdout)
    check_rows(rows, "ckks-packed-128")
    assert rows["searches per second, 3 callers"]["note"].startswith("6 searches")
    names = ("searches per second", "latency, median", "latency, 95th percentile")
    assert {rows[f"{name}, 3 callers"]["peer"] for name in names} == {"one at a time"}
    assert rows["latency, median, 3 callers"]["value"] <= rows["latency, 95th percentile, 3 callers"]["value"]


def test_a_gallery_that_memory_cannot_hold_is_refused_with_what_to_do(veilface: Run) -> None:
    finished = veilface("bench", "search", "--n", "10000000000", "--dim", "512")
    assert finished.exit_code == 3
    assert "choose a smaller --n" in finished.stderr


def test_a_gallery_that_the_disk_cannot_hold_is_refused_with_what_to_do(
    veilface: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1_000_000))
    finished = veilface("bench", "import", "--n", "1000000", "--dim", "128")
    assert finished.exit_code == 5
    assert re.search(r"needs 1\.8 GB on disk and .* has 0\.0 GB", finished.stderr)
    assert "TMPDIR" in finished.stderr


def test_numpys_blas_is_told_its_threads_before_numpy_is_imported() -> None:
    program = (
        "import os, sys; from veilface.cli.bench.commands import prepare; prepare(); "
        "print('numpy' in sys.modules, os.environ['OPENBLAS_NUM_THREADS'])"
    )
    finished = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"VEILFACE_CRYPTO_THREADS": "3", "OPENBLAS_NUM_THREADS": "7"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert finished.stdout.split() == ["False", "3"]


def test_sharing_threads_follows_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEILFACE_CRYPTO_THREADS", "5")
    share_threads()
    assert os.environ["OPENBLAS_NUM_THREADS"] == "5"


@pytest.mark.parametrize(("unit", "per_thread"), [("ms", "per thread 1 / 2.5"), ("per s", "per thread 10.0 x")])
def test_a_peer_on_other_threads_is_named_so_and_compared_per_thread(unit: str, per_thread: str) -> None:
    value, peer_value = (10.0, 50.0) if unit == "ms" else (200.0, 10.0)
    row = Measurement("x", value, unit, threads=2).beside(Peer("peer", peer_value, 1))
    assert row.peer == "peer, 1 thread"
    assert row.note == per_thread


def test_a_peer_on_the_same_threads_needs_no_more_words() -> None:
    row = Measurement("x", 10.0, "ms", threads=2, note="as it is").beside(Peer("peer", 50.0, 2))
    assert (row.peer, row.note, row.ratio) == ("peer", "as it is", 0.2)


def test_a_peer_of_zero_has_no_ratio() -> None:
    assert Measurement("x", 1.0, "cosine").beside(Peer("peer", 0.0)).ratio is None


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(3.276, "3.28 x"), (12.34, "12.3 x"), (0.5, "0.50 x"), (0.2, "1 / 5.0"), (1 / 29_700, "1 / 29,700"), (0.0, "0 x")],
)
def test_ratios_are_rounded_for_people(ratio: float, text: str) -> None:
    assert comparison(ratio) == text


def test_people_read_values_in_the_unit_that_suits_them(capsys: pytest.CaptureFixture[str]) -> None:
    def measure() -> Sheet:
        sheet = Sheet("ckks-packed-128", 10, 16)
        sheet.add("long", 72_500.0, "ms")
        sheet.add("short", 0.25, "us")
        sheet.add("large", 4_718_624, "bytes")
        sheet.add("wrong by", 2.94e-4, "cosine", Peer("peer", 1e-6))
        return sheet

    report("A table", measure, as_json=False)
    printed = re.sub(r" +", " ", capsys.readouterr().out)
    for expected in ("long 72.5 s", "short 250 ns", "large 4.72 MB", "wrong by 2.9e-04 1.0e-06 294 x peer"):
        assert expected in printed


def test_the_default_budget_holds_the_gallery_but_never_takes_more_than_there_is() -> None:
    gallery, plenty, little = 8_000_000_000, 64_000_000_000, 4_000_000_000
    # A quarter of a budget is for segments that do not stay.
    assert gallery <= default_budget_bytes(gallery, plenty) * 3 / 4 < plenty
    assert default_budget_bytes(gallery, little) < little


@pytest.mark.parametrize("rows", [1, 3, 256])
def test_a_pure_read_takes_arrays_of_any_size(rows: int) -> None:
    arrays = [np.ones((1000, 5), dtype=np.float32) for _ in range(2)]
    arrays[1].flags.writeable = False
    assert read_gb_s(arrays[:1], rows) > 0
    assert read_gb_s(arrays[1:], rows) > 0
    assert read_gb_s([np.ones(1, dtype=np.float32)], rows) == 0
