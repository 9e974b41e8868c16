"""The key service's part of a search: decrypt every score and rank the candidates."""

import numpy as np
from numpy.typing import NDArray

from veilface.cli.bench.measurement import MS, US, Peer, Sheet, progress
from veilface.cli.bench.peers import CipherFaceCosts
from veilface.cli.bench.subjects import probe_of, score_differences, subject, synthetic_gallery
from veilface.cli.bench.timing import seconds
from veilface.crypto.contract import Metric, TemplateSpace, TemplateUse
from veilface.crypto.public.packed.profiles import packed_profile
from veilface.keys.domain.ranking import best_matches

_TOP_K = 10
_PROBE_COSINE = 0.97
# Few pass the one, everybody the other, which is the most work that a threshold can make.
_THRESHOLD = 0.9
_EVERYBODY = -1.0


def measure_decide(profile: str, count: int, dim: int) -> Sheet:
    """Decrypt and rank `count` scores as the key service does.

    One segment's answer stands for all, each decrypted anew: the work does not depend on the content.
    """
    capacity = packed_profile(profile).degree
    in_segment = min(count, capacity)
    batches = -(-count // in_segment)
    sheet = Sheet(profile, batches * in_segment, dim, threads=1)
    owner = subject(profile)
    space = TemplateSpace(dim)
    gallery = synthetic_gallery(owner, in_segment, dim)
    probe = probe_of(gallery.vectors[0], _PROBE_COSINE, 6)
    encrypted = owner.encryptor.encrypt(probe, space, TemplateUse.PROBE)
    answers = owner.comparer.search(owner.comparer.prepare_probe(encrypted, space), gallery.segments, gallery.slots)
    progress(f"decrypting {batches:,} batches")

    def decrypt() -> NDArray[np.float64]:
        return np.concatenate([owner.decrypter.decrypt(answers[0], space, in_segment) for _ in range(batches)])

    def rank(threshold: float) -> float:
        return seconds(lambda: best_matches(scores, Metric.COSINE, threshold, _TOP_K))

    decrypt_s = seconds(decrypt, 2)
    scores = decrypt()
    rank_s, rank_everybody_s = rank(_THRESHOLD), rank(_EVERYBODY)
    sort_s = seconds(lambda: np.argsort(-scores)[:_TOP_K], 2)
    theirs = CipherFaceCosts.measure(gallery.vectors[0].astype(np.float64), probe)

    n = sheet.n
    decide_s = decrypt_s + rank_s
    full_sort = Peer("numpy, full argsort", sort_s * MS, 1)
    sheet.add("decide: decrypt and rank", decide_s * MS, "ms", theirs.times_n("decryption", theirs.decrypt_s, n, MS))
    sheet.add("  decrypt the scores of a search", decrypt_s * MS, "ms")
    sheet.add(f"  rank the best {_TOP_K} above a threshold", rank_s * MS, "ms", full_sort)
    sheet.add(f"  rank the best {_TOP_K} if everybody passes", rank_everybody_s * MS, "ms", full_sort)
    sheet.add("decide, per score", decide_s / n * US, "us", theirs.time("decryption of one", theirs.decrypt_s * US))
    sheet.add("score", len(answers[0]) / in_segment, "bytes", theirs.size("score", theirs.score_bytes))
    sheet.add_errors(score_differences(owner, gallery, answers, probe), theirs.size("one score", theirs.error))
    return sheet
