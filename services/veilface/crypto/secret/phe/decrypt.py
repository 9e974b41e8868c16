"""Decryption of comparison scores."""

import numpy as np
from numpy.typing import NDArray

from veilface.common.errors import InvalidCiphertextError, Reason
from veilface.crypto.contract import TemplateSpace
from veilface.crypto.public.phe import wire
from veilface.crypto.public.phe.quantization import score_from_integer
from veilface.crypto.public.phe.slots import slot_layout
from veilface.crypto.secret.guarded import Guarded
from veilface.crypto.secret.phe.private_key import PhePrivateKey


class PheDecrypter(Guarded):
    """Decrypts comparison scores with one private key."""

    def __init__(self, key: PhePrivateKey) -> None:
        self._key = key

    def __repr__(self) -> str:
        return f"<PheDecrypter {self._key.public_key.profile.name}>"

    def wipe(self) -> None:
        """Forget the private key; the decrypter is useless afterwards."""
        self._key.wipe()

    def decrypt(self, ciphertext: bytes, space: TemplateSpace, score_count: int) -> NDArray[np.float64]:
        """See `ScoreDecrypter.decrypt`."""
        integers = self.decrypt_integers(ciphertext, space, score_count)
        return np.array([score_from_integer(integer) for integer in integers], dtype=np.float64)

    def slots(self, ciphertext: bytes, space: TemplateSpace, score_count: int) -> NDArray[np.intp]:
        """See `ScoreDecrypter.slots`."""
        if wire.peek_kind(ciphertext) == wire.Kind.VERIFY_SCORE:
            return np.zeros(score_count, dtype=np.intp)
        capacity = slot_layout(self._key.public_key.profile, space).capacity
        positions = memoryview(ciphertext)[wire.HEADER_BYTES :][: wire.position_bytes(capacity)]
        return wire.read_positions(capacity, positions)

    def decrypt_integers(self, ciphertext: bytes, space: TemplateSpace, score_count: int) -> list[int]:
        """The exact integer scores: inner products, or squared distances, of quantised embeddings.

        Raises:
            InvalidCiphertextError: as `ScoreDecrypter.decrypt`.
        """
        if wire.peek_kind(ciphertext) == wire.Kind.VERIFY_SCORE:
            return [self._single(ciphertext, space, score_count)]
        key = self._key.public_key
        layout = slot_layout(key.profile, space)
        position_bytes = wire.position_bytes(layout.capacity)
        size = position_bytes + key.profile.ciphertext_bytes
        payload = wire.read(key, wire.Header(wire.Kind.SEARCH_SCORES, space, score_count), size, ciphertext)
        slots = wire.read_positions(layout.capacity, payload[:position_bytes])
        if len(slots) != score_count:
            raise InvalidCiphertextError(Reason.WRONG_SIZE, f"expected {score_count} slots, got {len(slots)}")
        (packed,) = wire.read_integers(key, payload[position_bytes:])
        return layout.read(self._key.decrypt(packed), slots)

    def _single(self, ciphertext: bytes, space: TemplateSpace, score_count: int) -> int:
        key = self._key.public_key
        if score_count != 1:
            raise InvalidCiphertextError(Reason.WRONG_SIZE, f"expected {score_count} scores, got 1")
        header = wire.Header(wire.Kind.VERIFY_SCORE, space, 1)
        payload = wire.read(key, header, key.profile.ciphertext_bytes, ciphertext)
        (score,) = wire.read_integers(key, payload)
        return slot_layout(key.profile, space).read_single(self._key.decrypt(score))
