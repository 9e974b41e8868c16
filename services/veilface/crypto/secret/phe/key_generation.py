"""Key generation. Primes are drawn from the operating system's randomness and tested by GMP (Baillie-PSW and more)."""

import json
import secrets
from typing import Final

import gmpy2
from gmpy2 import mpz

from veilface.crypto.contract import Scheme
from veilface.crypto.public.phe.profiles import PheProfile
from veilface.crypto.public.phe.public_key import PhePublicKey, public_key_fields
from veilface.crypto.secret.generated import GeneratedKey

_PRIMALITY_ROUNDS: Final = 40


def generate_from_profile(profile: PheProfile) -> GeneratedKey:
    """A new key of any profile, strong or not. Both keys are JSON that `LightPHE(keys=...)` accepts."""
    p = _prime(profile.prime_bits)
    q = _prime(profile.prime_bits)
    while not _suit(p, q):
        q = _prime(profile.prime_bits)
    if profile.scheme is Scheme.OKAMOTO_UCHIYAMA:
        key = _okamoto_uchiyama(p, q, profile)
        private = {"p": int(p), "q": int(q)}
    else:
        key = _paillier(p, q, profile)
        private = {"phi": int((p - 1) * (q - 1)), "p": int(p), "q": int(q)}
    public = public_key_fields(key)
    return GeneratedKey(
        secret_key=bytearray(json.dumps({"public_key": public, "private_key": private}).encode()),
        public_key=json.dumps({"public_key": public}).encode(),
        evaluation_keys=b"",
    )


def _prime(bits: int) -> mpz:
    """A random prime congruent to 3 mod 4 of exactly this length, in its upper half: products have full length too."""
    while True:
        candidate = mpz(secrets.randbits(bits)) | 3 << (bits - 2) | 3
        if gmpy2.is_prime(candidate, _PRIMALITY_ROUNDS):
            return candidate


def _suit(p: mpz, q: mpz) -> bool:
    """Whether p and q make a key: gcd(p - 1, q - 1) = 2 (DJN), n prime to phi, and not close to each other."""
    distant = abs(p - q).bit_length() > p.bit_length() // 2
    return bool(distant and gmpy2.gcd(p - 1, q - 1) == 2 and (p - 1) % q != 0 and (q - 1) % p != 0)


def _paillier(p: mpz, q: mpz, profile: PheProfile) -> PhePublicKey:
    n = p * q
    modulus = n ** (profile.exponent + 1)
    # DJN: minus a random square generates, with p and q both 3 mod 4, the units of Jacobi symbol 1.
    square = gmpy2.powmod(_unit(n), 2, n)
    randomizer = gmpy2.powmod(n - square, n**profile.exponent, modulus)
    return PhePublicKey(profile, n, modulus, n + 1, randomizer)


def _okamoto_uchiyama(p: mpz, q: mpz, profile: PheProfile) -> PhePublicKey:
    n = p * p * q
    generator = _unit(n)
    while gmpy2.powmod(generator, p - 1, p * p) == 1:
        generator = _unit(n)
    return PhePublicKey(profile, n, n, generator, gmpy2.powmod(generator, n, n))


def _unit(n: mpz) -> mpz:
    while True:
        candidate = mpz(secrets.randbelow(int(n) - 2)) + 2
        if gmpy2.gcd(candidate, n) == 1:
            return candidate
