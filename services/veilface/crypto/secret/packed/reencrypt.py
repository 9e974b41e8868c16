"""From one key version to the next: decrypt a template or a segment, and encrypt it again at once.

The embedding exists only inside a call. With renewal seeds the transform changes along with the key.
"""

import numpy as np
from numpy.typing import NDArray

from veilface.common.errors import InvalidArgumentError, InvalidCiphertextError, Reason
from veilface.crypto.contract import Metric, PublicMaterial, TemplateSpace, TemplateUse
from veilface.crypto.public.packed import wire
from veilface.crypto.public.packed.bulk import SegmentEncryptor
from veilface.crypto.public.packed.encrypt import PackedEncryptor
from veilface.crypto.public.packed.expand import expanded_scale
from veilface.crypto.public.packed.profiles import packed_profile
from veilface.crypto.public.packed.ring import U32
from veilface.crypto.public.packed.segment import coefficient_positions, segment_header, segment_shape
from veilface.crypto.public.packed.space import NORM_TOLERANCE, coordinate_count, embeddings_of
from veilface.crypto.renewal import OrthogonalTransform
from veilface.crypto.secret.packed.ring_secret import RingSecret

_Seed = bytes | bytearray | memoryview


class PackedReencrypter:
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
        secret_key: bytes | bytearray | memoryview,
        target: PublicMaterial,
        seeds: tuple[_Seed, _Seed] | None,
    ) -> None:
        self._profile = packed_profile(profile_name)
        self._secret = RingSecret(self._profile, secret_key)
        self._templates = PackedEncryptor(target)
        self._segments = SegmentEncryptor(target)
        self._seeds = seeds
        self._transforms: dict[int, tuple[OrthogonalTransform, OrthogonalTransform]] = {}

    def wipe(self) -> None:
        """Overwrite the secret key; the object is useless afterwards."""
        self._secret.wipe()
        self._transforms.clear()

    def reencrypt_template(self, ciphertext: bytes, space: TemplateSpace, use: TemplateUse) -> bytes:
        """A fresh encryption of the same embedding under the target version.

        Raises:
            InvalidCiphertextError: For anything that is not a template of this space and use.
            InvalidArgumentError: EMBEDDING_OUT_OF_RANGE if it does not decrypt to an embedding.
        """
        profile = self._profile
        count = coordinate_count(space, profile)
        residues = wire.read_template(profile, count, use, ciphertext)
        coefficients = self._secret.decrypt(residues) / 2.0**profile.template_log_scale
        if float(np.linalg.norm(coefficients[count:])) > NORM_TOLERANCE:
            raise InvalidArgumentError(Reason.EMBEDDING_OUT_OF_RANGE, "the template holds more than its embedding")
        values = coefficients[:count][::-1] if use is TemplateUse.PROBE else coefficients[:count]
        (embedding,) = self._renewed(self._embeddings(values[None], space, use), space)
        return self._templates.encrypt(embedding, space, use)

    def reencrypt_segment(self, segment: bytes, space: TemplateSpace, slots: NDArray[np.intp]) -> bytes:
        """A new segment under the target version: its slot i holds the template of the old slot `slots[i]`.

        Raises:
            InvalidCiphertextError: For anything that is not a segment of this space, or a slot that it does not have.
            InvalidArgumentError: EMBEDDING_OUT_OF_RANGE if a template does not decrypt to an embedding.
        """
        profile = self._profile
        count = coordinate_count(space, profile)
        shape = segment_shape(profile, count)
        payload = wire.read(profile, segment_header(profile, count), 4 * int(np.prod(shape)), segment)
        tiles: U32 = np.frombuffer(payload, dtype="<u4").reshape(shape)
        wire.check_residues(tiles.reshape(1, profile.segment_limbs, -1), profile.data_primes)
        if slots.size == 0 or int(slots.min()) < 0 or int(slots.max()) >= profile.degree:
            raise InvalidCiphertextError(Reason.INVALID_FIELD, f"a segment has the slots 0 to {profile.degree - 1}")
        positions = coefficient_positions(slots, count, profile.degree)
        scale = expanded_scale(profile, profile.segment_log_scale)
        values = np.empty((slots.size, count))
        for j in range(count):
            ciphertext = np.ascontiguousarray(tiles[:, j].transpose(1, 0, 2)).reshape(
                2, profile.segment_limbs, profile.degree
            )
            values[:, j] = self._secret.decrypt(ciphertext)[positions] / scale
        embeddings = self._renewed(self._embeddings(values, space, TemplateUse.REFERENCE), space)
        return self._segments.encrypt(embeddings, space)

    def _embeddings(self, values: NDArray[np.float64], space: TemplateSpace, use: TemplateUse) -> NDArray[np.float64]:
        """The embeddings (count, dimension) that were encoded as these coordinates (count, coordinates)."""
        vectors = embeddings_of(values, space, use, self._profile)
        norms = np.linalg.norm(vectors, axis=1)
        low = 0.9 if space.metric is Metric.COSINE else 0.0
        if float(norms.min()) < low or float(norms.max()) > 1.1:
            raise InvalidArgumentError(
                Reason.EMBEDDING_OUT_OF_RANGE, "a template does not decrypt to an embedding of its space"
            )
        divisors = norms if space.metric is Metric.COSINE else np.maximum(norms, 1.0)
        embeddings: NDArray[np.float64] = vectors / divisors[:, None]
        return embeddings

    def _renewed(self, embeddings: NDArray[np.float64], space: TemplateSpace) -> NDArray[np.float64]:
        if self._seeds is None:
            return embeddings
        if space.dimension not in self._transforms:
            source, target = (OrthogonalTransform(seed, space.dimension) for seed in self._seeds)
            self._transforms[space.dimension] = (source, target)
        before, after = self._transforms[space.dimension]
        return after.apply(before.invert(embeddings))
