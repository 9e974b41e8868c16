"""A matching process has no code that makes, loads or uses a secret key, nor the library that could."""

import subprocess
import sys

import pytest

TIMEOUT_S = 60
FORBIDDEN = ("veilface.crypto.secret", "tenseal", "lightphe", "deepface", "veilface.keys.domain", "veilface.embedding")
PROGRAM = """
import importlib, sys
importlib.import_module(sys.argv[1])
from veilface.crypto.public.registry import load_comparer, warm
warm()
print("\\n".join(sys.modules))
"""


def imported_by(module: str) -> set[str]:
    """What is imported once a service has warmed up, of the forbidden modules and all below them."""
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM, module], capture_output=True, text=True, timeout=TIMEOUT_S, check=True
    )
    modules = finished.stdout.split()
    return {name for name in FORBIDDEN if any(f"{module}.".startswith(f"{name}.") for module in modules)}


def test_the_matching_service_imports_no_secret_half_and_no_library_that_makes_keys() -> None:
    assert imported_by("veilface.matching.__main__") == set()


@pytest.mark.parametrize(
    ("module", "expected"),
    [("veilface.keys.__main__", "veilface.crypto.secret"), ("veilface.embedding.__main__", "veilface.embedding")],
)
def test_the_same_look_finds_what_other_services_import(module: str, expected: str) -> None:
    assert expected in imported_by(module)
