import pytest

from veilface.common.errors import InvalidArgumentError, Reason
from veilface.crypto.contract import PublicMaterial, Scheme
from veilface.crypto.public.phe.excluded import EXCLUDED_SCHEMES, refuse_excluded
from veilface.crypto.public.phe.factory import load_comparer, load_encryptor
from veilface.crypto.public.phe.profiles import DEFAULT_PROFILES, PROFILES, phe_profile
from veilface.crypto.secret.phe.factory import generate_key, load_decrypter

RESEARCH_PROFILES = ["paillier-80", "damgard-jurik-80", "okamoto-uchiyama-80"]


def test_every_scheme_has_80_112_and_128_bits_and_112_is_the_default():
    for scheme, profiles in PROFILES.items():
        assert [profile.security_bits for profile in profiles.values()] == [80, 112, 128]
        assert profiles[DEFAULT_PROFILES[scheme]].security_bits == 112
        assert all(profile.source for profile in profiles.values())


@pytest.mark.parametrize("name", RESEARCH_PROFILES)
def test_80_bits_are_refused_unless_research_is_allowed(name: str):
    with pytest.raises(InvalidArgumentError, match="VEILFACE_RESEARCH=true") as refused:
        generate_key(name)
    assert refused.value.reason is Reason.INSECURE_PARAMETERS

    generated = generate_key(name, research=True)

    material = PublicMaterial(phe_profile(name, research=True).scheme, name, "v", generated.public_key, b"")
    for load in (load_encryptor, load_comparer):
        with pytest.raises(InvalidArgumentError):
            load(material)
        assert load(material, research=True)
    with pytest.raises(InvalidArgumentError):
        load_decrypter(name, generated.secret_key)
    assert load_decrypter(name, generated.secret_key, research=True)


def test_an_unknown_profile_is_named_in_the_error():
    with pytest.raises(InvalidArgumentError, match="paillier-7") as refused:
        phe_profile("paillier-7")
    assert refused.value.reason is Reason.UNKNOWN_PROFILE


def test_a_profile_of_another_scheme_is_refused():
    material = PublicMaterial(Scheme.OKAMOTO_UCHIYAMA, "paillier-112", "v", b"", b"")
    with pytest.raises(InvalidArgumentError) as refused:
        load_comparer(material)
    assert refused.value.reason is Reason.WRONG_PARAMETERS


def test_evaluation_keys_are_refused():
    with pytest.raises(InvalidArgumentError) as refused:
        load_comparer(PublicMaterial(Scheme.PAILLIER, "paillier-112", "v", b"", b"x"))
    assert refused.value.reason is Reason.MALFORMED_KEY


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("Exponential-ElGamal", "discrete logarithm"),
        ("EllipticCurve-ElGamal", "elliptic curve"),
        ("Benaloh", "too small"),
        ("Naccache-Stern", "too slow"),
    ],
)
def test_schemes_that_the_paper_excluded_say_why(name: str, why: str):
    with pytest.raises(InvalidArgumentError, match=why) as refused:
        refuse_excluded(name)
    assert refused.value.reason is Reason.UNSUPPORTED_BY_SCHEME
    assert "2503.05850" in refused.value.message


def test_a_name_that_is_no_scheme_is_unknown():
    assert "rot13" not in EXCLUDED_SCHEMES
    with pytest.raises(InvalidArgumentError) as refused:
        refuse_excluded("rot13")
    assert refused.value.reason is Reason.UNKNOWN_PROFILE
