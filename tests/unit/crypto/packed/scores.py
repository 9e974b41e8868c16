"""Scores of a whole segment, encrypted and in float64."""

import numpy as np
from numpy.typing import NDArray

from tests.unit.crypto.packed.conftest import Keyring
from veilface.crypto.contract import Metric, Segment, TemplateSpace, TemplateUse
from veilface.crypto.public.packed.bulk import SegmentEncryptor
from veilface.crypto.public.packed.profiles import PackedProfile

PROFILES = ["ckks-packed-128", "ckks-packed-192", "ckks-packed-256", "ckks-packed-exact"]


def true_scores(references: NDArray[np.float64], probe: NDArray[np.float64], metric: Metric) -> NDArray[np.float64]:
    """In float64, shape (count,)."""
    if metric is Metric.COSINE:
        return references @ probe
    distances: NDArray[np.float64] = ((references - probe) ** 2).sum(axis=1)
    return distances


def error_bound(profile: PackedProfile, metric: Metric) -> float:
    """The one that stands beside the profile."""
    return profile.cosine_error if metric is Metric.COSINE else profile.squared_euclidean_error


def bulk_segment(key: Keyring, references: NDArray[np.float64], space: TemplateSpace) -> Segment:
    """The references in the slots 0, 1, 2 ..."""
    return key.comparer.segment_from_bytes(SegmentEncryptor(key.material).encrypt(references, space), space)


def answers_of(
    key: Keyring, segment: Segment, probes: NDArray[np.float64], space: TemplateSpace, count: int
) -> list[bytes]:
    """The score ciphertexts of the first `count` slots, by probe; probes are expanded one by one."""
    answers = []
    for probe in probes:
        ciphertext = key.encryptor.encrypt(probe, space, TemplateUse.PROBE)
        answers += key.comparer.search(key.comparer.prepare_probe(ciphertext, space), [segment], [np.arange(count)])
    return answers


def found_scores(
    key: Keyring, segment: Segment, probes: NDArray[np.float64], space: TemplateSpace, count: int
) -> NDArray[np.float64]:
    """The decrypted scores, shape (probes, count)."""
    answers = answers_of(key, segment, probes, space, count)
    return np.array([key.decrypter.decrypt(answer, space, count) for answer in answers])
