"""Throwaway keys and synthetic galleries to measure on, and how far off their scores are."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from veilface.cli.bench.machine import available_memory_bytes
from veilface.cli.bench.measurement import progress
from veilface.common.errors import InvalidArgumentError, Reason
from veilface.crypto.contract import PublicMaterial, Scheme, ScoreDecrypter, TemplateSpace, TemplateUse
from veilface.crypto.public.packed.bulk import SegmentEncryptor
from veilface.crypto.public.packed.comparer import PackedComparer
from veilface.crypto.public.packed.encrypt import PackedEncryptor
from veilface.crypto.public.packed.profiles import packed_profile
from veilface.crypto.public.packed.segment import PackedSegment, segment_bytes
from veilface.crypto.secret.generated import GeneratedKey
from veilface.crypto.secret.registry import generate_key, load_decrypter

_FLOAT32_BYTES = 4
_CHUNK_ROWS = 65_536


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
    vectors /= np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
    return vectors


def unit_vectors_float64(count: int, dim: int, seed: int) -> NDArray[np.float64]:
    """The same in float64, normalised to its precision."""
    vectors = unit_vectors(count, dim, seed).astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def probe_of(face: NDArray[np.float32], cosine: float, seed: int) -> NDArray[np.float64]:
    """A random unit vector at the given cosine to a face: what another photograph of the person would give."""
    exact: NDArray[np.float64] = face.astype(np.float64)
    exact /= np.linalg.norm(exact)
    if exact.size == 1:
        return exact
    noise = np.random.default_rng(seed).standard_normal(exact.size)
    noise -= (noise @ exact) * exact
    probe = cosine * exact + np.sqrt(1 - cosine**2) * noise / np.linalg.norm(noise)
    return np.asarray(probe / np.linalg.norm(probe), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class SyntheticGallery:
    """Embeddings and the same encrypted."""

    vectors: NDArray[np.float32]
    segments: list[PackedSegment]
    slots: list[NDArray[np.intp]]

    @property
    def segment_bytes(self) -> int:
        """The bytes of all segments."""
        return sum(segment.memory_bytes for segment in self.segments)


def gallery_bytes(profile_name: str, count: int, dim: int) -> int:
    """The size of the segments of a gallery."""
    profile = packed_profile(profile_name)
    return -(-count // profile.degree) * segment_bytes(profile, dim)


def synthetic_gallery(owner: Subject, count: int, dim: int) -> SyntheticGallery:
    """A gallery of random embeddings in memory, encrypted in bulk.

    Raises:
        InvalidArgumentError: INVALID_FIELD if this machine's memory cannot hold it.
    """
    _check_memory(owner, count, dim)
    progress(f"encrypting {count:,} templates of {dim} dimensions")
    vectors = unit_vectors(count, dim, 1)
    space = TemplateSpace(dim)
    bulk = SegmentEncryptor(owner.material)
    capacity = bulk.capacity(space)
    segments, slots = [], []
    for first in range(0, count, capacity):
        rows = vectors[first : first + capacity]
        segments.append(owner.comparer.segment_from_bytes(bulk.encrypt(rows.astype(np.float64), space), space))
        slots.append(np.arange(len(rows)))
    return SyntheticGallery(vectors, segments, slots)


def score_differences(
    owner: Subject, gallery: SyntheticGallery, answers: Sequence[bytes], probe: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Decrypted scores of a whole gallery minus the cosines in float64."""
    space = TemplateSpace(probe.size)
    found = [
        owner.decrypter.decrypt(answer, space, len(slots)) for answer, slots in zip(answers, gallery.slots, strict=True)
    ]
    vectors = gallery.vectors
    chunks = [vectors[first : first + _CHUNK_ROWS] for first in range(0, len(vectors), _CHUNK_ROWS)]
    expected: NDArray[np.float64] = np.concatenate([chunk.astype(np.float64) @ probe for chunk in chunks])
    return np.concatenate(found) - expected


def one_segment_differences(profile: str, count: int, dim: int) -> NDArray[np.float64]:
    """The same for a gallery of at most one segment under a throwaway key, where the real one's key is out of reach."""
    owner = subject(profile)
    space = TemplateSpace(dim)
    gallery = synthetic_gallery(owner, min(count, packed_profile(profile).degree), dim)
    probe = unit_vectors_float64(1, dim, 5)[0]
    prepared = owner.comparer.prepare_probe(owner.encryptor.encrypt(probe, space, TemplateUse.PROBE), space)
    return score_differences(owner, gallery, owner.comparer.search(prepared, gallery.segments, gallery.slots), probe)


def _check_memory(owner: Subject, count: int, dim: int) -> None:
    needed = gallery_bytes(owner.material.profile, count, dim) + count * dim * _FLOAT32_BYTES
    available = available_memory_bytes()
    if needed > available:
        raise InvalidArgumentError(
            Reason.INVALID_FIELD,
            f"{count:,} templates of {dim} dimensions need {needed / 2**30:.1f} GiB of memory, encrypted and in the "
            f"clear, and {available / 2**30:.1f} GiB are available: choose a smaller --n, or 'veilface bench import "
            "--memory-budget', which keeps on disk what does not fit",
        )
