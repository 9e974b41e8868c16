"""Public keys of the partially homomorphic schemes: LightPHE's JSON keys, and the arithmetic that needs no secret.

The JSON is what `LightPHE(keys=...)` accepts: {"public_key": {...}}. Paillier and Damgard-Jurik keys carry one field
more, `hs`, which LightPHE ignores: a generator of n^s-th powers, so that randomness costs an exponentiation of a fixed
base by half-length exponents (Damgard, Jurik, Nielsen, "A generalization of Paillier's public-key system with
applications to electronic voting", 2010) instead of one of a fresh base by n^s.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final

import gmpy2
from gmpy2 import mpz

from veilface.common.errors import InvalidArgumentError, Reason
from veilface.crypto.contract import Scheme
from veilface.crypto.public.phe.profiles import PheProfile

_FIELDS: Final = {
    Scheme.PAILLIER: ("g", "n", "hs"),
    Scheme.DAMGARD_JURIK: ("g", "n", "s", "hs"),
    Scheme.OKAMOTO_UCHIYAMA: ("g", "h", "n"),
}
_STATISTICAL_BITS: Final = 128
LIGHTPHE_NAMES: Final = {
    Scheme.PAILLIER: "Paillier",
    Scheme.DAMGARD_JURIK: "Damgard-Jurik",
    Scheme.OKAMOTO_UCHIYAMA: "Okamoto-Uchiyama",
}


@dataclass(frozen=True, slots=True)
class PhePublicKey:
    """A public key.

    Attributes:
        profile: Scheme and sizes.
        n: The composite n = p q, or n = p^2 q of Okamoto-Uchiyama.
        modulus: Ciphertexts are units modulo this: n^(s+1), or n of Okamoto-Uchiyama.
        generator: The g of Okamoto-Uchiyama; 1 + n otherwise.
        randomizer: Its powers are encryptions of zero: hs, or the h of Okamoto-Uchiyama.
    """

    profile: PheProfile
    n: mpz
    modulus: mpz
    generator: mpz
    randomizer: mpz

    @property
    def encryption_exponent_bits(self) -> int:
        """How long a random exponent of `randomizer` must be to hide a message from all who lack the secret key.

        Half the key size by DJN's argument, which needs the factors of n to be unknown. For Okamoto-Uchiyama, where
        there is no such argument, as long as in a response.
        """
        if self.profile.scheme is Scheme.OKAMOTO_UCHIYAMA:
            return self.response_exponent_bits
        return self.profile.prime_bits

    @property
    def response_exponent_bits(self) -> int:
        """How long a random exponent must be to hide how a response was computed from whoever made the key, too.

        The order of `randomizer` is below 2^key_bits; with 128 bits more its powers are uniform up to 2^-128 and
        drown, whatever the factors of n, the exponents that encryption, packing and weights have left.
        """
        return self.profile.key_bits + _STATISTICAL_BITS

    @property
    def key_id(self) -> bytes:
        """Eight bytes that stand in everything encrypted under this key."""
        text = f"{self.profile.scheme.value} {self.profile.exponent} {self.n:x} {self.generator:x}"
        return hashlib.sha256(text.encode()).digest()[:8]

    def encode(self, message: int) -> mpz:
        """The ciphertext of an integer of either sign, not randomised: anyone can read it.

        g^message, which for g = 1 + n is a polynomial in n: the binomial series ends at n^s.
        """
        if self.profile.scheme is Scheme.OKAMOTO_UCHIYAMA:
            return gmpy2.powmod(self.generator, message, self.modulus)
        total, term = mpz(1), mpz(1)
        for power in range(1, self.profile.exponent + 1):
            term = term * (message - power + 1) * self.n // power
            total += term
        return total % self.modulus


def parse_public_key(data: bytes, profile: PheProfile) -> PhePublicKey:
    """A public key from its JSON, checked against the profile.

    Raises:
        InvalidArgumentError: MALFORMED_KEY.
    """
    keys = parse_key_json(data)
    if set(keys) != {"public_key"}:
        raise malformed("expected a JSON object with public_key alone")
    return public_key_from_json(keys["public_key"], profile)


def public_key_from_json(fields: dict[str, int], profile: PheProfile) -> PhePublicKey:
    """The object under "public_key". Raises InvalidArgumentError(MALFORMED_KEY)."""
    if set(fields) != set(_FIELDS[profile.scheme]):
        raise malformed(f"a public key of {profile.scheme.value} has the fields {_FIELDS[profile.scheme]}")
    n = mpz(fields["n"])
    okamoto_uchiyama = profile.scheme is Scheme.OKAMOTO_UCHIYAMA
    expected_bits = profile.modulus_bits if okamoto_uchiyama else profile.key_bits
    if n % 2 == 0 or not expected_bits - okamoto_uchiyama * 2 <= n.bit_length() <= expected_bits:
        raise malformed(f"profile {profile.name} has an odd modulus of {expected_bits} bits")
    modulus = n if okamoto_uchiyama else n ** (profile.exponent + 1)
    generator = mpz(fields["g"])
    randomizer = mpz(fields["h"] if okamoto_uchiyama else fields["hs"])
    if not okamoto_uchiyama and generator != n + 1:
        raise malformed("the generator is 1 + n")
    if profile.scheme is Scheme.DAMGARD_JURIK and fields["s"] != profile.exponent:
        raise malformed(f"profile {profile.name} has s = {profile.exponent}")
    if okamoto_uchiyama and randomizer != gmpy2.powmod(generator, n, n):
        raise malformed("h is g^n mod n")
    for unit in (generator, randomizer):
        if not 1 < unit < modulus or gmpy2.gcd(unit, n) != 1:
            raise malformed("a generator is not a unit")
    return PhePublicKey(profile, n, modulus, generator, randomizer)


def public_key_fields(key: PhePublicKey) -> dict[str, int]:
    """What stands under "public_key" in the JSON."""
    values = {
        "g": key.generator,
        "n": key.n,
        "s": mpz(key.profile.exponent),
        "hs": key.randomizer,
        "h": key.randomizer,
    }
    return {name: int(values[name]) for name in _FIELDS[key.profile.scheme]}


def parse_key_json(data: bytes) -> dict[str, dict[str, int]]:
    """LightPHE's keys: a JSON object of objects of positive integers. Raises InvalidArgumentError(MALFORMED_KEY)."""
    try:
        keys = json.loads(bytes(data), object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        raise malformed("not JSON") from None
    if not isinstance(keys, dict):
        raise malformed("not a JSON object")
    for part in keys.values():
        if not isinstance(part, dict) or not all(type(value) is int and value > 0 for value in part.values()):
            raise malformed("expected objects of positive integers")
    return keys


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name occurs twice")
    return result


def malformed(what: str) -> InvalidArgumentError:
    """The error for a key that cannot be used; `what` must not contain key material."""
    return InvalidArgumentError(Reason.MALFORMED_KEY, f"malformed key: {what}")
