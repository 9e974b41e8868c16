"""One measurement beside its peer's, and the sheet that the measurements of one run are put on."""

import sys
import time
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from veilface.cli.bench.machine import peak_resident_gib
from veilface.crypto.public.packed.parallel import worker_count

MS = 1e3
US = 1e6


@dataclass(frozen=True, slots=True)
class Peer:
    """What a number stands beside.

    Attributes:
        name: What it is.
        value: In the unit of the measurement.
        threads: How many threads the peer may use; None where threads mean nothing, as for sizes.
        extrapolated: Whether one of it was measured and multiplied.
    """

    name: str
    value: float
    threads: int | None = None
    extrapolated: bool = False

    def label(self, threads: int) -> str:
        """The name, with what the value rests on; beside a measurement on so many threads."""
        parts = [self.name]
        if self.threads not in (None, threads):
            parts.append(f"{self.threads} thread{'s' if self.threads != 1 else ''}")
        if self.extrapolated:
            parts.append("extrapolated")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Measurement:
    """One number beside its peer's, taken in the same run.

    Attributes:
        name: What was measured.
        value: In `unit`.
        unit: Of both values.
        peer: What it is compared with, and on how many threads if not as many; empty if with nothing.
        peer_value: The peer's number; None without a peer.
        ratio: value / peer_value: below 1 is better than the peer for costs and sizes, above 1 for rates. None without
            a peer, or where the peer's number is zero.
        n: How many templates.
        dim: Dimensions.
        threads: How many threads both sides may use, unless the peer says otherwise.
        profile: The parameter profile; empty where rows of several profiles say so elsewhere.
        note: What else is worth knowing, for people.
    """

    name: str
    value: float
    unit: str
    peer: str = ""
    peer_value: float | None = None
    ratio: float | None = None
    n: int = 1
    dim: int = 0
    threads: int = 1
    profile: str = ""
    note: str = ""

    @property
    def is_rate(self) -> bool:
        """Whether more of it is better."""
        return self.unit.endswith(("/s", "per s"))

    def beside(self, peer: Peer) -> Self:
        """The same measurement beside a peer; where their threads differ, the note says the ratio per thread."""
        ratio = self.value / peer.value if peer.value else None
        note = self.note
        if ratio is not None and peer.threads not in (None, self.threads):
            more_threads = self.threads / (peer.threads or 1)
            # A cost per thread grows with the threads that were spent, a rate per thread shrinks.
            per_thread = f"per thread {comparison(ratio / more_threads if self.is_rate else ratio * more_threads)}"
            note = f"{note}; {per_thread}" if note else per_thread
        return replace(self, peer=peer.label(self.threads), peer_value=peer.value, ratio=ratio, note=note)


@dataclass(slots=True)
class Sheet:
    """The measurements of one run.

    Attributes:
        profile: The parameter profile.
        n: How many templates.
        dim: Dimensions.
        threads: How many threads veilface may use.
        rows: What was measured, in the order in which it is shown.
    """

    profile: str
    n: int
    dim: int
    threads: int = field(default_factory=worker_count)
    rows: list[Measurement] = field(default_factory=list)
    _started_s: float = field(default_factory=time.perf_counter)

    def add(
        self,
        name: str,
        value: float,
        unit: str,
        peer: Peer | None = None,
        *,
        n: int | None = None,
        threads: int | None = None,
        note: str = "",
    ) -> None:
        """Add a row, of the run's n and threads unless it has its own."""
        row = Measurement(
            name,
            value,
            unit,
            n=self.n if n is None else n,
            dim=self.dim,
            threads=self.threads if threads is None else threads,
            profile=self.profile,
            note=note,
        )
        self.rows.append(row if peer is None else row.beside(peer))

    def add_errors(self, differences: NDArray[np.float64], peer: Peer | None = None, *, note: str = "") -> None:
        """Add the rows of how far scores are from those of float64.

        Args:
            differences: Of the cosines, any shape.
            peer: Its largest error.
            note: Which scores, where they are not those of the run.
        """
        errors = np.abs(differences)
        count = errors.size
        self.add("largest error against float64", float(errors.max()), "cosine", peer, n=count, note=note)
        if count > 1:
            self.add("root mean square error", float(np.sqrt(np.mean(errors**2))), "cosine", n=count)

    def finish(self) -> None:
        """Add the rows that every run ends with."""
        self.add("peak resident memory, this process", peak_resident_gib(), "GiB")
        self.add("wall time of this run", time.perf_counter() - self._started_s, "s")


def comparison(ratio: float) -> str:
    """A ratio for people."""
    if ratio <= 0:
        return "0 x"
    times, before = (ratio, "") if ratio >= 0.5 else (1 / ratio, "1 / ")
    digits = 0 if times >= 100 else 1 if times >= 10 or before else 2
    return f"{before}{times:,.{digits}f}{'' if before else ' x'}"


def progress(message: str) -> None:
    """Say on stderr what a long step is doing."""
    sys.stderr.write(message + "\n")
    sys.stderr.flush()
