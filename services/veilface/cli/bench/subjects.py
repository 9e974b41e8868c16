"""Throwaway keys and synthetic galleries to measure on."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from veilface.cli.bench.measurement import progress
from veilface.crypto.contract import PublicMaterial, Scheme, ScoreDecrypter, TemplateSpace
from veilface.crypto.public.packed.bulk import SegmentEncryptor
from veilface.crypto.public.packed.comparer import PackedComparer
from veilface.crypto.public.packed.encrypt import PackedEncryptor
from veilface.crypto.public.packed.segment import PackedSegment
from veilface.crypto.secret.generated import GeneratedKey
from veilface.crypto.secret.registry import generate_key, load_decrypter


@dataclass(frozen=True, slots=True)
class Subject:
    """One throwaway key and what works with it."""

    key: GeneratedKey
    material: PublicMaterial
    encryptor: PackedEncryptor
    comparer: PackedComparer
    decrypter: ScoreDecrypter


@lru_cache(maxsize=2)
def subject(profile: str) -> Subject:
    """A fresh `ckks-packed` key of a profile."""
    key = generate_key(Scheme.CKKS_PACKED, profile)
    material = PublicMaterial(
        Scheme.CKKS_PACKED, profile, "keys/bench/versions/1", bytes(key.public_key), bytes(key.evaluation_keys)
    )
    decrypter = load_decrypter(Scheme.CKKS_PACKED, profile, key.secret_key)
    return Subject(key, material, PackedEncryptor(material), PackedComparer(material), decrypter)


def unit_vectors(count: int, dim: int, seed: int) -> NDArray[np.float32]:
    """Random L2-normalised embeddings, float32 (count, dim)."""
    vectors = np.random.default_rng(seed).standard_normal((count, dim), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1)[:, None]
    return vectors


@dataclass(frozen=True, slots=True)
class SyntheticGallery:
    """Embeddings and the same encrypted."""

    vectors: NDArray[np.float32]
    segments: list[PackedSegment]
    slots: list[NDArray[np.intp]]
    encrypt_s: float

    @property
    def segment_bytes(self) -> int:
        """The bytes of all segments."""
        return sum(segment.memory_bytes for segment in self.segments)


def synthetic_gallery(owner: Subject, count: int, dim: int) -> SyntheticGallery:
    """A gallery of random embeddings, encrypted in bulk."""
    import time

    progress(f"encrypting {count:,} templates of {dim} dimensions")
    vectors = unit_vectors(count, dim, 1)
    space = TemplateSpace(dim)
    bulk = SegmentEncryptor(owner.material)
    segments, slots = [], []
    start = time.perf_counter()
    for first in range(0, count, bulk.capacity(space)):
        rows = vectors[first : first + bulk.capacity(space)]
        segments.append(owner.comparer.segment_from_bytes(bulk.encrypt(rows.astype(np.float64), space), space))
        slots.append(np.arange(len(rows)))
    return SyntheticGallery(vectors, segments, slots, time.perf_counter() - start)
