"""A matching process has no code that makes, loads or uses a secret key, nor the library that could."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.integration.security.history import History

from veilface.cli.local_stack.stack import LocalStack

TIMEOUT_S = 120
FORBIDDEN = ("veilface.crypto.secret", "tenseal", "lightphe", "deepface", "veilface.keys.domain", "veilface.embedding")
# The second module is what a comparer of the default scheme is made of; services import it when they first need it.
PROGRAM = """
import importlib, sys
importlib.import_module(sys.argv[1])
importlib.import_module("veilface.crypto.public.packed.compare")
print("\\n".join(sys.modules))
"""


def imported_by(module: str) -> set[str]:
    """Those of the forbidden modules that a service imports, or imports something of."""
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM, module], capture_output=True, text=True, timeout=TIMEOUT_S, check=True
    )
    modules = finished.stdout.split()
    return {name for name in FORBIDDEN if any(f"{module}.".startswith(f"{name}.") for module in modules)}


def libraries_of(stack: LocalStack, name: str) -> str:
    """The shared libraries that a running process has mapped."""
    return Path(f"/proc/{stack.process(name).pid}/maps").read_text()


def test_the_matching_service_imports_no_secret_half_and_no_library_that_makes_keys() -> None:
    assert imported_by("veilface.matching.__main__") == set()


@pytest.mark.parametrize(
    ("module", "expected"),
    [("veilface.keys.__main__", "veilface.crypto.secret"), ("veilface.embedding.__main__", "veilface.embedding")],
)
def test_the_same_look_finds_what_other_services_import(module: str, expected: str) -> None:
    assert expected in imported_by(module)


def test_a_matcher_that_served_people_has_not_loaded_the_library_that_makes_keys(
    stack: LocalStack, history: History
) -> None:
    assert history.scores
    assert "tenseal" not in libraries_of(stack, "matching")
    # The embedding service encrypts with it.
    assert "tenseal" in libraries_of(stack, "embedding")
