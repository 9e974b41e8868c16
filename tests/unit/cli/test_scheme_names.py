import pytest

from tests.unit.cli.conftest import Run
from veilface.cli.scheme_names import SCHEME_NAMES
from veilface.crypto.contract import Scheme


def test_the_names_of_the_command_line_are_those_of_the_contract() -> None:
    assert tuple(scheme.value for scheme in Scheme) == SCHEME_NAMES


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("exponential-elgamal", "discrete logarithm"),
        ("EllipticCurve-ElGamal", "elliptic curve"),
        ("benaloh", "too small"),
        ("Naccache-Stern", "too slow"),
    ],
)
def test_a_scheme_that_the_paper_excluded_says_why(veilface: Run, name: str, why: str) -> None:
    finished = veilface("keys", "create", "k", "--scheme", name, COLUMNS="500")
    assert finished.exit_code == 2
    assert why in finished.stderr
    assert "2503.05850" in finished.stderr


def test_an_unknown_scheme_is_answered_with_the_known_ones(veilface: Run) -> None:
    finished = veilface("keys", "create", "k", "--scheme", "rot13", COLUMNS="500")
    assert finished.exit_code == 2
    assert all(name in finished.stderr for name in SCHEME_NAMES)


def test_the_help_says_who_sees_a_probe_in_the_clear(veilface: Run) -> None:
    finished = veilface("keys", "create", "--help", COLUMNS="500")
    assert "matching service sees each probe's embedding in the clear" in finished.stdout
