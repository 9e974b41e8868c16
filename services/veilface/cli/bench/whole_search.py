"""Bulk import into a real local stack, and whole searches of what was imported, with where their time goes."""

import numpy as np

from veilface.cli.bench.machine import read_bandwidth_gb_s
from veilface.cli.bench.measurement import MS, US, Peer, Sheet, progress
from veilface.cli.bench.peers import CipherFaceCosts, numpy_peer
from veilface.cli.bench.stack_gallery import WholeSearch, stack_gallery
from veilface.cli.bench.subjects import one_segment_differences
from veilface.cli.bench.timing import seconds
from veilface.client.imports import ImportReport
from veilface.client.steps import Service

_WARM_SEARCHES = 5


def measure_whole_search(profile: str, count: int, dim: int, memory_budget_bytes: int | None) -> Sheet:
    """Import `count` random embeddings into a stack in a temporary folder and search them."""
    sheet = Sheet(profile, count, dim)
    target = count // 2
    with stack_gallery(profile, count, dim, memory_budget_bytes) as gallery:
        probe = gallery.probe(target)
        with gallery.stack.client() as client:
            progress("searching")
            first = gallery.search(client, probe, target)
            warm = [gallery.search(client, probe, target) for _ in range(_WARM_SEARCHES)]
        best = min(warm, key=lambda search: search.seconds)
        vectors, single = gallery.vectors, gallery.probe_vector(target).astype(np.float32)
        numpy_s = seconds(lambda: int(np.argmax(vectors @ single)), 3)
        theirs = CipherFaceCosts.measure(vectors[0].astype(np.float64), gallery.probe_vector(target))
        _add_import(sheet, gallery.report, theirs)
        _add_search(sheet, best, numpy_s)
        _add_first_search(sheet, first, best)
        _add_traffic(sheet, best, theirs)
        gallery.add_memory(sheet)
    differences = one_segment_differences(profile, count, dim)
    sheet.add_errors(
        differences,
        CipherFaceCosts.size("one score", theirs.error),
        note="of one segment under a throwaway key: the stack's key service lets no score out",
    )
    return sheet


def _add_import(sheet: Sheet, report: ImportReport, theirs: CipherFaceCosts) -> None:
    segments, encrypt_s = report.segment_count, theirs.encrypt_s
    sheet.add(
        "import, encrypted and stored",
        report.seconds,
        "s",
        theirs.times_n("encryption", encrypt_s, report.enrollment_count, 1.0),
        note="through the matching service, durable; CipherFace's encryption stores nothing",
    )
    sheet.add(
        "import, per template",
        report.seconds / report.enrollment_count * US,
        "us",
        theirs.time("encryption", encrypt_s * US),
    )
    sheet.add("import, a segment encrypted", report.encrypt_s / segments * MS, "ms")
    sheet.add("import, a segment sent and stored", report.send_s / segments * MS, "ms")
    sheet.add(
        "gallery on disk, per template",
        report.sent_bytes / report.enrollment_count,
        "bytes",
        theirs.size("template", theirs.template_bytes),
    )


def _add_search(sheet: Sheet, best: WholeSearch, numpy_s: float) -> None:
    statistics = best.identification.statistics
    expand_s, score_s = statistics.expand_time.total_seconds(), statistics.score_time.total_seconds()
    matching_s = best.step(Service.MATCHING).milliseconds / MS
    decide_s = best.step(Service.KEYS).milliseconds / MS
    sheet.add("whole search, warm", best.seconds * MS, "ms", numpy_peer("argmax(X @ v)", numpy_s * MS))
    sheet.add("  expand", expand_s * MS, "ms")
    sheet.add("  score", score_s * MS, "ms")
    sheet.add("  load, sign and transfer", (matching_s - expand_s - score_s) * MS, "ms", note="rest of SearchGallery")
    sheet.add("  decide", decide_s * MS, "ms")
    sheet.add("  client", (best.seconds - matching_s - decide_s) * MS, "ms")
    sheet.add(
        "  score, reads",
        statistics.gallery_bytes / score_s / 1e9,
        "GB/s",
        Peer("pure read of 1 GiB", read_bandwidth_gb_s(), sheet.threads),
    )
    sheet.add("  segments from memory", statistics.segments_from_memory, f"of {statistics.segment_count:,}")
    sheet.add("  segments from disk", statistics.segments_from_disk, f"of {statistics.segment_count:,}")


def _add_first_search(sheet: Sheet, first: WholeSearch, best: WholeSearch) -> None:
    directories = first.step(Service.MATCHING).received_bytes - best.step(Service.MATCHING).received_bytes
    note = "opens every segment and sends the directories"
    sheet.add("whole search, the first one", first.seconds * MS, "ms", note=note)
    sheet.add("directories of the first search", directories, "bytes")


def _add_traffic(sheet: Sheet, best: WholeSearch, theirs: CipherFaceCosts) -> None:
    matching, keys = best.step(Service.MATCHING), best.step(Service.KEYS)
    sheet.add("SearchGallery, received", matching.received_bytes, "bytes")
    sheet.add(
        "SearchGallery, received per score",
        matching.received_bytes / sheet.n,
        "bytes",
        theirs.size("score", theirs.score_bytes),
    )
    sheet.add("SearchGallery, sent", matching.sent_bytes, "bytes", theirs.size("template", theirs.template_bytes))
    sheet.add("DecideIdentification, sent", keys.sent_bytes, "bytes")
