"""The alarm when something that was to be re-encrypted was no embedding: somebody sends crafted ciphertexts."""

import threading
from collections.abc import Callable


class ImplausibilityAlarm:
    """Sounds once in the life of a process.

    Whoever could count such events, or see which segment caused one, would have the decryption oracle that replacing
    them silently takes away. One alarm tells no more than when it was: about a dozen bits until the next restart.

    Args:
        alarm: Called the first time.
    """

    def __init__(self, alarm: Callable[[], None]) -> None:
        self._alarm = alarm
        self._lock = threading.Lock()
        self._has_sounded = False

    def sound(self) -> None:
        """Something decrypted to no embedding."""
        with self._lock:
            if self._has_sounded:
                return
            self._has_sounded = True
        self._alarm()
