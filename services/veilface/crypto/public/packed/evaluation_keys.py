"""The key switching keys that expand a template: one automorphism per level, log2(n) of them."""

from dataclasses import dataclass

import numpy as np

from veilface.crypto.public.packed import wire
from veilface.crypto.public.packed.profiles import PackedProfile
from veilface.crypto.public.packed.ring import U32


def galois_elements(profile: PackedProfile) -> list[int]:
    """The automorphisms of the expansion, level by level: X -> X^(n / 2^level + 1)."""
    return [(profile.degree >> level) + 1 for level in range(profile.degree.bit_length() - 1)]


@dataclass(frozen=True, eq=False)
class EvaluationKeys:
    """Key switching keys, uint32 (levels, 2, primes, digits, n) in the NTT domain."""

    profile: PackedProfile
    keys: U32

    @staticmethod
    def shape(profile: PackedProfile) -> tuple[int, int, int, int, int]:
        """The shape that the keys of a profile have."""
        levels = profile.degree.bit_length() - 1
        return levels, 2, len(profile.primes), profile.template_limbs, profile.degree

    def to_bytes(self) -> bytes:
        """Serialize."""
        header = wire.Header(wire.Kind.EVALUATION_KEYS, 2, len(self.profile.primes))
        return wire.write(self.profile, header, np.ascontiguousarray(self.keys, dtype="<u4").tobytes())

    @classmethod
    def from_bytes(cls, profile: PackedProfile, data: bytes) -> "EvaluationKeys":
        """Parse strictly. Raises InvalidCiphertextError."""
        shape = cls.shape(profile)
        header = wire.Header(wire.Kind.EVALUATION_KEYS, 2, len(profile.primes))
        payload = wire.read(profile, header, 4 * int(np.prod(shape)), data)
        keys = np.frombuffer(payload, dtype="<u4").reshape(shape)
        wire.check_residues(np.moveaxis(keys, 2, 3), profile.primes)
        return cls(profile, keys)
