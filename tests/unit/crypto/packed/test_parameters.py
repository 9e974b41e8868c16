"""Every profile reaches its level of security: by the standard's table, by SEAL's check, and as documented."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tenseal.sealapi as sealapi

import veilface.crypto
from veilface.common.errors import InvalidArgumentError, Reason
from veilface.crypto.public.packed import profiles
from veilface.crypto.public.packed.profiles import CKKS_PACKED_128, MAX_MODULUS_BITS, PROFILES, PackedProfile
from veilface.crypto.public.packed.seal import seal_context

PAGE = Path(veilface.crypto.__file__).with_name("SCHEMES.md")
ROW = re.compile(r"^\| `(ckks-packed-\w+)`[^|]*\| (\d+) \| (\d+) \| (\d+) \| (\d+) \|", re.MULTILINE)


def test_data_primes_that_do_not_fit_their_bits_are_refused() -> None:
    primes = CKKS_PACKED_128.data_primes
    assert replace(CKKS_PACKED_128, name="copy", data_primes=primes).modulus_bits == 109
    # One of 25 bits: the modulus is smaller then, and so not refused for its size.
    with pytest.raises(InvalidArgumentError, match="26 bits") as caught:
        replace(CKKS_PACKED_128, name="copy", data_primes=(33538049, *primes[1:]))
    assert caught.value.reason is Reason.UNSUPPORTED_BY_SCHEME


@pytest.mark.parametrize("changes", [{"security_bits": 192}, {"security_bits": 100}, {"degree": 2048}])
def test_parameters_below_their_security_level_are_refused(changes: dict[str, Any]) -> None:
    assert replace(CKKS_PACKED_128, name="copy").security_bits == 128
    with pytest.raises(InvalidArgumentError) as caught:
        replace(CKKS_PACKED_128, **changes)
    assert caught.value.reason is Reason.INSECURE_PARAMETERS


@pytest.mark.parametrize("name", PROFILES)
def test_seal_accepts_every_profile_at_its_security_level(name: str) -> None:
    context = seal_context(PROFILES[name])
    assert context.context.parameters_set()


@pytest.mark.parametrize(("name", "security_bits"), [("ckks-packed-128", 192), ("ckks-packed-exact", 256)])
def test_seal_refuses_a_profile_at_a_level_that_it_does_not_reach(
    name: str, security_bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guard of the profiles is taken away, so that it is SEAL that refuses."""
    monkeypatch.setattr(PackedProfile, "__post_init__", lambda self: None)
    overstated = replace(PROFILES[name], security_bits=security_bits)
    with pytest.raises(InvalidArgumentError, match="SEAL refuses") as caught:
        seal_context(overstated)
    assert caught.value.reason is Reason.INSECURE_PARAMETERS


def test_the_limits_of_the_standard_are_those_that_seal_has() -> None:
    levels = {128: "TC128", 192: "TC192", 256: "TC256"}
    for degree, limits in MAX_MODULUS_BITS.items():
        for bits, limit in limits.items():
            assert sealapi.CoeffModulus.MaxBitCount(degree, getattr(sealapi.SEC_LEVEL_TYPE, levels[bits])) == limit


def test_the_documented_table_is_that_of_the_profiles() -> None:
    documented = {name: tuple(map(int, numbers)) for name, *numbers in ROW.findall(PAGE.read_text())}
    assert documented == {
        name: (
            profile.degree,
            profile.modulus_bits,
            MAX_MODULUS_BITS[profile.degree][profile.security_bits],
            profile.security_bits,
        )
        for name, profile in PROFILES.items()
    }


def test_the_documented_errors_are_those_of_the_profiles() -> None:
    page = PAGE.read_text()
    for name, profile in profiles.PROFILES.items():
        bounds = f"{profile.cosine_error:.0e} | {profile.squared_euclidean_error:.0e}".replace("e-0", "e-")
        assert re.search(rf"^\| `{name}`.*\| {re.escape(bounds)} \|", page, re.MULTILINE), name
