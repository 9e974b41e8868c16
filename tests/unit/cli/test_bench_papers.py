"""The papers' tables: real cells of a few dimensions, and how made-up ones are shown."""

import json
import math
import re
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Run
from veilface.cli.bench.measurement import Sheet
from veilface.cli.bench.papers.lightphe import PublishedScheme, measure_dot_product
from veilface.cli.bench.papers.lines import closing_lines, json_lines
from veilface.cli.bench.papers.one_to_many import search_additive, search_packed
from veilface.cli.bench.papers.one_to_one import measure_row
from veilface.cli.bench.papers.plot import draw
from veilface.cli.bench.papers.rows import LIGHTPHE, VEILFACE, Quantity, Reading, Row, SearchRow
from veilface.cli.bench.papers.run import DIMENSIONS, PACKED_PROFILES, Papers
from veilface.cli.bench.papers.table import show
from veilface.cli.bench.parties import make_party
from veilface.crypto.contract import Scheme
from veilface.crypto.public.ckks_tenseal.profiles import PROFILES as TENSEAL_PROFILES
from veilface.crypto.public.phe.profiles import PROFILES as PHE_PROFILES
from veilface.crypto.public.phe.profiles import phe_profile

CAP_S = 0.01
# The fields of every benchmark's lines.
CONTRACT = {"name", "value", "unit", "peer", "peer_value", "ratio", "n", "dim", "threads", "profile", "note"}


def row(scheme: Scheme, profile: str, bits: int, dim: int, *, system: str = VEILFACE, measured_dim: int = 0) -> Row:
    readings = {quantity: Reading(1e-3 if quantity is Quantity.ERROR else 2.0) for quantity in Quantity}
    readings[Quantity.COMPARISON] = Reading(0.25, measured_dim)
    return Row(scheme.value, profile, system, bits, dim, readings)


def search_row(scheme: Scheme, profile: str, dim: int, *, exact: bool | None) -> SearchRow:
    return SearchRow(scheme.value, profile, 112, dim, 1000, 4.0, 8.0, 1e-4, exact, "a peer", Reading(2.0), Reading(2.0))


def closing_sheet() -> Sheet:
    sheet = Sheet("", 1, 128)
    sheet.finish()
    return sheet


@pytest.fixture
def papers() -> Papers:
    made = Papers(DIMENSIONS, CAP_S)
    for dim in DIMENSIONS:
        for bits in (128, 192, 256):
            made.rows.append(row(Scheme.CKKS_PACKED, f"ckks-packed-{bits}", bits, dim))
        made.rows.append(row(Scheme.CKKS_TENSEAL, "ckks-tenseal-192-defensive", 128, dim))
        made.rows.append(row(Scheme.PAILLIER, "paillier-112", 112, dim))
        made.rows.append(row(Scheme.PAILLIER, "paillier-112", 112, dim, system=LIGHTPHE, measured_dim=32))
        made.searches.append(search_row(Scheme.CKKS_PACKED, "ckks-packed-128", dim, exact=None))
        made.searches.append(search_row(Scheme.PAILLIER, "paillier-112", dim, exact=True))
    return made


def test_a_cell_of_the_search_engine_is_measured_with_its_error() -> None:
    party = make_party(Scheme.CKKS_PACKED, "ckks-packed-128", CAP_S)
    measured = measure_row(party, 128, 16, CAP_S)
    assert set(measured.readings) == set(Quantity)
    assert 0 < measured.readings[Quantity.ERROR].value < 1e-3
    assert measured.readings[Quantity.TEMPLATE].value == 98_336
    search = search_packed(party, 128, 2, CAP_S)
    assert search.exact is None
    assert search.largest_error < 1e-3


def test_a_search_of_an_additive_scheme_is_exact_and_stands_beside_lightphe() -> None:
    party = make_party(Scheme.PAILLIER, "paillier-80", CAP_S)
    search = search_additive(party, 80, 8, CAP_S)
    assert search.exact
    assert 0 < search.largest_error < 2e-3

    dot = measure_dot_product(party, 32, CAP_S)

    assert search.beside("LightPHE's own @", dot.wall_s, dot.cpu_s).times_cheaper > 1


def test_what_lightphe_did_on_fewer_dimensions_is_marked() -> None:
    published = PublishedScheme(phe_profile("paillier-80", research=True), 1e-6).measure(32)
    assert published.readings[Quantity.ERROR].value < 1e-3
    marked = {quantity for quantity, reading in published.readings.items() if reading.extrapolated}
    assert marked == {Quantity.ENCRYPTION, Quantity.COMPARISON, Quantity.ERROR}
    assert published.readings[Quantity.ERROR].measured_dim == 16


