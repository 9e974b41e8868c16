"""The demo: it starts a stack of its own, asks, reports and leaves nothing behind."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TIMEOUT_S = 400


def run_demo(*arguments: str, **environment: str) -> dict[str, Any]:
    finished = subprocess.run(
        [sys.executable, "-m", "veilface.cli.app", "demo", "--json", *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    document = json.loads(finished.stdout)
    assert isinstance(document, dict)
    return document


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


def test_without_photographs_the_demo_fetches_portraits_and_shows_what_each_service_saw(
    temporary: Path, tmp_path: Path
) -> None:
    document = run_demo(TMPDIR=str(temporary), XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert document["all_right"]
    assert (document["photograph_count"], document["person_count"], document["pair_count"]) == (5, 3, 10)
    assert (document["accuracy"], document["fmr"], document["fnmr"]) == (1.0, 0.0, 0.0)
    assert (document["rank_1_rate"], document["fpir"]) == (1.0, 0.0)
    assert {pair["mated"] for pair in document["pairs"]} == {True, False}
    shown = {(each["service"], each["kind"]) for each in document["services_saw"] if each["role"] == "shown"}
    assert shown == {("embedding", "image"), ("matching", "encrypted template"), ("keys", "encrypted scores")}
    assert all(call["median_milliseconds"] > 0 for call in document["calls"])
    kept = tmp_path / "cache" / "veilface" / "portraits"
    assert {path.name for path in kept.iterdir()} == {
        "obama.jpg",
        "obama2.jpg",
        "obama3.jpg",
        "biden.jpg",
        "astronaut.png",
    }
    assert list(temporary.iterdir()) == []
