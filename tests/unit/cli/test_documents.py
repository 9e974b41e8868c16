"""The JSON that scripts rely on: one document on standard output, nothing else there."""

from pathlib import Path

import pytest

from tests.unit.cli.conftest import Run
from tests.unit.client.fakes import Fakes
from tests.unit.client.test_client import segment
from veilface.cli.exit_codes import ExitCode


@pytest.fixture
def photograph(tmp_path: Path) -> str:
    path = tmp_path / "visitor.jpg"
    path.write_bytes(b"visitor")
    return str(path)


def test_verify_tells_the_decision_and_every_step(veilface: Run, fakes: Fakes, photograph: str) -> None:
    document = veilface("verify", "staff", "ada", photograph, "--json").document
    assert set(document) == {
        "gallery",
        "subject",
        "image",
        "decision",
        "threshold_profile",
        "milliseconds",
        "steps",
    }
    assert document["decision"] == "match"
    assert [step["service"] for step in document["steps"]] == ["matching", "embedding", "matching", "keys"]
    assert set(document["steps"][-1]) == {
        "service",
        "call",
        "milliseconds",
        "sent_bytes",
        "received_bytes",
        "sent",
        "received",
    }
    (shown,) = document["steps"][-1]["sent"]
    assert (shown["kind"], shown["bytes"], shown["excerpt"]) == ("encrypted scores", 100, "00" * 8)


def test_identify_ranks_candidates(veilface: Run, fakes: Fakes, photograph: str) -> None:
    fakes.matching.segments = [segment(0, "a", 7, ["ada", "bob", "cyd"])]
    fakes.keys.positions = ((0, 1), (0, 2))
    document = veilface("identify", "staff", photograph, "--top", "2", "--json").document
    assert document["decision"] == "match"
    assert document["candidates"] == [
        {"rank": 1, "subject": "bob", "enrollment": "galleries/staff/enrollments/8"},
        {"rank": 2, "subject": "cyd", "enrollment": "galleries/staff/enrollments/9"},
    ]


def test_identify_tells_how_many_candidates_were_left_out(veilface: Run, fakes: Fakes, photograph: str) -> None:
    fakes.matching.segments = [segment(0, "a", 7, ["ada", "bob", "cyd"])]
    assert veilface("identify", "staff", photograph, "--json").document["withheld_candidates"] == 0
    fakes.keys.withheld_candidates = 2
    assert veilface("identify", "staff", photograph, "--json").document["withheld_candidates"] == 2


def test_compare_names_both_sides(veilface: Run, fakes: Fakes, photograph: str) -> None:
    document = veilface("compare", photograph, photograph, "--json").document
    assert document["reference"] == document["probe"] == photograph
    assert document["decision"] == "match"


def test_no_document_holds_a_template(veilface: Run, fakes: Fakes, photograph: str) -> None:
    finished = veilface("enroll", "staff", photograph, "--subject", "ada", "--json")
    assert finished.document["enrolled_count"] == 1
    assert fakes.matching.enrolled[0].template.ciphertext == b"of:visitor"
    assert "of:visitor" not in finished.stdout


def test_keys_are_described_with_their_fingerprints(veilface: Run, fakes: Fakes) -> None:
    created = veilface("keys", "create", "staff", "--json").document
    assert created == veilface("keys", "show", "staff", "--json").document
    assert created in veilface("keys", "list", "--json").document["keys"]
    assert created["versions"][0]["public_key_sha256"] == "00" * 32


def test_a_key_that_is_there_is_kept_as_it_is_if_only_a_missing_one_is_to_be_made(veilface: Run, fakes: Fakes) -> None:
    exact = ("--profile", "ckks-packed-exact")
    assert veilface("keys", "create", "default", *exact).exit_code == ExitCode.REFUSED
    kept = veilface("keys", "create", "default", *exact, "--if-missing", "--json")
    assert kept.exit_code == ExitCode.DONE
    assert kept.document == veilface("keys", "show", "default", "--json").document
    assert kept.document["profile"] == "ckks-packed-128"
    # The control: a missing one is made.
    assert veilface("keys", "create", "new", *exact, "--if-missing", "--json").document["profile"] == exact[1]


