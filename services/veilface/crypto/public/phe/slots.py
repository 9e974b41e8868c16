"""Slots: how the scores of many templates share the plaintext of one ciphertext.

Slot t of a plaintext is its digit at 2^(b t). Cosine scores are signed, so a digit may borrow from the next; adding
2^(b-1) to every slot before reading makes all digits non-negative again.

Whoever decrypts a response is to learn the scores that were asked for and nothing else. Every other slot gets a uniform
random digit, whether it is empty or holds a template, and so does the guard above the highest slot. The digit of a
template that is hidden in this way may carry into the next slot, by an amount that depends on its score:
- where the next slot is not asked for, its own random digit hides the carry;
- where it is, a random number below `CARRY_BLUR` hides the carry but for one answer in a thousand, and changes the
  score by at most `CARRY_BLUR` units (2.6e-4 in units of the metric).
Every other score is exact. Templates are hidden only while the segment holds more of them than the searched snapshot of
the gallery, because one was enrolled or erased meanwhile.
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from veilface.common.errors import InvalidArgumentError, InvalidCiphertextError, Reason
from veilface.crypto.contract import Metric, TemplateSpace
from veilface.crypto.public.phe.profiles import PheProfile
from veilface.crypto.public.phe.quantization import largest_squared_norm

CARRY_BLUR: Final = 1024


@dataclass(frozen=True, slots=True)
class SlotLayout:
    """The slots of one profile and template space.

    Attributes:
        bits: The width of a slot.
        capacity: How many slots there are, not counting the guard above them.
        lowest: The lowest integer score.
        highest: The highest integer score.

    Raises:
        InvalidArgumentError: WRONG_PARAMETERS if the scores overflow their slot, or the slots the plaintext.
    """

    bits: int
    capacity: int
    lowest: int
    highest: int
    plaintext_bits: int

    def __post_init__(self) -> None:
        fits = self.lowest + self.bias >= 0 and self.highest + CARRY_BLUR + self.bias < 1 << self.bits
        if not fits or self.capacity < 1 or self.bits * (self.capacity + 1) >= self.plaintext_bits:
            raise InvalidArgumentError(
                Reason.WRONG_PARAMETERS,
                f"{self.capacity} scores between {self.lowest} and {self.highest} in slots of {self.bits} bits "
                f"and a guard overflow a plaintext of {self.plaintext_bits} bits",
            )

    @property
    def bias(self) -> int:
        """What is added to a slot to make its digit non-negative."""
        return 1 << (self.bits - 1) if self.lowest < 0 else 0

    def shift(self, slot: int) -> int:
        """The position of a slot's lowest bit."""
        return self.bits * slot

    def check(self, slot: int) -> None:
        """Raise InvalidArgumentError(INVALID_FIELD) unless there is such a slot."""
        if not 0 <= slot < self.capacity:
            raise InvalidArgumentError(Reason.INVALID_FIELD, f"a segment has the slots 0 to {self.capacity - 1}")

    def same_in(self, slots: Iterable[int], value: int) -> int:
        """The plaintext with this value in the given slots."""
        return sum(value << self.shift(slot) for slot in slots)

    def mask(self, occupied: Iterable[int], shown: Iterable[int]) -> int:
        """A random plaintext that leaves nothing to read but the shown slots.

        Args:
            occupied: The slots that hold a template, whose scores lie in [lowest, highest].
            shown: Those of them that are asked for.
        """
        visible = frozenset(shown)
        hidden = frozenset(occupied) - visible
        total, carries = 0, False
        for slot in range(self.capacity + 1):
            if slot in visible:
                digit = secrets.randbelow(CARRY_BLUR - 1) if carries else 0
                carries = False
            elif slot in hidden:
                digit = secrets.randbits(self.bits)
                carries = True
            else:
                # Its bias taken out, an empty slot has no carry of its own.
                digit = secrets.randbits(self.bits) - self.bias
            total += digit << self.shift(slot)
        return total

    def read(self, plaintext: int, slots: NDArray[np.intp]) -> list[int]:
        """The scores in the given slots.

        Raises:
            InvalidCiphertextError: MALFORMED_CIPHERTEXT if the plaintext is no sum of scores.
        """
        digits = plaintext + self.same_in(range(self.capacity + 1), self.bias)
        # The guard may carry, too.
        if not 0 <= digits < 2 << self.shift(self.capacity + 1):
            raise _no_score()
        width = (1 << self.bits) - 1
        scores = [(digits >> self.shift(int(slot)) & width) - self.bias for slot in slots]
        if any(not self.lowest <= score <= self.highest + CARRY_BLUR for score in scores):
            raise _no_score()
        return scores

    def read_single(self, plaintext: int) -> int:
        """The score of a plaintext that holds one. Raises InvalidCiphertextError(MALFORMED_CIPHERTEXT)."""
        if not self.lowest <= plaintext <= self.highest:
            raise _no_score()
        return plaintext


def slot_layout(profile: PheProfile, space: TemplateSpace) -> SlotLayout:
    """The narrowest slots that hold every score of the space, as many as fit.

    By Cauchy-Schwarz an inner product is at most the product of the norms; a squared distance at most four times that.
    """
    square = largest_squared_norm(space.dimension)
    if space.metric is Metric.COSINE:
        lowest, highest = -square, square
        bits = (square + CARRY_BLUR).bit_length() + 1
    else:
        lowest, highest = 0, 4 * square
        bits = (highest + CARRY_BLUR).bit_length()
    # One slot is the guard, and one bit is for its carry.
    return SlotLayout(bits, (profile.plaintext_bits - 1) // bits - 1, lowest, highest, profile.plaintext_bits)


def _no_score() -> InvalidCiphertextError:
    return InvalidCiphertextError(Reason.MALFORMED_CIPHERTEXT, "this does not decrypt to comparison scores")
