"""1:N: the multiply-add over a whole gallery, beside numpy on the same embeddings in the clear."""

import numpy as np

from veilface.cli.bench.bounds import SearchBounds
from veilface.cli.bench.machine import read_gb_s
from veilface.cli.bench.measurement import MS, US, Peer, Sheet, progress
from veilface.cli.bench.peers import CipherFaceCosts, numpy_peer
from veilface.cli.bench.subjects import probe_of, score_differences, subject, synthetic_gallery
from veilface.cli.bench.timing import seconds, shortest
from veilface.crypto.contract import TemplateSpace, TemplateUse
from veilface.crypto.public.packed.search import ExpandedProbe

_BATCH = 8
_PROBE_COSINE = 0.9


def measure_search(profile: str, count: int, dim: int) -> Sheet:
    """Search `count` templates of `dim` dimensions; the error is against float64 over every score."""
    sheet = Sheet(profile, count, dim)
    owner = subject(profile)
    gallery = synthetic_gallery(owner, count, dim)
    space = TemplateSpace(dim)
    probe = probe_of(gallery.vectors[count // 2], _PROBE_COSINE, 2)
    probe_bytes = owner.encryptor.encrypt(probe, space, TemplateUse.PROBE)
    prepared = owner.comparer.prepare_probe(probe_bytes, space)
    plain = owner.encryptor.encrypt(probe, space, TemplateUse.PLAINTEXT_PROBE)
    weighed = owner.comparer.prepare_probe(plain, space, TemplateUse.PLAINTEXT_PROBE)
    if not isinstance(prepared, ExpandedProbe):
        raise TypeError("an encrypted probe is expanded")

    progress("searching")
    segments, slots = gallery.segments, gallery.slots
    search = shortest(lambda: owner.comparer.search(prepared, segments, slots), 3)
    batch_s = seconds(lambda: owner.comparer.search_many([prepared] * _BATCH, segments, slots), 1)
    plain_s = seconds(lambda: owner.comparer.search(weighed, segments, slots), 3)
    bounds = SearchBounds.measure(owner.comparer.profile, gallery, prepared)
    probe32 = probe.astype(np.float32)
    clear = shortest(lambda: gallery.vectors @ probe32)
    clear_read_gb_s = read_gb_s([gallery.vectors])
    cipherface = CipherFaceCosts.measure(gallery.vectors[0].astype(np.float64), probe)

    progress("decrypting and checking every score")
    answers = owner.comparer.search(prepared, segments, slots)

    us = search.wall_s / count * US
    in_the_clear = numpy_peer("X @ v", clear.wall_s / count * US)
    note = f"{search.busy_threads:.1f} threads busy, numpy {clear.busy_threads:.1f}"
    sheet.add("search, per template", us, "us", in_the_clear, note=note)
    bounds.add_to(sheet, search.wall_s)
    sheet.add(
        "numpy reads",
        gallery.vectors.nbytes / clear.wall_s / 1e9,
        "GB/s",
        Peer("pure read of the same bytes", clear_read_gb_s, sheet.threads),
    )
    sheet.add("search, whole gallery", search.wall_s * MS, "ms", numpy_peer("X @ v", clear.wall_s * MS))
    sheet.add(
        f"search, {_BATCH} probes in one pass, each",
        batch_s / _BATCH * MS,
        "ms",
        Peer("one probe at a time", search.wall_s * MS, sheet.threads),
    )
    sheet.add("search, plaintext probe, per template", plain_s / count * US, "us", in_the_clear)
    sheet.add(
        "one comparison inside the search", us, "us", CipherFaceCosts.time("one comparison", cipherface.compare_s * US)
    )
    sheet.add(
        "gallery bytes per template",
        gallery.segment_bytes / count,
        "bytes",
        CipherFaceCosts.size("template", cipherface.template_bytes),
    )
    sheet.add("probe", len(probe_bytes), "bytes", CipherFaceCosts.size("template", cipherface.template_bytes))
    sheet.add(
        "response per score",
        sum(map(len, answers)) / count,
        "bytes",
        CipherFaceCosts.size("score", cipherface.score_bytes),
    )
    sheet.add_errors(
        score_differences(owner, gallery, answers, probe), CipherFaceCosts.size("one score", cipherface.error)
    )
    return sheet