def test_a_profile_that_misses_the_level_it_is_named_for_says_so(veilface: Run, fakes: Fakes) -> None:
    profile = "ckks-tenseal-192-defensive"
    created = veilface("keys", "create", "old", "--scheme", "ckks-tenseal", "--profile", profile)
    assert "it reaches 128 bits" in created.stdout
    shown = veilface("keys", "show", "old")
    assert "128 bits: CipherFace" in shown.stdout
    assert "00" * 32 in shown.stdout
    assert "does not reach 192 bits" in shown.stdout
    document = veilface("keys", "show", "old", "--json").document
    assert (document["profile"], document["security_bits"]) == (profile, 128)


def test_a_key_whose_profile_is_not_known_here_is_shown_without_its_facts(veilface: Run, fakes: Fakes) -> None:
    veilface("keys", "create", "newer", "--profile", "ckks-packed-of-tomorrow")
    document = veilface("keys", "show", "newer", "--json").document
    assert document["profile"] == "ckks-packed-of-tomorrow"
    assert "security_bits" not in document


def test_the_minimum_version_of_a_key_is_set_and_shown(veilface: Run, fakes: Fakes) -> None:
    veilface("keys", "rotate", "default", "--galleries", "none")
    updated = veilface("keys", "update", "default", "--minimum-version", "2", "--json").document
    assert (updated["primary_version"], updated["minimum_version"]) == (2, 2)
    assert "minimum version" in veilface("keys", "show", "default").stdout


def test_bands_are_told_where_a_key_releases_them(veilface: Run, fakes: Fakes, photograph: str) -> None:
    fakes.keys.band = "strict"
    fakes.matching.segments = [segment(0, "a", 7, ["ada"])]
    fakes.keys.positions = ((0, 0),)
    assert veilface("verify", "staff", "ada", photograph, "--json").document["band"] == "strict"
    assert veilface("compare", photograph, photograph, "--json").document["band"] == "strict"
    (candidate,) = veilface("identify", "staff", photograph, "--json").document["candidates"]
    assert candidate["band"] == "strict"
    assert "passes strict" in veilface("verify", "staff", "ada", photograph).stdout
    assert "strict" in veilface("identify", "staff", photograph).stdout


def test_galleries_are_created_listed_shown_and_deleted(veilface: Run, fakes: Fakes) -> None:
    created = veilface("gallery", "create", "staff", "--json").document
    assert created["name"] == "galleries/staff"
    assert veilface("gallery", "show", "staff", "--json").document == created
    assert veilface("gallery", "list", "--json").document == {"galleries": [created]}
    deleted = veilface("gallery", "delete", "staff", "--yes", "--json").document
    assert deleted == {"name": "galleries/staff", "enrollment_count": 0}


def test_deleting_a_gallery_asks_first(veilface: Run, fakes: Fakes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("veilface.cli.output._somebody_is_there", lambda: True)
    finished = veilface("gallery", "delete", "staff")
    assert finished.exit_code == 130
    assert "Delete galleries/staff" in finished.stderr
    assert "deleted" not in finished.stdout


def test_models_are_listed(veilface: Run, fakes: Fakes) -> None:
    (model,) = veilface("models", "--json").document["models"]
    assert (model["name"], model["is_default"]) == ("fake/one/two", True)


@pytest.mark.parametrize(
    "arguments",
    [
        ("verify", "staff", "ada", "{photograph}", "--steps"),
        ("compare", "{photograph}", "{photograph}", "--steps"),
        ("identify", "staff", "{photograph}", "--steps"),
        ("enroll", "staff", "{photograph}", "--subject", "ada"),
        ("keys", "create", "mine"),
        ("keys", "list"),
        ("gallery", "show", "staff"),
        ("gallery", "list"),
        ("subject", "list", "staff"),
        ("models",),
    ],
)
def test_people_get_text_and_no_json(veilface: Run, fakes: Fakes, photograph: str, arguments: tuple[str, ...]) -> None:
    finished = veilface(*(argument.format(photograph=photograph) for argument in arguments))
    assert finished.exit_code in (0, 1)
    assert finished.stdout.strip()
    assert not finished.stdout.lstrip().startswith("{")
