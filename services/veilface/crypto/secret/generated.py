"""What key generation hands to the vault."""

from dataclasses import dataclass, field

from veilface.crypto.secret.guarded import Guarded


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class GeneratedKey(Guarded):
    """A fresh key.

    Attributes:
        secret_key: To be sealed at once, and overwritten then. The libraries that make keys may leave copies in memory
            that Python has freed; there is none that this object or its maker refers to.
    """

    secret_key: bytearray = field(repr=False)
    public_key: bytes = field(repr=False)
    evaluation_keys: bytes = field(repr=False)
