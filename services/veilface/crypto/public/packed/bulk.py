"""Bulk encryption: whole segments at once, dimension by dimension, under the public key.

Textbook RLWE encryption at `segment_limbs` limbs: (p0 u + e0 + m, p1 u + e1) with a ternary u and centred binomial
errors of the variance that SEAL uses (21 bits a side, standard deviation 3.24). Randomness is AES-256 in counter
mode under a fresh key from the operating system per call.
"""

import os
from collections.abc import Callable
from functools import partial

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from veilface.common.errors import InvalidArgumentError, InvalidCiphertextError, Reason
from veilface.crypto.contract import PublicMaterial, TemplateSpace, TemplateUse
from veilface.crypto.public.packed import seal, wire
from veilface.crypto.public.packed.expand import expanded_scale
from veilface.crypto.public.packed.kernels import sampling
from veilface.crypto.public.packed.kernels.lanes import forward_lazy
from veilface.crypto.public.packed.kernels.tiles import BLOCK, block_count
from veilface.crypto.public.packed.parallel import run_parts, split, worker_count
from veilface.crypto.public.packed.profiles import PackedProfile, packed_profile
from veilface.crypto.public.packed.ring import U32, U64, prime_ring, reduction_constants
from veilface.crypto.public.packed.segment import coefficient_positions, segment_shape, write_segment
from veilface.crypto.public.packed.space import coordinate_count, coordinates

_WORDS_PER_COEFFICIENT = 3


def _random_words(count: int) -> U64:
    cipher = Cipher(algorithms.AES256(os.urandom(32)), modes.CTR(bytes(16)))
    return np.frombuffer(cipher.encryptor().update(bytes(8 * count)), dtype=np.uint64)


class SegmentEncryptor:
    """Encrypts whole segments under one public key. Safe for concurrent use."""

    def __init__(self, material: PublicMaterial) -> None:
        self.profile: PackedProfile = packed_profile(material.profile)
        header = wire.Header(wire.Kind.PUBLIC_KEY, 2, len(self.profile.primes))
        payload = wire.read(self.profile, header, len(material.public_key) - wire.HEADER_BYTES, material.public_key)
        residues, _ = seal.read_ciphertext(seal.unwrap(bytes(payload)))
        if residues.shape != (2, len(self.profile.primes), self.profile.degree):
            raise InvalidCiphertextError(Reason.MALFORMED_KEY, f"not a public key of profile {self.profile.name}")
        wire.check_residues(residues, self.profile.primes)
        limbs = self.profile.segment_limbs
        self._public: U32 = np.ascontiguousarray(residues[:, :limbs])
        rings = [prime_ring(prime, self.profile.degree) for prime in self.profile.data_primes[:limbs]]
        self._roots = np.array([ring.forward for ring in rings])
        self._roots_shoup = np.array([ring.forward_shoup for ring in rings])
        self._constants = reduction_constants(self.profile.data_primes[:limbs])

    def capacity(self, space: TemplateSpace) -> int:
        """How many templates a segment holds: of any space the same."""
        return self.profile.degree

    def _encrypt_block(self, messages: NDArray[np.int64], block: int, tiles: U64) -> None:
        """One block of coordinates, as many as the transforms have lanes. messages: (at most 16, n)."""
        degree = self.profile.degree
        small = np.empty((3, degree, BLOCK), dtype=np.int8)
        sampling.sample(_random_words(degree * BLOCK * _WORDS_PER_COEFFICIENT), small[0], small[1], small[2])
        residues = np.empty((3, degree, BLOCK), dtype=np.uint32)
        for limb, constants in enumerate(self._constants):
            q = constants[0]
            for index in range(3):
                sampling.residues(small[index], q, residues[index])
            sampling.add_messages(messages, q, constants, residues[1])
            for index in range(3):
                address = residues[index].ctypes.data
                forward_lazy(
                    np.uint64(address), np.uint64(address), degree, 0, self._roots[limb], self._roots_shoup[limb], q
                )
            sampling.finish(self._public, residues[0], residues[1:], limb, block, messages.shape[0], constants, tiles)

    def encrypt(self, embeddings: NDArray[np.floating], space: TemplateSpace) -> bytes:
        """A serialized segment with embedding i in slot i.

        Args:
            embeddings: Shape (count, dimension), 1 <= count <= capacity, each as `TemplateEncryptor.encrypt` wants it.
            space: Of the embeddings.

        Raises:
            InvalidArgumentError: WRONG_DIMENSION or EMBEDDING_OUT_OF_RANGE.
        """
        profile = self.profile
        if embeddings.ndim != 2 or not 1 <= embeddings.shape[0] <= profile.degree:
            raise InvalidArgumentError(
                Reason.WRONG_DIMENSION,
                f"a segment takes an array of 1 to {profile.degree} embeddings, got shape {embeddings.shape}",
            )
        rows = coordinates(embeddings, space, TemplateUse.REFERENCE, profile)
        count = coordinate_count(space, profile)
        scale = expanded_scale(profile, profile.segment_log_scale) / (profile.integer_norm or 1)
        positions = coefficient_positions(np.arange(rows.shape[0]), count, profile.degree)
        tiles: U64 = np.empty(segment_shape(profile, count), dtype=np.uint64)

        def work(first: int, last: int) -> None:
            for block in range(first, last):
                values = rows[:, block * BLOCK : (block + 1) * BLOCK].T.astype(np.float64)
                messages = np.zeros((values.shape[0], profile.degree), dtype=np.int64)
                messages[:, positions] = np.rint(values * scale)
                self._encrypt_block(messages, block, tiles)

        parts: list[Callable[[], None]] = [
            partial(work, *bounds) for bounds in split(block_count(count), worker_count())
        ]
        run_parts(parts)
        return write_segment(profile, count, tiles)
