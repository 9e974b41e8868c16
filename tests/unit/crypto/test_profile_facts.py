import pytest

from veilface.common.errors import InvalidArgumentError, Reason
from veilface.crypto.contract import Scheme
from veilface.crypto.public.profile_facts import profile_facts
from veilface.crypto.public.registry import profiles


@pytest.mark.parametrize("scheme", Scheme)
def test_every_profile_has_a_level_and_a_source(scheme: Scheme) -> None:
    for profile in profiles(scheme):
        facts = profile_facts(scheme, profile)
        assert facts.security_bits >= 80
        assert facts.source


@pytest.mark.parametrize(
    ("profile", "reached"),
    [
        ("ckks-tenseal-192-defensive", 128),
        ("ckks-tenseal-256-defensive", 192),
        ("ckks-tenseal-192-offensive", 192),
    ],
)
def test_a_profile_of_cipherface_tells_the_level_that_it_reaches(profile: str, reached: int) -> None:
    facts = profile_facts(Scheme.CKKS_TENSEAL, profile)
    assert facts.security_bits == reached
    assert bool(facts.note) == (str(reached) not in profile)


def test_an_unknown_profile_has_no_facts() -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        profile_facts(Scheme.CKKS_PACKED, "ckks-packed-64")
    assert refused.value.reason is Reason.UNKNOWN_PROFILE
