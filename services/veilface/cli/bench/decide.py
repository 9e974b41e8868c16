"""The key service's part of a search: decrypt every score and rank the candidates."""

import numpy as np

from veilface.cli.bench.measurement import Measurement, against, progress, seconds
from veilface.cli.bench.subjects import subject, synthetic_gallery
from veilface.crypto.contract import TemplateSpace, TemplateUse

_TOP_K = 10


def measure_decide(profile: str, count: int, dim: int) -> list[Measurement]:
    """Decrypt and rank `count` scores. One segment's answer stands for all: the work does not depend on the content."""
    owner = subject(profile)
    capacity = owner.comparer.profile.degree
    space = TemplateSpace(dim)
    gallery = synthetic_gallery(owner, min(count, capacity), dim)
    probe = owner.encryptor.encrypt(gallery.vectors[0].astype(np.float64), space, TemplateUse.PROBE)
    (answer,) = owner.comparer.search(owner.comparer.prepare_probe(probe, space), gallery.segments, gallery.slots)
    in_segment = len(gallery.slots[0])
    batches = -(-count // in_segment)
    progress(f"decrypting {batches} batches")

    def decrypt() -> np.ndarray:
        return np.concatenate([owner.decrypter.decrypt(answer, space, in_segment) for _ in range(batches)])

    def rank(scores: np.ndarray) -> np.ndarray:
        best = np.argpartition(scores, -_TOP_K)[-_TOP_K:]
        return best[np.argsort(-scores[best], kind="stable")]

    decrypt_s = seconds(decrypt, 2)
    scores = decrypt()
    rank_s = seconds(lambda: rank(scores))
    sort_s = seconds(lambda: np.argsort(-scores)[:_TOP_K], 2)
    n = batches * in_segment
    return [
        Measurement("decrypt the scores of a search", decrypt_s * 1e3, "ms", n=n, dim=dim),
        against(Measurement(f"rank the best {_TOP_K}", rank_s * 1e3, "ms", n=n, dim=dim), "a full sort", sort_s * 1e3),
        Measurement("decide, per score", (decrypt_s + rank_s) / n * 1e6, "us", n=n, dim=dim),
    ]
