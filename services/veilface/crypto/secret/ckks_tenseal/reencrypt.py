"""From one key version to the next: decrypt a template and encrypt it again at once. There are no segments."""

import numpy as np
from numpy.typing import NDArray

from veilface.common.errors import InvalidArgumentError, Reason
from veilface.crypto.contract import Metric, SecretBytes, TemplateSpace, TemplateUse
from veilface.crypto.public.ckks_tenseal import wire
from veilface.crypto.public.ckks_tenseal.encrypt import TensealEncryptor
from veilface.crypto.public.ckks_tenseal.space import vector_size
from veilface.crypto.secret.ckks_tenseal.private_context import PrivateContext
from veilface.crypto.secret.guarded import Guarded
from veilface.crypto.secret.moved_embeddings import Renewal, replace_implausible

_NORM_TOLERANCE = 0.1


class TensealReencrypter(Guarded):
    """Moves templates to another key version. Not safe for concurrent use.

    Args:
        source: The secret key of the source version.
        target: Encrypts under the target version.
        seeds: The renewal seeds of source and target; None if the key has none.
    """

    def __init__(
        self, source: PrivateContext, target: TensealEncryptor, seeds: tuple[SecretBytes, SecretBytes] | None
    ) -> None:
        self._source = source
        self._target = target
        self._renewal = Renewal(seeds)
        self._replaced_count = 0

    @property
    def replaced_count(self) -> int:
        """See `Reencrypter.replaced_count`."""
        return self._replaced_count

    def wipe(self) -> None:
        """Forget the private key and overwrite the seeds; the object is useless afterwards."""
        self._source.wipe()
        self._renewal.wipe()

    def reencrypt_template(self, ciphertext: bytes, space: TemplateSpace, use: TemplateUse) -> bytes:
        """See `Reencrypter.reencrypt_template`.

        Raises:
            InvalidCiphertextError: For anything that is not a template of this space and use.
        """
        profile = self._source.profile
        slots = self._source.decrypt(wire.read(profile, wire.kind_of(use), space, ciphertext))
        copies = slots.reshape(-1, vector_size(space, profile))
        embedding = np.median(copies, axis=0)[: space.dimension]
        return self._target.encrypt(self._renewed(embedding, space), space, use)

    def reencrypt_segment(self, segment: bytes, space: TemplateSpace, slots: NDArray[np.intp]) -> bytes:
        """There are no segments."""
        raise InvalidArgumentError(Reason.UNSUPPORTED_BY_SCHEME, "ckks-tenseal has no segments")

    def _renewed(self, embedding: NDArray[np.float64], space: TemplateSpace) -> NDArray[np.float64]:
        low = 1 - _NORM_TOLERANCE if space.metric is Metric.COSINE else 0.0
        embeddings, is_replaced = replace_implausible(embedding[None], low, 1 + _NORM_TOLERANCE)
        self._replaced_count += int(is_replaced.sum())
        norm = float(np.linalg.norm(embeddings))
        divisor = norm if space.metric is Metric.COSINE else max(norm, 1.0)
        return self._renewal.apply(embeddings[0] / divisor)
