"""The base of everything in memory that holds a secret."""

from typing import NoReturn


class Guarded:
    """Shows its class only, and is neither copied nor pickled."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} holds a secret: it cannot be pickled or copied")
