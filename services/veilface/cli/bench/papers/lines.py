"""Rows as measurements: the same JSON lines as every other benchmark, and a few fields more."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from veilface.cli.bench.measurement import Measurement, against
from veilface.cli.bench.papers.rows import SIZES, Quantity, Reading, Row, SearchRow
from veilface.crypto.public.packed.parallel import worker_count

_MS = 1e3


def json_lines(row: Row | SearchRow, beside: Row | None) -> Iterator[str]:
    """One JSON object per number: the fields of `Measurement`, then scheme, profile, security_bits and extrapolated."""
    for measurement, is_extrapolated in _row(row, beside) if isinstance(row, Row) else _search(row):
        document: dict[str, Any] = asdict(measurement) | {
            "scheme": row.scheme,
            "profile": row.profile,
            "security_bits": row.security_bits,
            "extrapolated": is_extrapolated,
        }
        yield json.dumps(document)


def _row(row: Row, beside: Row | None) -> Iterator[tuple[Measurement, bool]]:
    for quantity, reading in row.readings.items():
        factor, unit = _unit(quantity)
        measurement = Measurement(
            f"{row.name}, {quantity}",
            reading.value * factor,
            unit,
            dim=row.dim,
            threads=worker_count(),
            note=_note(reading, row.dim),
        )
        if beside is not None and beside.readings[quantity].value > 0:
            measurement = against(measurement, beside.profile, beside.readings[quantity].value * factor)
        yield measurement, reading.extrapolated


def _search(row: SearchRow) -> Iterator[tuple[Measurement, bool]]:
    common: dict[str, Any] = {"n": row.count, "dim": row.dim, "threads": worker_count()}
    checked = "all integer scores equal numpy's" if row.exact else "not all integer scores equal numpy's"
    note = "; ".join(part for part in (_note(row.peer_s, row.dim), "" if row.exact is None else checked) if part)
    wall = Measurement(f"{row.profile}, search, per template", row.us_per_template, "us", note=note, **common)
    cpu = Measurement(
        f"{row.profile}, search, CPU time per template", row.cpu_us_per_template, "us", note=note, **common
    )
    error = Measurement(f"{row.profile}, search, largest cosine error", row.largest_error, "cosine", **common)
    yield against(wall, row.peer, row.peer_s.value * 1e6), row.peer_s.extrapolated
    yield against(cpu, row.peer, row.peer_cpu_s.value * 1e6), row.peer_cpu_s.extrapolated
    yield error, False


def _unit(quantity: Quantity) -> tuple[float, str]:
    if quantity in SIZES:
        return 1.0, "bytes"
    return (1.0, "cosine") if quantity is Quantity.ERROR else (_MS, "ms")


def _note(reading: Reading, dim: int) -> str:
    return f"extrapolated from {reading.measured_dim} of {dim} dimensions" if reading.extrapolated else ""
