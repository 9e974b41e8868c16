"""Decryption of comparison scores.

TenSEAL's own decryption reads the first slot. SEAL's errors of key switching are not centred, and such an offset adds
up in the first slots: there CipherFace's sets err by up to 6e-3. All slots hold the same score, so their median is
taken, which errs ten to a hundred times less.
"""

import numpy as np
from numpy.typing import NDArray

from veilface.common.errors import InvalidCiphertextError, Reason
from veilface.crypto.contract import Metric, SecretBytes, TemplateSpace
from veilface.crypto.public.ckks_tenseal import wire
from veilface.crypto.public.ckks_tenseal.profiles import LARGEST_ERROR, CkksTensealProfile
from veilface.crypto.secret.ckks_tenseal.private_context import PrivateContext
from veilface.crypto.secret.guarded import Guarded

_SCORE_RANGES = {Metric.COSINE: (-1.0, 1.0), Metric.SQUARED_EUCLIDEAN: (0.0, 4.0)}
_RANGE_TOLERANCE = 0.02


class TensealDecrypter(Guarded):
    """Decrypts comparison scores with one secret key."""

    def __init__(self, profile: CkksTensealProfile, secret_key: SecretBytes) -> None:
        self.profile = profile
        self._secret = PrivateContext(profile, secret_key)

    def __repr__(self) -> str:
        return f"<TensealDecrypter {self.profile.name}>"

    def wipe(self) -> None:
        """Forget the secret key; the decrypter is useless afterwards."""
        self._secret.wipe()

    def decrypt(self, ciphertext: bytes, space: TemplateSpace, score_count: int) -> NDArray[np.float64]:
        """See `ScoreDecrypter.decrypt`."""
        if score_count != 1:
            raise InvalidCiphertextError(Reason.WRONG_SIZE, f"expected {score_count} scores, got 1")
        slots = self._secret.decrypt(wire.read(self.profile, wire.Kind.SCORE, space, ciphertext))
        lower, score, upper = np.quantile(slots, [0.25, 0.5, 0.75]) * self.profile.scale_correction
        lowest, highest = _SCORE_RANGES[space.metric]
        in_range = lowest - _RANGE_TOLERANCE <= score <= highest + _RANGE_TOLERANCE
        if not in_range or upper - lower > 2 * LARGEST_ERROR:
            raise InvalidCiphertextError(Reason.MALFORMED_CIPHERTEXT, "this does not decrypt to a comparison score")
        return np.array([score])

    def slots(self, ciphertext: bytes, space: TemplateSpace, score_count: int) -> NDArray[np.intp]:
        """See `ScoreDecrypter.slots`: there are none."""
        return np.zeros(score_count, dtype=np.intp)
