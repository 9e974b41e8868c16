"""What key generation hands to the vault."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class GeneratedKey:
    """A fresh key. `secret_key` is to be sealed at once and never stored as it is."""

    secret_key: bytes = field(repr=False)
    public_key: bytes = field(repr=False)
    evaluation_keys: bytes = field(repr=False)
