"""Key generation with SEAL, and the secret key as bytes."""

import numpy as np
import tenseal.sealapi as sealapi
from numpy.typing import NDArray

from veilface.common.errors import InvalidCiphertextError, Reason
from veilface.crypto.public.packed import seal, wire
from veilface.crypto.public.packed.evaluation_keys import EvaluationKeys, galois_elements
from veilface.crypto.public.packed.profiles import PackedProfile, packed_profile
from veilface.crypto.public.packed.ring import prime_ring
from veilface.crypto.public.packed.transform import from_ntt
from veilface.crypto.secret.generated import GeneratedKey


def secret_header(profile: PackedProfile) -> wire.Header:
    """The header of a serialized secret key."""
    return wire.Header(wire.Kind.SECRET_KEY, 1, 1)


def generate_key(profile_name: str) -> GeneratedKey:
    """A new key of a profile. SEAL draws its randomness from the operating system."""
    profile = packed_profile(profile_name)
    context = seal.seal_context(profile)
    generator = sealapi.KeyGenerator(context.context)
    public_key = sealapi.PublicKey()
    generator.create_public_key(public_key)
    galois_keys = sealapi.GaloisKeys()
    elements = galois_elements(profile)
    generator.create_galois_keys(elements, galois_keys)
    by_digit = seal.galois_key_residues(galois_keys, elements, profile)
    evaluation_keys = EvaluationKeys(profile, np.ascontiguousarray(by_digit.transpose(0, 2, 3, 1, 4)))
    public_header = wire.Header(wire.Kind.PUBLIC_KEY, 2, len(profile.primes))
    return GeneratedKey(
        secret_key=wire.write(
            profile, secret_header(profile), ternary_coefficients(generator.secret_key(), profile).tobytes()
        ),
        public_key=wire.write(profile, public_header, seal.save(public_key)),
        evaluation_keys=evaluation_keys.to_bytes(),
    )


def ternary_coefficients(secret_key: object, profile: PackedProfile) -> NDArray[np.uint8]:
    """The coefficients of the secret plus one: 0, 1 or 2, shape (n,)."""
    residues = seal.plaintext_residues(secret_key, len(profile.primes), profile.degree)[0].copy()
    prime = profile.data_primes[0]
    coefficients = from_ntt(residues, prime_ring(prime, profile.degree))
    return ((coefficients.astype(np.int64) + 1) % prime).astype(np.uint8)


def read_secret(profile: PackedProfile, data: bytes | bytearray | memoryview) -> NDArray[np.int8]:
    """The coefficients of a serialized secret key, -1, 0 or 1, shape (n,). Raises InvalidCiphertextError."""
    payload = wire.read(profile, secret_header(profile), profile.degree, memoryview(data))
    shifted = np.frombuffer(payload, dtype=np.uint8)
    if int(shifted.max()) > 2:
        raise InvalidCiphertextError(Reason.MALFORMED_KEY, "not a secret key of this profile")
    return shifted.astype(np.int8) - np.int8(1)
