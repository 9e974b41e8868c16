"""TenSEAL contexts: what a party may hold, and strict loading.

`make_context_public()` leaves the secret key in memory, so it is never called: public contexts are serialized without
the secret key and loaded as fresh objects.
"""

from typing import Any

import tenseal as ts

from veilface.common.errors import InvalidArgumentError, Reason
from veilface.crypto.public.ckks_tenseal.profiles import CkksTensealProfile
from veilface.crypto.public.ckks_tenseal.protobuf import PRIVATE_CONTEXT_FIELD, fields


def load_context(data: bytes, profile: CkksTensealProfile) -> Any:
    """A public context. Its keys are whatever the bytes hold, but never a secret key.

    Raises:
        InvalidArgumentError: MALFORMED_KEY if it holds a secret key or cannot be read; WRONG_PARAMETERS if its
            parameters are not those of the profile.
    """
    if any(field == PRIVATE_CONTEXT_FIELD for field, _ in fields(data)):
        raise InvalidArgumentError(Reason.MALFORMED_KEY, "a public context must not hold a secret key")
    context = checked_context(data, profile)
    if context.has_secret_key():
        raise InvalidArgumentError(Reason.MALFORMED_KEY, "a public context must not hold a secret key")
    return context


def checked_context(data: bytes, profile: CkksTensealProfile) -> Any:
    """A context, public or not, with exactly the profile's parameters. Raises InvalidArgumentError."""
    try:
        context = ts.context_from(data)
        parameters = context.seal_context().data.key_context_data().parms()
        primes = tuple(prime.value() for prime in parameters.coeff_modulus())
        degree, scale = parameters.poly_modulus_degree(), context.global_scale
    except (RuntimeError, ValueError, TypeError) as error:
        raise InvalidArgumentError(Reason.MALFORMED_KEY, "TenSEAL cannot read this context") from error
    if (degree, primes, scale) != (profile.degree, profile.primes, 2.0**profile.log_scale):
        raise InvalidArgumentError(
            Reason.WRONG_PARAMETERS, f"the context has other parameters than profile {profile.name}"
        )
    return context
