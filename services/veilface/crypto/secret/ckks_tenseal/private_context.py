"""The secret key: a TenSEAL context that shows and hands out nothing of itself."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from veilface.common.errors import InvalidArgumentError, Reason
from veilface.crypto.contract import SecretBytes
from veilface.crypto.public.ckks_tenseal.ciphertexts import U64, vector_of
from veilface.crypto.public.ckks_tenseal.context import checked_context
from veilface.crypto.public.ckks_tenseal.profiles import CkksTensealProfile
from veilface.crypto.secret.guarded import Guarded


class PrivateContext(Guarded):
    """Decrypts with one secret key.

    Raises:
        InvalidArgumentError: MALFORMED_KEY or WRONG_PARAMETERS.
    """

    def __init__(self, profile: CkksTensealProfile, secret_key: SecretBytes) -> None:
        self.profile = profile
        self._context: Any = checked_context(bytes(secret_key), profile)
        if not self._context.has_secret_key():
            raise InvalidArgumentError(Reason.MALFORMED_KEY, "the context holds no secret key")

    def decrypt(self, residues: U64) -> NDArray[np.float64]:
        """Every slot of a ciphertext (2, limbs, n), shape (n / 2,)."""
        if self._context is None:
            raise RuntimeError("the secret key was wiped")
        vector = vector_of(residues, self.profile.slot_count, self._context, self.profile)
        return np.array(vector.decrypt(), dtype=np.float64)

    def wipe(self) -> None:
        """Forget the secret key. SEAL clears the memory of its secret keys when it frees them."""
        self._context = None

    def __repr__(self) -> str:
        return f"<PrivateContext {self.profile.name}>"
