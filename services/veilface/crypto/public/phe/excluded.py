"""Additively homomorphic schemes of LightPHE that cannot compare templates, and why."""

from collections.abc import Mapping
from typing import Final, NoReturn

from veilface.common.errors import InvalidArgumentError, Reason

_PAPER: Final = "arXiv 2503.05850 excludes it too, for performance or the cost of decryption"
_DISCRETE_LOGARITHM: Final = (
    "it encrypts the message as an exponent, so that decrypting a score means a discrete logarithm over millions of "
    "candidates, and a packed score of thousands of bits cannot be decrypted at all"
)

EXCLUDED_SCHEMES: Final[Mapping[str, str]] = {
    "exponential-elgamal": _DISCRETE_LOGARITHM,
    "elliptic-curve-elgamal": _DISCRETE_LOGARITHM + "; here the logarithm is one on an elliptic curve",
    "benaloh": (
        "its plaintexts are integers below a small block size (a prime below 2000 in LightPHE) that is searched "
        "exhaustively on decryption: too small for a comparison score of 23 bits, and finding such keys takes minutes"
    ),
    "naccache-stern": (
        "its plaintexts are integers below a product of small primes; key generation and decryption by one discrete "
        "logarithm per prime are too slow for plaintexts that hold a comparison score at 112 bits of security"
    ),
}


def refuse_excluded(name: str) -> NoReturn:
    """Say why the scheme is not offered. `name` is a key of `EXCLUDED_SCHEMES`, in any of LightPHE's spellings.

    Raises:
        InvalidArgumentError: UNSUPPORTED_BY_SCHEME, or UNKNOWN_PROFILE if the name is no additively homomorphic scheme.
    """
    spelled = name.lower().replace("_", "-").replace("ellipticcurve", "elliptic-curve")
    if spelled not in EXCLUDED_SCHEMES:
        raise InvalidArgumentError(Reason.UNKNOWN_PROFILE, f"no scheme is named {name!r}")
    raise InvalidArgumentError(
        Reason.UNSUPPORTED_BY_SCHEME,
        f"{spelled} cannot compare templates: {EXCLUDED_SCHEMES[spelled]}. {_PAPER}. Use paillier, damgard-jurik or "
        "okamoto-uchiyama",
    )
