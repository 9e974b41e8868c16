"""How many bytes of ciphertext wait in this service for the rest of their answers."""

import threading

from veilface.common.errors import Reason, ResourceExhaustedError


class CiphertextBudget:
    """A limit that all searches share whose batches are arriving. Safe to use from several threads.

    Args:
        limit_bytes: The most that they may hold together.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._held_bytes = 0
        self._lock = threading.Lock()

    @property
    def held_bytes(self) -> int:
        """What is held now."""
        return self._held_bytes

    def hold(self, size_bytes: int) -> None:
        """Take a part.

        Raises:
            ResourceExhaustedError: OVERLOADED if not as much is left.
        """
        with self._lock:
            if self._held_bytes + size_bytes > self._limit_bytes:
                raise ResourceExhaustedError(
                    Reason.OVERLOADED,
                    f"searches that are being sent hold {self._held_bytes} of at most {self._limit_bytes} bytes of "
                    "encrypted scores; try again when some are decided",
                )
            self._held_bytes += size_bytes

    def give_back(self, size_bytes: int) -> None:
        """Return what was taken."""
        with self._lock:
            self._held_bytes -= size_bytes
