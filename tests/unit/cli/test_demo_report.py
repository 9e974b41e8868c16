"""What a person reads at the end of the demo."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from veilface.cli.demo.collection import Pair, collection
from veilface.cli.demo.findings import Findings, PairFinding
from veilface.cli.demo.plan import plan_gallery
from veilface.cli.demo.report import document, tables
from veilface.client.results import Verification
from veilface.common.errors import FailedPreconditionError, Reason, VeilfaceError

PHOTOGRAPHS = {Path(f"{person}/{number}.jpg"): person for person in ("ada", "bob") for number in range(10)}
NO_FACE = (Path("ada/0.jpg"), FailedPreconditionError(Reason.NO_FACE, "there is no face"))
WIDTH = 100


def findings(decisions: list[tuple[bool, bool]], failed: list[tuple[Path, VeilfaceError]]) -> Findings:
    made = []
    for number, (is_mated, is_match) in enumerate(decisions):
        pair = Pair(Path(f"ada/{number}.jpg"), Path(f"{'ada' if is_mated else 'bob'}/{number}.jpg"), is_mated)
        made.append(PairFinding(pair, Verification(is_match=is_match, threshold_profile="m/balanced", steps=())))
    return Findings(plan_gallery({}), made, (), (), failed, (), "m/balanced")


def text(made: Findings) -> str:
    written = io.StringIO()
    console = Console(file=written, width=WIDTH)
    for renderable in tables(collection("people", PHOTOGRAPHS), made, 12.3):
        console.print(renderable)
    return written.getvalue()


@pytest.mark.parametrize(
    ("decisions", "failed", "verdict"),
    [
        ([(True, True)], [], "every decision was right"),
        ([(True, False)], [], "1 decision was wrong"),
        ([(True, False), (False, True)], [NO_FACE], "2 decisions were wrong"),
        ([(True, True)], [NO_FACE], "every decision was right, but 1 photograph could not be used"),
        ([], [NO_FACE], "nothing was decided: 1 photograph could not be used"),
    ],
)
def test_the_verdict_says_what_was_not_right(
    decisions: list[tuple[bool, bool]], failed: list[tuple[Path, VeilfaceError]], verdict: str
) -> None:
    made = findings(decisions, failed)
    assert verdict in text(made)
    assert document(collection("people", PHOTOGRAPHS), made, 12.3)["all_right"] == (
        verdict == "every decision was right"
    )


def test_of_many_decisions_every_wrong_one_is_shown_and_both_kinds_are() -> None:
    right = [(number % 2 == 0, number % 2 == 0) for number in range(40)]
    shown = text(findings([*right, (True, False)], []))
    assert "13 of 41 shown" in shown
    assert shown.count("wrong") == 2, "the row, and the verdict"
    assert {"same", "different"} <= set(shown.split())


def test_titles_are_not_broken() -> None:
    decisions = [(True, True)] * 40
    (title,) = [line for line in text(findings(decisions, [])).splitlines() if line.startswith("Same person?")]
    assert title.strip() == "Same person? 12 of 40 shown"
