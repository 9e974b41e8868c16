"""The embedding service's side of `ckks-tenseal`."""

import numpy as np
import tenseal as ts
from numpy.typing import NDArray

from veilface.common.errors import InvalidArgumentError, Reason
from veilface.crypto.contract import TemplateSpace, TemplateUse
from veilface.crypto.public.ckks_tenseal import wire
from veilface.crypto.public.ckks_tenseal.ciphertexts import residues_of
from veilface.crypto.public.ckks_tenseal.context import load_context
from veilface.crypto.public.ckks_tenseal.profiles import CkksTensealProfile
from veilface.crypto.public.ckks_tenseal.space import padded


class TensealEncryptor:
    """Encrypts templates under one public key, both sides alike: one `ckks_vector` each."""

    def __init__(self, profile: CkksTensealProfile, public_key: bytes) -> None:
        self.profile = profile
        self._context = load_context(public_key, profile)
        if not self._context.has_public_key():
            raise InvalidArgumentError(Reason.MALFORMED_KEY, "the context holds no public key")

    def encrypt(self, embedding: NDArray[np.float64], space: TemplateSpace, use: TemplateUse) -> bytes:
        """See `TemplateEncryptor.encrypt`."""
        vector = ts.ckks_vector(self._context, padded(embedding, space, self.profile).tolist())
        residues = residues_of(vector, self.profile, len(self.profile.template_primes))
        return wire.write(self.profile, wire.kind_of(use), space, residues)
