"""Memory that holds a secret: shown to nobody, copied by nothing, wiped when done."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import NoReturn, Self


class SecretBytes:
    """Secret bytes in one buffer that is overwritten with zeros as soon as it is no longer needed.

    repr, str and format show the label only. Copying, deep copying, pickling and converting to bytes raise TypeError.
    Use it as a context manager, or call `wipe`. Python may have moved a secret before it came here: wiping lowers the
    time that a secret stays in memory, it is no proof of absence.

    Args:
        label: What the secret is, without any of its bytes.
        buffer: The secret. The object takes it over: nobody else may keep a reference to it.
    """

    __slots__ = ("__weakref__", "_buffer", "_label")

    def __init__(self, label: str, buffer: bytearray) -> None:
        self._label = label
        self._buffer = buffer

    @contextmanager
    def exposed(self) -> Iterator[memoryview]:
        """Lend a read-only view of the secret for the length of a `with` block. The view is released at its end.

        Raises:
            ValueError: If the secret was wiped before.
        """
        if not self._buffer:
            raise ValueError(f"{self._label} was wiped")
        view = memoryview(self._buffer).toreadonly()
        try:
            yield view
        finally:
            view.release()

    @contextmanager
    def writable(self) -> Iterator[memoryview]:
        """Lend a writable view, for whoever fills the buffer."""
        view = memoryview(self._buffer)
        try:
            yield view
        finally:
            view.release()

    def wipe(self) -> None:
        """Overwrite the secret with zeros and forget it. May be called again."""
        self._buffer[:] = bytes(len(self._buffer))
        self._buffer = bytearray()

    @property
    def is_wiped(self) -> bool:
        """Whether the secret is gone."""
        return not self._buffer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wipe()

    def __del__(self) -> None:
        # __init__ may not have run to its end.
        if hasattr(self, "_buffer"):
            self.wipe()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._label})"

    def _refuse(self, act: str) -> NoReturn:
        raise TypeError(f"{type(self).__name__} refuses to be {act}")

    def __copy__(self) -> NoReturn:
        self._refuse("copied")

    def __deepcopy__(self, memo: object) -> NoReturn:
        self._refuse("copied")

    def __reduce__(self) -> NoReturn:
        self._refuse("pickled")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        self._refuse("pickled")

    def __getstate__(self) -> NoReturn:
        self._refuse("pickled")

    def __bytes__(self) -> NoReturn:
        self._refuse("converted to bytes")

    def __iter__(self) -> NoReturn:
        self._refuse("iterated over")

    def __len__(self) -> NoReturn:
        self._refuse("measured")


class SecretKey(SecretBytes):
    """The secret key of one key version. Its label is "keys/{key}/versions/{version}"."""

    __slots__ = ()


class DataKey(SecretBytes):
    """An AES-256 key that seals one secret key."""

    __slots__ = ()


class TransformSeed(SecretBytes):
    """The seed of the secret orthogonal transform of one key version, 32 bytes."""

    __slots__ = ()