def test_additive_schemes_stand_beside_the_weakest_profile_that_is_strong_enough(papers: Papers) -> None:
    def beside(bits: int) -> str:
        found = papers.beside(row(Scheme.PAILLIER, "p", bits, 512))
        assert found is not None
        assert found.dim == 512
        return found.profile

    assert [beside(bits) for bits in (80, 112, 128, 192)] == [
        "ckks-packed-128",
        "ckks-packed-128",
        "ckks-packed-128",
        "ckks-packed-192",
    ]
    assert papers.beside(papers.rows[0]) is None


def test_lines_keep_the_contract_and_say_what_is_extrapolated(papers: Papers) -> None:
    for each in [*papers.rows, *papers.searches]:
        beside = papers.beside(each) if isinstance(each, Row) else None
        documents = [json.loads(line) for line in json_lines(each, beside)]
        assert documents
        for document in documents:
            assert document.keys() >= CONTRACT | {"scheme", "profile", "security_bits", "extrapolated"}
            assert document["extrapolated"] == ("extrapolated from" in document["note"])
    extrapolated = next(each for each in papers.rows if each.system == LIGHTPHE)
    noted = [json.loads(line) for line in json_lines(extrapolated, None) if json.loads(line)["extrapolated"]]
    assert [document["name"] for document in noted] == ["paillier-112 in LightPHE, comparison"]
    assert noted[0]["note"] == "extrapolated from 32 of 128 dimensions"


def test_the_tables_fit_100_columns_and_mark_what_is_extrapolated(
    papers: Papers, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    show(papers, closing_sheet())
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 100
    assert "…" not in printed
    assert "~250 ms" in printed
    assert "exact, error 1e-04" in printed
    assert printed.count("ckks-packed-256") == len(DIMENSIONS)
    assert re.search(r"wall time of this run: \S+ s", printed)


def test_a_search_that_is_not_exact_is_shown_as_such(papers: Papers, capsys: pytest.CaptureFixture[str]) -> None:
    papers.searches.append(search_row(Scheme.DAMGARD_JURIK, "damgard-jurik-112", 128, exact=False))
    show(papers, closing_sheet())
    assert "NOT EXACT" in capsys.readouterr().out


@pytest.mark.parametrize(("suffix", "beginning"), [(".png", b"\x89PNG"), (".svg", b"<?xml")])
def test_the_figure_is_drawn(papers: Papers, tmp_path: Path, suffix: str, beginning: bytes) -> None:
    path = tmp_path / f"papers{suffix}"
    draw(papers, path)
    assert path.read_bytes().startswith(beginning)


def test_the_lines_end_with_what_the_run_took() -> None:
    documents = [json.loads(line) for line in closing_lines(closing_sheet())]
    assert [document["name"] for document in documents] == [
        "peak resident memory, this process",
        "wall time of this run",
    ]
    for document in documents:
        assert document.keys() == CONTRACT | {"scheme", "security_bits", "extrapolated"}


@pytest.mark.full
def test_the_papers_tables_come_whole_from_one_command(veilface: Run) -> None:
    finished = veilface("bench", "papers", "--quick", "--cap", "0.1", "--json")
    assert finished.exit_code == 0
    documents = [json.loads(line) for line in finished.stdout.splitlines()]
    by_name = {document["name"]: document for document in documents}
    assert len(by_name) == len(documents)
    assert {document["dim"] for document in documents} == {128}

    additive = [name for profiles in PHE_PROFILES.values() for name in profiles]
    rows = [*PACKED_PROFILES, *TENSEAL_PROFILES, *additive, *(f"{name} in LightPHE" for name in additive)]
    assert (len(TENSEAL_PROFILES), len(additive), len(rows)) == (6, 9, 27)
    for row in rows:
        for quantity in Quantity:
            assert math.isfinite(by_name[f"{row}, {quantity}"]["value"]), (row, quantity)
    for profile in (*PACKED_PROFILES, *additive):
        assert by_name[f"{profile}, search, per template"]["ratio"] < 1
        assert by_name[f"{profile}, search, largest cosine error"]["value"] < 3e-3
    for profile in additive:
        assert "all integer scores equal numpy's" in by_name[f"{profile}, search, per template"]["note"]
        assert "not all" not in by_name[f"{profile}, search, per template"]["note"]
    per_search = 3
    assert len(documents) == len(rows) * len(Quantity) + (len(PACKED_PROFILES) + len(additive)) * per_search + 2
