"""The reference path of a 1:1 comparison: LightPHE's own `@`, made to give the right answer.

It is the oracle of the fast path and its peer in benchmarks; no service uses it. It works around LightPHE 0.0.27:
- signs are kept beside the ciphertexts and a negative one makes `@` raise, so references carry their sign inside the
  ciphertext (n - x) and the weights are split into a positive and a negative part;
- a numpy array makes `@` raise, so weights are a list of Python integers;
- more than 10,000 values are summed by processes under a fixed timeout of 10 s, which 4096 dimensions do not reach;
- `restore_keys` evaluates its file as Python, so keys are passed as parsed JSON;
- floats are scaled by a power of ten that grows with every `@`, so everything is an integer at precision 0.
"""

import gmpy2
from gmpy2 import mpz
from lightphe import LightPHE
from lightphe.models.Tensor import EncryptedTensor, Fraction

from veilface.crypto.contract import Metric, TemplateSpace
from veilface.crypto.public.phe import wire
from veilface.crypto.public.phe.public_key import LIGHTPHE_NAMES, PhePublicKey, public_key_fields


def compare_with_lightphe(key: PhePublicKey, reference: bytes, probe: bytes, space: TemplateSpace) -> bytes:
    """The score ciphertext of a reference and a probe, computed by `EncryptedTensor.__matmul__`.

    The response is not re-randomised: it must not leave a test or benchmark.

    Raises:
        InvalidCiphertextError: as `TemplateComparer.compare`.
    """
    integers = wire.read_probe(key, space, probe)
    ciphertexts = wire.read_reference(key, space, reference)
    weights = [int(weight) for weight in integers]
    score = _dot(key, ciphertexts[: space.dimension], weights)
    if space.metric is Metric.SQUARED_EUCLIDEAN:
        cross = gmpy2.invert(score * score % key.modulus, key.modulus)
        score = ciphertexts[-1] * cross * key.encode(int(integers @ integers)) % key.modulus
    payload = wire.write_integers(key, [score])
    return wire.write(key, wire.Header(wire.Kind.VERIFY_SCORE, space, 1), payload)


def _dot(key: PhePublicKey, ciphertexts: list[mpz], weights: list[int]) -> mpz:
    keys = {"public_key": public_key_fields(key)}
    system = LightPHE(LIGHTPHE_NAMES[key.profile.scheme], keys=keys, precision=0).cs
    fractions = [Fraction(int(value), int(value), divisor=1) for value in ciphertexts]
    tensor = EncryptedTensor(fractions, system, precision=0)
    positive, negative = (
        mpz((tensor @ [max(sign * weight, 0) for weight in weights]).fractions[0].dividend) for sign in (1, -1)
    )
    return positive * gmpy2.invert(negative, key.modulus) % key.modulus
