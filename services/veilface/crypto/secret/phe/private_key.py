"""Private keys: LightPHE's JSON, and decryption modulo the primes.

Decryption works modulo powers of one prime at a time (Paillier 1999, section 7): there the randomness vanishes on
raising to p - 1, and what is left of the message is a p-adic logarithm, whose series has s terms. The results are
joined by the Chinese remainder theorem.
"""

from typing import Final

import gmpy2
from gmpy2 import mpz

from veilface.crypto.contract import Scheme, SecretBytes
from veilface.crypto.public.phe.profiles import PheProfile
from veilface.crypto.public.phe.public_key import PhePublicKey, malformed, parse_key_json, public_key_from_json
from veilface.crypto.secret.guarded import Guarded

_PRIVATE_FIELDS: Final = {
    Scheme.PAILLIER: {"phi", "p", "q"},
    Scheme.DAMGARD_JURIK: {"phi", "p", "q"},
    Scheme.OKAMOTO_UCHIYAMA: {"p", "q"},
}


class _PrimeDecryption(Guarded):
    """Messages modulo p^s from ciphertexts modulo p^(s+1)."""

    def __init__(self, p: mpz, exponent: int, generator: mpz) -> None:
        self._p = p
        self._exponent = exponent
        self._modulus = p ** (exponent + 1)
        self.message_modulus = p**exponent
        self._inverse = gmpy2.invert(self._logarithm(generator), self.message_modulus)

    def decrypt(self, ciphertext: mpz) -> mpz:
        return self._logarithm(ciphertext) * self._inverse % self.message_modulus

    def _logarithm(self, ciphertext: mpz) -> mpz:
        """log(c^(p-1)) / p modulo p^s, by the series of log(1 + z); the power does not leak through timing."""
        power = gmpy2.powmod_sec(ciphertext % self._modulus, self._p - 1, self._modulus)
        z = power - 1
        total, term = mpz(0), mpz(1)
        for degree in range(1, self._exponent + 1):
            term = term * z % self._modulus
            summand = term * gmpy2.invert(mpz(degree), self._modulus)
            total += summand if degree % 2 else -summand
        return total % self._modulus // self._p


class PhePrivateKey(Guarded):
    """A private key. It shows and hands out nothing of itself: no repr, copy or pickle.

    A ciphertext whose message exceeds the secret prime of Okamoto-Uchiyama betrays that prime to whoever learns the
    decryption. Decryptions therefore never leave the key service; only decisions do.
    """

    __slots__ = ("_primes", "public_key")

    def __init__(self, public_key: PhePublicKey, p: mpz, q: mpz) -> None:
        self.public_key = public_key
        exponent, generator = public_key.profile.exponent, public_key.generator
        primes = [p] if public_key.profile.scheme is Scheme.OKAMOTO_UCHIYAMA else [p, q]
        self._primes = [_PrimeDecryption(prime, exponent, generator) for prime in primes]

    def decrypt(self, ciphertext: mpz) -> int:
        """The message of least magnitude, with its sign."""
        first = self._primes[0]
        message, modulus = first.decrypt(ciphertext), first.message_modulus
        for other in self._primes[1:]:
            difference = (other.decrypt(ciphertext) - message) * gmpy2.invert(modulus, other.message_modulus)
            message += modulus * (difference % other.message_modulus)
            modulus *= other.message_modulus
        return int(message - modulus if message > modulus // 2 else message)

    def wipe(self) -> None:
        """Forget the primes; the key is useless afterwards. Python frees the memory but cannot overwrite it."""
        self._primes = []

    def __repr__(self) -> str:
        return f"<PhePrivateKey {self.public_key.profile.name}>"


def parse_private_key(data: SecretBytes, profile: PheProfile) -> PhePrivateKey:
    """A private key from its JSON, checked against its public key and the profile.

    Raises:
        InvalidArgumentError: MALFORMED_KEY.
    """
    keys = parse_key_json(bytes(data))
    if set(keys) != {"public_key", "private_key"}:
        raise malformed("expected a JSON object with public_key and private_key")
    public_key = public_key_from_json(keys["public_key"], profile)
    fields = keys["private_key"]
    if set(fields) != _PRIVATE_FIELDS[profile.scheme]:
        raise malformed(f"a private key of {profile.scheme.value} lacks fields or has others")
    p, q = mpz(fields["p"]), mpz(fields["q"])
    composite = p * p * q if profile.scheme is Scheme.OKAMOTO_UCHIYAMA else p * q
    if composite != public_key.n or p == q or not (gmpy2.is_prime(p) and gmpy2.is_prime(q)):
        raise malformed("the private key does not belong to the public key")
    if p.bit_length() != profile.prime_bits or q.bit_length() != profile.prime_bits:
        raise malformed(f"profile {profile.name} has primes of {profile.prime_bits} bits")
    if "phi" in fields and fields["phi"] != (p - 1) * (q - 1):
        raise malformed("phi is not (p - 1)(q - 1)")
    return PhePrivateKey(public_key, p, q)
