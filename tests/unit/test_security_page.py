"""The security page names tests and files that exist."""

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / ".github" / "SECURITY.md"
NAMED = re.compile(r"`(test_[a-z0-9_]+)`")
DEFINED = re.compile(r"^(?:async )?def (test_[a-z0-9_]+)\(", re.MULTILINE)


def defined_tests() -> set[str]:
    return {name for path in (REPOSITORY / "tests").rglob("test_*.py") for name in DEFINED.findall(path.read_text())}


def test_every_test_that_shows_a_claim_exists() -> None:
    named = set(NAMED.findall(PAGE.read_text())) - {"test_this"}
    assert len(named) > 40
    assert named - defined_tests() == set()


def test_a_made_up_test_would_be_missed() -> None:
    assert "test_this" not in defined_tests()
