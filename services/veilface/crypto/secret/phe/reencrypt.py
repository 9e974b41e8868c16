"""From one key version to the next: decrypt a template or a segment, and encrypt it again at once.

Without renewal seeds the integers stay the same, so every score stays exactly as it was. With seeds the transform
changes along with the key, and the embedding is rounded to integers once more.
"""

import gmpy2
import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray

from veilface.common.errors import InvalidCiphertextError, Reason
from veilface.crypto.contract import Metric, SecretBytes, TemplateSpace, TemplateUse
from veilface.crypto.public.phe import wire
from veilface.crypto.public.phe.bulk import PheSegmentEncryptor
from veilface.crypto.public.phe.encrypt import PheEncryptor
from veilface.crypto.public.phe.quantization import SCALE, largest_squared_norm, quantize
from veilface.crypto.public.phe.slots import slot_layout
from veilface.crypto.secret.guarded import Guarded
from veilface.crypto.secret.moved_embeddings import Renewal, random_unit_vector
from veilface.crypto.secret.phe.private_key import PhePrivateKey

_LOWEST_COSINE_NORM = 0.9


class PheReencrypter(Guarded):
    """Moves templates and segments to another key version. Not safe for concurrent use.

    Args:
        source: The private key of the source version.
        target: Encrypts under the target version.
        seeds: The renewal seeds of source and target; None if the key has none.
    """

    def __init__(
        self, source: PhePrivateKey, target: PheEncryptor, seeds: tuple[SecretBytes, SecretBytes] | None
    ) -> None:
        self._source = source
        self._templates = target
        self._segments = PheSegmentEncryptor(target)
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
        key = self._source.public_key
        if use is not TemplateUse.REFERENCE:
            integers = wire.read_probe(key, space, ciphertext)
        else:
            integers = self._decrypt_small(wire.read_reference(key, space, ciphertext)[: space.dimension])
        return self._templates.encrypt_quantized(self._renewed(integers, space), space, use)

    def reencrypt_segment(self, segment: bytes, space: TemplateSpace, slots: NDArray[np.intp]) -> bytes:
        """See `Reencrypter.reencrypt_segment`.

        Raises:
            InvalidCiphertextError: For anything that is not a segment of this space; INVALID_FIELD for an empty slot.
        """
        key = self._source.public_key
        layout = slot_layout(key.profile, space)
        occupied, ciphertexts = wire.read_segment(key, space, layout.capacity, segment)
        if slots.size == 0 or not np.isin(slots, occupied).all():
            raise InvalidCiphertextError(Reason.INVALID_FIELD, "a slot to re-encrypt holds no template")
        columns = [
            _signed_digits(self._source.decrypt(ciphertext), layout.bits, layout.capacity)
            for ciphertext in ciphertexts[: space.dimension]
        ]
        templates = np.array(columns, dtype=np.int64)[:, slots].T
        return self._segments.encrypt_quantized([self._renewed(row, space) for row in templates], space)

    def _decrypt_small(self, ciphertexts: list[mpz]) -> NDArray[np.int64]:
        """Integers no larger than an embedding's: packed under encryption first, because decryption is what costs."""
        key = self._source.public_key
        width = (2 * SCALE).bit_length() + 1
        count = (key.profile.plaintext_bits - 1) // width
        digits: list[int] = []
        for first in range(0, len(ciphertexts), count):
            part = ciphertexts[first : first + count]
            packed = part[-1]
            for ciphertext in reversed(part[:-1]):
                packed = gmpy2.powmod(packed, 1 << width, key.modulus) * ciphertext % key.modulus
            digits.extend(_signed_digits(self._source.decrypt(packed), width, len(part)))
        return np.array(digits, dtype=np.int64)

    def _renewed(self, integers: NDArray[np.int64], space: TemplateSpace) -> NDArray[np.int64]:
        low = _LOWEST_COSINE_NORM if space.metric is Metric.COSINE else 0.0
        squared_norm = float(np.linalg.norm(integers)) ** 2
        is_embedding = (low * SCALE) ** 2 <= squared_norm <= largest_squared_norm(space.dimension) + 0.5
        self._replaced_count += not is_embedding
        integers = np.where(is_embedding, integers, quantize(random_unit_vector(space.dimension), space))
        if not self._renewal.changes:
            return integers
        embedding = integers / SCALE
        norm = float(np.linalg.norm(embedding))
        divisor = norm if space.metric is Metric.COSINE else max(norm, 1.0)
        return quantize(self._renewal.apply(embedding / divisor), space)


def _signed_digits(plaintext: int, width: int, count: int) -> list[int]:
    """The digits in [-2^(width - 1), 2^(width - 1)) of a plaintext in base 2^width, lowest first."""
    half = 1 << (width - 1)
    biased = plaintext + sum(half << width * index for index in range(count))
    return [(biased >> width * index & 2 * half - 1) - half for index in range(count)]
