"""From one key version to the next: decrypt a template or a segment, and encrypt it again at once.

The embedding exists only inside a call. With renewal seeds the transform changes along with the key.
"""

import numpy as np
from numpy.typing import NDArray

from veilface.common.errors import InvalidCiphertextError, Reason
from veilface.crypto.contract import Metric, PublicMaterial, SecretBytes, TemplateSpace, TemplateUse
from veilface.crypto.public.packed import wire
from veilface.crypto.public.packed.bulk import SegmentEncryptor
from veilface.crypto.public.packed.encrypt import PackedEncryptor
from veilface.crypto.public.packed.expand import expanded_scale
from veilface.crypto.public.packed.kernels.tiles import BLOCK
from veilface.crypto.public.packed.profiles import packed_profile
from veilface.crypto.public.packed.segment import coefficient_positions, read_segment, segment_ciphertexts
from veilface.crypto.public.packed.space import NORM_TOLERANCE, coordinate_count, embeddings_of
from veilface.crypto.secret.guarded import Guarded
from veilface.crypto.secret.moved_embeddings import Renewal, replace_implausible
from veilface.crypto.secret.packed.ring_secret import RingSecret

_LOWEST_COSINE_NORM = 0.9
_LARGEST_NORM = 1.1


class PackedReencrypter(Guarded):
    """Moves templates and segments of one profile to another key version. Not safe for concurrent use.

    Args:
        profile_name: The profile of both versions.
        secret_key: Of the source version.
        target: The public key of the target version.
        seeds: The renewal seeds of source and target; None if the key has none.
    """

    def __init__(
        self,
        profile_name: str,
        secret_key: SecretBytes,
        target: PublicMaterial,
        seeds: tuple[SecretBytes, SecretBytes] | None,
    ) -> None:
        self._profile = packed_profile(profile_name)
        self._secret = RingSecret(self._profile, secret_key)
        self._templates = PackedEncryptor(target)
        self._segments = SegmentEncryptor(target)
        self._renewal = Renewal(seeds)
        self._replaced_count = 0

    @property
    def replaced_count(self) -> int:
        """See `Reencrypter.replaced_count`."""
        return self._replaced_count

    def wipe(self) -> None:
        """Overwrite the secret key and the seeds; the object is useless afterwards."""
        self._secret.wipe()
        self._renewal.wipe()

    def reencrypt_template(self, ciphertext: bytes, space: TemplateSpace, use: TemplateUse) -> bytes:
        """A fresh encryption of the same embedding under the target version.

        Raises:
            InvalidCiphertextError: For anything that is not a template of this space and use.
        """
        profile = self._profile
        count = coordinate_count(space, profile)
        residues = wire.read_template(profile, count, use, ciphertext)
        coefficients = self._secret.decrypt(residues) / 2.0**profile.template_log_scale
        holds_more = float(np.linalg.norm(coefficients[count:])) > NORM_TOLERANCE
        values = coefficients[:count][::-1] if use is TemplateUse.PROBE else coefficients[:count]
        # No number is within any range, so it is replaced, as every embedding is that is out of range.
        values = np.where(holds_more, np.nan, values)
        (embedding,) = self._renewal.apply(self._embeddings(values[None], space, use))
        return self._templates.encrypt(embedding, space, use)

    def reencrypt_segment(self, segment: bytes, space: TemplateSpace, slots: NDArray[np.intp]) -> bytes:
        """A new segment under the target version: its slot i holds the template of the old slot `slots[i]`.

        Raises:
            InvalidCiphertextError: For anything that is not a segment of this space, or a slot that it does not have.
        """
        profile = self._profile
        count = coordinate_count(space, profile)
        residues = read_segment(profile, count, segment)
        if slots.size == 0 or int(slots.min()) < 0 or int(slots.max()) >= profile.degree:
            raise InvalidCiphertextError(Reason.INVALID_FIELD, f"a segment has the slots 0 to {profile.degree - 1}")
        positions = coefficient_positions(slots, count, profile.degree)
        scale = expanded_scale(profile, profile.segment_log_scale)
        values = np.empty((slots.size, count))
        for first in range(0, count, BLOCK):
            ciphertexts = segment_ciphertexts(profile, residues, first // BLOCK)
            for j, ciphertext in enumerate(ciphertexts[: count - first], first):
                values[:, j] = self._secret.decrypt(ciphertext)[positions] / scale
        embeddings = self._renewal.apply(self._embeddings(values, space, TemplateUse.REFERENCE))
        return self._segments.encrypt(embeddings, space)

    def _embeddings(self, values: NDArray[np.float64], space: TemplateSpace, use: TemplateUse) -> NDArray[np.float64]:
        """The embeddings (count, dimension) that were encoded as these coordinates (count, coordinates)."""
        vectors = embeddings_of(values, space, use, self._profile)
        low = _LOWEST_COSINE_NORM if space.metric is Metric.COSINE else 0.0
        vectors, is_replaced = replace_implausible(vectors, low, _LARGEST_NORM)
        self._replaced_count += int(is_replaced.sum())
        norms = np.linalg.norm(vectors, axis=1)
        divisors = norms if space.metric is Metric.COSINE else np.maximum(norms, 1.0)
        embeddings: NDArray[np.float64] = vectors / divisors[:, None]
        return embeddings
