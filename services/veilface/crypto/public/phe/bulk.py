"""Bulk encryption: whole segments under the public key, one ciphertext per coordinate for all their templates."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from veilface.common.errors import InvalidArgumentError, Reason
from veilface.crypto.contract import TemplateSpace
from veilface.crypto.public.phe import wire
from veilface.crypto.public.phe.encrypt import PheEncryptor
from veilface.crypto.public.phe.quantization import quantize, reference_coordinates
from veilface.crypto.public.phe.slots import slot_layout


class PheSegmentEncryptor:
    """Encrypts whole segments under one public key. Safe for concurrent use."""

    def __init__(self, encryptor: PheEncryptor) -> None:
        self._encryptor = encryptor
        self.key = encryptor.key

    def capacity(self, space: TemplateSpace) -> int:
        """See `SegmentEncryptor.capacity`."""
        return slot_layout(self.key.profile, space).capacity

    def encrypt(self, embeddings: NDArray[np.floating], space: TemplateSpace) -> bytes:
        """See `SegmentEncryptor.encrypt`."""
        return self.encrypt_quantized([quantize(embedding, space) for embedding in embeddings], space)

    def encrypt_quantized(self, templates: Sequence[NDArray[np.int64]], space: TemplateSpace) -> bytes:
        """As `encrypt`, of embeddings that are integers already."""
        layout = slot_layout(self.key.profile, space)
        if not 1 <= len(templates) <= layout.capacity:
            raise InvalidArgumentError(
                Reason.WRONG_DIMENSION, f"a segment takes 1 to {layout.capacity} embeddings, got {len(templates)}"
            )
        rows = [reference_coordinates(template, space).tolist() for template in templates]
        packed = (
            sum(value << layout.shift(slot) for slot, value in enumerate(column)) for column in zip(*rows, strict=True)
        )
        ciphertexts = self._encryptor.encrypt_integers(packed)
        return wire.write_segment(self.key, space, layout.capacity, np.arange(len(rows)), ciphertexts)
