"""Rows as measurements: the same JSON lines as every other benchmark, and a few fields more."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from veilface.cli.bench.measurement import MS, US, Measurement, Peer, Sheet
from veilface.cli.bench.papers.rows import SIZES, Quantity, Reading, Row, SearchRow
from veilface.crypto.public.packed.parallel import worker_count


def json_lines(row: Row | SearchRow, beside: Row | None) -> Iterator[str]:
    """One JSON object per number: the fields of `Measurement`, then scheme, profile, security_bits and extrapolated."""
    for measurement, is_extrapolated in _row(row, beside) if isinstance(row, Row) else _search(row):
        yield _line(measurement, row.scheme, row.security_bits, is_extrapolated)


def closing_lines(sheet: Sheet) -> Iterator[str]:
    """The rows of a finished sheet, which are of no scheme."""
    for measurement in sheet.rows:
        yield _line(measurement, "", 0, False)


def _line(measurement: Measurement, scheme: str, security_bits: int, is_extrapolated: bool) -> str:
    document: dict[str, Any] = asdict(measurement) | {
        "scheme": scheme,
        "security_bits": security_bits,
        "extrapolated": is_extrapolated,
    }
    return json.dumps(document)


def _row(row: Row, beside: Row | None) -> Iterator[tuple[Measurement, bool]]:
    for quantity, reading in row.readings.items():
        factor, unit = _unit(quantity)
        measurement = Measurement(
            f"{row.name}, {quantity}",
            reading.value * factor,
            unit,
            dim=row.dim,
            threads=worker_count(),
            profile=row.profile,
            note=_note(reading, row.dim),
        )
        if beside is not None and beside.readings[quantity].value > 0:
            measurement = measurement.beside(Peer(beside.profile, beside.readings[quantity].value * factor))
        yield measurement, reading.extrapolated


def _search(row: SearchRow) -> Iterator[tuple[Measurement, bool]]:
    common: dict[str, Any] = {"n": row.count, "dim": row.dim, "threads": worker_count(), "profile": row.profile}
    checked = "all integer scores equal numpy's" if row.exact else "not all integer scores equal numpy's"
    note = "; ".join(part for part in (_note(row.peer_s, row.dim), "" if row.exact is None else checked) if part)
    wall = Measurement(f"{row.profile}, search, per template", row.us_per_template, "us", note=note, **common)
    cpu = Measurement(
        f"{row.profile}, search, CPU time per template", row.cpu_us_per_template, "us", note=note, **common
    )
    error = Measurement(f"{row.profile}, search, largest cosine error", row.largest_error, "cosine", **common)
    yield wall.beside(Peer(row.peer, row.peer_s.value * US, 1)), row.peer_s.extrapolated
    yield cpu.beside(Peer(row.peer, row.peer_cpu_s.value * US)), row.peer_cpu_s.extrapolated
    yield error, False


def _unit(quantity: Quantity) -> tuple[float, str]:
    if quantity in SIZES:
        return 1.0, "bytes"
    return (1.0, "cosine") if quantity is Quantity.ERROR else (MS, "ms")


def _note(reading: Reading, dim: int) -> str:
    return f"extrapolated from {reading.measured_dim} of {dim} dimensions" if reading.extrapolated else ""
