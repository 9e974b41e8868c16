"""Searches per second: many callers at once beside one at a time, through gRPC and mutual TLS."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from veilface.cli.bench.machine import read_bandwidth_gb_s
from veilface.cli.bench.measurement import MS, Peer, Sheet, progress
from veilface.cli.bench.peers import CipherFaceCosts, numpy_peer
from veilface.cli.bench.stack_gallery import StackGallery, stack_gallery
from veilface.cli.bench.subjects import one_segment_differences
from veilface.cli.bench.timing import seconds
from veilface.client import VeilfaceClient
from veilface.common.attested import SignedTemplate


@dataclass(frozen=True, slots=True)
class _Load:
    """Searches that were made.

    Attributes:
        wall_s: From the first one's start to the last one's end.
        latencies_s: Of each search.
    """

    wall_s: float
    latencies_s: Sequence[float]

    @property
    def per_second(self) -> float:
        return len(self.latencies_s) / self.wall_s

    def latency_ms(self, percent: float) -> float:
        return float(np.percentile(self.latencies_s, percent)) * MS


@dataclass(frozen=True, slots=True)
class _Caller:
    """Someone with a connection and a probe of their own."""

    client: VeilfaceClient
    probe: SignedTemplate
    target: int

    def search(self, gallery: StackGallery, times: int) -> list[float]:
        return [gallery.search(self.client, self.probe, self.target).seconds for _ in range(times)]


def measure_throughput(
    profile: str, count: int, dim: int, *, callers: int, searches: int, memory_budget_bytes: int | None
) -> Sheet:
    """Let `callers` search a gallery of `count` templates at once, `searches` times each, every one checked."""
    sheet = Sheet(profile, count, dim)
    with stack_gallery(profile, count, dim, memory_budget_bytes) as gallery:
        targets = [number * count // callers for number in range(callers)]
        progress(f"searching one at a time, then with {callers} callers")
        alone, together = _measure(gallery, targets, searches)
        gallery_bytes = gallery.report.sent_bytes
        single = gallery.probe_vector(0).astype(np.float32)
        numpy_s = seconds(lambda: int(np.argmax(gallery.vectors @ single)), 3)
        theirs = CipherFaceCosts.measure(gallery.vectors[0].astype(np.float64), gallery.probe_vector(0))
        _add_load(sheet, alone, together, callers)
        sheet.add(
            "searches per second, one at a time", alone.per_second, "per s", numpy_peer("argmax(X @ v)", 1 / numpy_s)
        )
        sheet.add(
            f"comparisons per second, {callers} callers",
            together.per_second * count,
            "per s",
            theirs.time("comparisons", 1 / theirs.compare_s),
        )
        sheet.add(
            f"gallery bytes scored, {callers} callers",
            together.per_second * gallery_bytes / 1e9,
            "GB/s",
            Peer("pure read of 1 GiB", read_bandwidth_gb_s(), sheet.threads),
            note="may exceed what memory delivers: searches that wait together share a pass",
        )
        sheet.add("gallery bytes per template", gallery_bytes / count, "bytes")
        gallery.add_memory(sheet)
    sheet.add_errors(
        one_segment_differences(profile, count, dim),
        theirs.size("one score", theirs.error),
        note="of one segment under a throwaway key: the stack's key service lets no score out",
    )
    return sheet


def _measure(gallery: StackGallery, targets: Sequence[int], searches: int) -> tuple[_Load, _Load]:
    crowd = [_Caller(gallery.stack.client(), gallery.probe(target), target) for target in targets]
    try:
        for caller in crowd:
            # Opens connections, loads segments and fetches directories.
            caller.search(gallery, 1)
        begin_s = time.perf_counter()
        latencies_s = crowd[0].search(gallery, searches)
        alone = _Load(time.perf_counter() - begin_s, latencies_s)
        return alone, _all_at_once(gallery, crowd, searches)
    finally:
        for caller in crowd:
            caller.client.close()


def _all_at_once(gallery: StackGallery, crowd: Sequence[_Caller], searches: int) -> _Load:
    start = threading.Barrier(len(crowd) + 1)

    def work(caller: _Caller) -> list[float]:
        start.wait()
        return caller.search(gallery, searches)

    with ThreadPoolExecutor(len(crowd)) as pool:
        running = [pool.submit(work, caller) for caller in crowd]
        start.wait()
        begin_s = time.perf_counter()
        latencies_s = [latency_s for future in running for latency_s in future.result()]
    return _Load(time.perf_counter() - begin_s, latencies_s)


def _add_load(sheet: Sheet, alone: _Load, together: _Load, callers: int) -> None:
    sheet.add(
        f"searches per second, {callers} callers",
        together.per_second,
        "per s",
        Peer("one at a time", alone.per_second),
        note=f"{len(together.latencies_s):,} searches; the callers are threads of one process on this machine",
    )
    for name, percent in (("median", 50), ("95th percentile", 95)):
        sheet.add(
            f"latency, {name}, {callers} callers",
            together.latency_ms(percent),
            "ms",
            Peer("one at a time", alone.latency_ms(percent)),
        )
