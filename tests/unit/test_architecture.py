"""The import contracts hold, and lint-imports would notice if one did not."""

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
CONTRACTS = REPOSITORY / ".importlinter"
TIMEOUT_S = 120

BROKEN_ON_PURPOSE = """
[importlinter:contract:broken-on-purpose]
name = Nobody imports the secret half
type = forbidden
source_modules =
    veilface.keys
forbidden_modules =
    veilface.crypto.secret
"""


def lint(contracts: Path) -> "subprocess.CompletedProcess[str]":
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [str(program), "--config", str(contracts), "--no-cache"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def test_every_import_contract_is_kept() -> None:
    finished = lint(CONTRACTS)
    assert finished.returncode == 0, finished.stdout


def test_a_broken_contract_is_noticed(tmp_path: Path) -> None:
    contracts = tmp_path / "contracts"
    contracts.write_text(CONTRACTS.read_text() + BROKEN_ON_PURPOSE)
    finished = lint(contracts)
    assert finished.returncode == 1
    assert "Nobody imports the secret half BROKEN" in finished.stdout
