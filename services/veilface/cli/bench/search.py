"""1:N: the multiply-add over a whole gallery, beside numpy on the same embeddings in the clear."""

import numpy as np

from veilface.cli.bench.machine import peak_resident_gib, read_bandwidth_gb_s
from veilface.cli.bench.measurement import Measurement, against, progress, seconds
from veilface.cli.bench.peers import CipherFace
from veilface.cli.bench.subjects import subject, synthetic_gallery
from veilface.crypto.contract import TemplateSpace, TemplateUse
from veilface.crypto.public.packed.parallel import worker_count

_BATCH = 8


def measure_search(profile: str, count: int, dim: int) -> list[Measurement]:
    """Search `count` templates of `dim` dimensions; the error is against float64 over every score."""
    owner = subject(profile)
    gallery = synthetic_gallery(owner, count, dim)
    space = TemplateSpace(dim)
    threads = worker_count()
    target = gallery.vectors[count // 2].astype(np.float64)
    probe = target + 0.5 * gallery.vectors[0]
    probe /= np.linalg.norm(probe)
    probe_bytes = owner.encryptor.encrypt(probe, space, TemplateUse.PROBE)
    prepared = owner.comparer.prepare_probe(probe_bytes, space)

    progress("searching")
    search_s = seconds(lambda: owner.comparer.search(prepared, gallery.segments, gallery.slots), 3)
    probe32 = probe.astype(np.float32)
    numpy_s = seconds(lambda: gallery.vectors @ probe32, 5)
    batch_s = seconds(lambda: owner.comparer.search_many([prepared] * _BATCH, gallery.segments, gallery.slots), 1)
    plain = owner.encryptor.encrypt(probe, space, TemplateUse.PLAINTEXT_PROBE)
    weighed = owner.comparer.prepare_probe(plain, space, TemplateUse.PLAINTEXT_PROBE)
    plain_s = seconds(lambda: owner.comparer.search(weighed, gallery.segments, gallery.slots), 3)
    answers = owner.comparer.search(prepared, gallery.segments, gallery.slots)
    bandwidth = read_bandwidth_gb_s()
    bytes_per_s = gallery.segment_bytes / search_s / 1e9

    cipherface = CipherFace()
    one = cipherface.encrypt(target)
    comparison_us = seconds(lambda: cipherface.compare(one, one), 3) * 1e6

    progress("decrypting and checking every score")
    found = np.concatenate(
        [
            owner.decrypter.decrypt(answer, space, len(slots))
            for answer, slots in zip(answers, gallery.slots, strict=True)
        ]
    )
    expected = np.concatenate([part.astype(np.float64) @ probe for part in np.array_split(gallery.vectors, 64)])
    errors = np.abs(found - expected)
    us = search_s / count * 1e6
    return [
        against(
            Measurement(
                "search, per template",
                us,
                "us",
                n=count,
                dim=dim,
                threads=threads,
                note=f"{bytes_per_s:.1f} of {bandwidth:.1f} GB/s that this machine reads",
            ),
            "numpy float32 X @ v",
            numpy_s / count * 1e6,
        ),
        Measurement("search, whole gallery", search_s * 1e3, "ms", n=count, dim=dim, threads=threads),
        against(
            Measurement(
                f"search, {_BATCH} probes in one pass, per probe",
                batch_s / _BATCH * 1e3,
                "ms",
                n=count,
                dim=dim,
                threads=threads,
            ),
            "one probe at a time",
            search_s * 1e3,
        ),
        against(
            Measurement(
                "search with a plaintext probe, per template",
                plain_s / count * 1e6,
                "us",
                n=count,
                dim=dim,
                threads=threads,
            ),
            "numpy float32 X @ v",
            numpy_s / count * 1e6,
        ),
        against(
            Measurement("one comparison inside the search", us, "us", n=count, dim=dim, threads=threads),
            f"{cipherface.name}, one comparison",
            comparison_us,
        ),
        Measurement(
            "gallery bytes per template", gallery.segment_bytes / count, "bytes", n=count, dim=dim, threads=threads
        ),
        Measurement("probe", len(probe_bytes), "bytes", n=count, dim=dim, threads=threads),
        Measurement("response per score", sum(map(len, answers)) / count, "bytes", n=count, dim=dim, threads=threads),
        Measurement("largest error against float64", float(errors.max()), "cosine", n=count, dim=dim, threads=threads),
        Measurement(
            "root mean square error", float(np.sqrt(np.mean(errors**2))), "cosine", n=count, dim=dim, threads=threads
        ),
        Measurement("peak resident memory", peak_resident_gib(), "GiB", n=count, dim=dim, threads=threads),
    ]
