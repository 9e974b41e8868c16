"""The demo on portraits: it starts a stack of its own, asks, reports and leaves nothing behind."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.portraits import portrait_files

TIMEOUT_S = 400
WHOLE_FACES = {"obama.jpg", "obama2.jpg", "obama3.jpg", "biden.jpg", "astronaut.png"}


def test_the_demo_decides_right_and_shows_what_each_service_saw(tmp_path: Path) -> None:
    photographs = tmp_path / "photographs"
    for portrait, path in portrait_files().items():
        if portrait.filename in WHOLE_FACES:
            (photographs / portrait.person).mkdir(parents=True, exist_ok=True)
            (photographs / portrait.person / portrait.filename).write_bytes(path.read_bytes())
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    finished = subprocess.run(
        [sys.executable, "-m", "veilface.cli.app", "demo", "--json", "--photos", str(photographs)],
        env=os.environ | {"TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    document = json.loads(finished.stdout)
    assert document["all_right"]
    assert (document["photograph_count"], document["person_count"], document["pair_count"]) == (5, 3, 10)
    assert (document["accuracy"], document["fmr"], document["fnmr"]) == (1.0, 0.0, 0.0)
    assert (document["rank_1_rate"], document["fpir"]) == (1.0, 0.0)
    assert {pair["mated"] for pair in document["pairs"]} == {True, False}
    shown = {(each["service"], each["kind"]) for each in document["services_saw"] if each["role"] == "shown"}
    assert shown == {("embedding", "image"), ("matching", "encrypted template"), ("keys", "encrypted scores")}
    assert all(call["median_milliseconds"] > 0 for call in document["calls"])
    assert list(temporary.iterdir()) == []
