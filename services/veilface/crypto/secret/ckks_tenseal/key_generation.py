"""Key generation with TenSEAL, and the known-answer test that every key must pass."""

import numpy as np
import tenseal as ts

from veilface.common.errors import InvalidArgumentError, Reason
from veilface.crypto.contract import MAX_DIMENSION, Metric, TemplateSpace, TemplateUse
from veilface.crypto.public.ckks_tenseal.compare import TensealComparer
from veilface.crypto.public.ckks_tenseal.encrypt import TensealEncryptor
from veilface.crypto.public.ckks_tenseal.profiles import LARGEST_ERROR, CkksTensealProfile
from veilface.crypto.secret.ckks_tenseal.decrypt import TensealDecrypter
from veilface.crypto.secret.generated import GeneratedKey


def generate_from_profile(profile: CkksTensealProfile) -> GeneratedKey:
    """A new key. SEAL draws its randomness from the operating system.

    The public key and the evaluation keys are contexts of their own: an encryptor needs 0.4 MB, a comparer 18 to 350.

    Raises:
        InvalidArgumentError: WRONG_SCALE if a comparison under the key does not give the known answer.
    """
    context = ts.context(
        ts.SCHEME_TYPE.CKKS,
        poly_modulus_degree=profile.degree,
        coeff_mod_bit_sizes=list(profile.modulus_bits),
    )
    context.generate_galois_keys()
    context.global_scale = 2.0**profile.log_scale
    none = {
        "save_public_key": False,
        "save_secret_key": False,
        "save_galois_keys": False,
        "save_relin_keys": False,
    }
    generated = GeneratedKey(
        secret_key=bytearray(context.serialize(**none | {"save_secret_key": True})),
        public_key=context.serialize(**none | {"save_public_key": True}),
        evaluation_keys=context.serialize(**none | {"save_galois_keys": True, "save_relin_keys": True}),
    )
    check_known_answer(generated, profile)
    return generated


def check_known_answer(generated: GeneratedKey, profile: CkksTensealProfile) -> None:
    """Compare two known vectors in both metrics, all the way. Raises InvalidArgumentError(WRONG_SCALE)."""
    dimension = min(profile.slot_count, MAX_DIMENSION)
    a = np.full(dimension, dimension**-0.5)
    b = np.where(np.arange(dimension) < 0.9 * dimension, a, -a)
    expected = {Metric.COSINE: float(a @ b), Metric.SQUARED_EUCLIDEAN: float(((a - b) ** 2).sum())}
    encryptor = TensealEncryptor(profile, generated.public_key)
    comparer = TensealComparer(profile, generated.evaluation_keys)
    decrypter = TensealDecrypter(profile, generated.secret_key)
    for metric, answer in expected.items():
        space = TemplateSpace(dimension, metric)
        score = comparer.compare(
            encryptor.encrypt(a, space, TemplateUse.REFERENCE), encryptor.encrypt(b, space, TemplateUse.PROBE), space
        )
        error = abs(float(decrypter.decrypt(score, space, 1)[0]) - answer)
        if not error <= LARGEST_ERROR:
            raise InvalidArgumentError(
                Reason.WRONG_SCALE, f"profile {profile.name} gives a known score wrong by {error:.2g}"
            )
