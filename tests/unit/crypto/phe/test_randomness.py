"""What random exponents hide from whom, with keys so small that every short exponent can be tried."""

import secrets

import gmpy2
import pytest
from gmpy2 import mpz

from tests.unit.crypto.phe.conftest import Party
from tests.unit.crypto.phe.faces import embeddings
from veilface.crypto.contract import Scheme, TemplateSpace, TemplateUse
from veilface.crypto.public.phe.compare import PheComparer
from veilface.crypto.public.phe.encoding import Encoder
from veilface.crypto.public.phe.fixed_base import FixedBase
from veilface.crypto.public.phe.lanes import LaneModulus
from veilface.crypto.public.phe.profiles import PROFILES, PheProfile, phe_profile
from veilface.crypto.public.phe.public_key import PhePublicKey, parse_public_key
from veilface.crypto.public.phe.randomness import ZeroSource
from veilface.crypto.secret.phe.key_generation import generate_from_profile

TINY_KEY_BITS = 32


def tiny_key(scheme: Scheme) -> PhePublicKey:
    exponent = 2 if scheme is Scheme.DAMGARD_JURIK else 1
    profile = PheProfile("tiny", scheme, 0, TINY_KEY_BITS, exponent, "no security: tests only")
    return parse_public_key(generate_from_profile(profile).public_key, profile)


def zeros(key: PhePublicKey, exponent_bits: int, count: int) -> list[mpz]:
    return ZeroSource(key, LaneModulus(key.modulus), exponent_bits).take(count)


@pytest.mark.parametrize("scheme", [Scheme.PAILLIER, Scheme.DAMGARD_JURIK])
def test_who_can_find_exponents_finds_those_of_encryptions_and_not_of_responses(scheme: Scheme):
    key = tiny_key(scheme)
    within_reach, power = set(), mpz(1)
    for _ in range(1 << key.encryption_exponent_bits):
        within_reach.add(power)
        power = power * key.randomizer % key.modulus

    of_encryption = zeros(key, key.encryption_exponent_bits, 16)
    of_responses = zeros(key, key.response_exponent_bits, 16)

    assert all(zero in within_reach for zero in of_encryption)
    # One in 8000 of all powers is within reach: 5 of 16 are but once in 1e15 runs.
    assert sum(zero in within_reach for zero in of_responses) < 5


@pytest.mark.parametrize("scheme", list(PROFILES))
def test_a_response_takes_128_bits_more_than_its_randomizers_order_has(scheme: Scheme):
    for name in PROFILES[scheme]:
        profile = phe_profile(name, research=True)
        key = PhePublicKey(profile, mpz(15), mpz(15), mpz(2), mpz(2))
        # The order divides lcm(p - 1, q - 1), or for Okamoto-Uchiyama lcm(p - 1, q - 1) of primes as long.
        assert key.response_exponent_bits >= 2 * profile.prime_bits + 128


def test_a_comparison_draws_the_long_exponents(party: Party, monkeypatch: pytest.MonkeyPatch):
    space, face = TemplateSpace(4), embeddings(1, 4, seed=71)[0]
    reference = party.encryptor.encrypt(face, space, TemplateUse.REFERENCE)
    probe = party.encryptor.encrypt(face, space, TemplateUse.PLAINTEXT_PROBE)
    drawn, randbits = [], secrets.randbits

    def recorded(bits: int) -> int:
        drawn.append(bits)
        return randbits(bits)

    monkeypatch.setattr(secrets, "randbits", recorded)
    PheComparer(party.key).compare(reference, probe, space)
    assert set(drawn) == {party.key.response_exponent_bits}


@pytest.mark.parametrize("count", [0, 1, 8, 9])
def test_zeros_decrypt_to_zero_and_differ(party: Party, count: int):
    made = zeros(party.key, party.key.response_exponent_bits, count)
    assert len(set(made)) == count
    assert {party.private_key.decrypt(zero) for zero in made} <= {0}


def test_many_integers_are_encoded_as_one_by_one(party: Party):
    largest = (1 << party.key.profile.plaintext_bits) - 1
    integers = [0, 1, -1, 63, 64, -64, largest, -largest, 12345]
    encoder = Encoder(party.key, LaneModulus(party.key.modulus))
    for chosen in (integers[:2], integers, []):
        assert encoder.encode(chosen) == [party.key.encode(integer) for integer in chosen]
    assert [party.private_key.decrypt(encoded) for encoded in encoder.encode(integers)] == integers


def test_powers_of_a_table_that_grew_are_gmps(party: Party):
    powers = FixedBase(party.key.randomizer, LaneModulus(party.key.modulus)).powers
    for exponents in ([0], [5, 63], [1 << 700, 3], [2**64 - 1]):
        expected = [gmpy2.powmod(party.key.randomizer, exponent, party.key.modulus) for exponent in exponents]
        assert powers(exponents) == expected
