from datetime import timedelta
from pathlib import Path

import pytest

from veilface.cli.demo.collection import Pair
from veilface.cli.demo.exchange import summarize_calls, summarize_sights
from veilface.cli.demo.findings import Findings, PairFinding, SearchFinding
from veilface.cli.demo.plan import Search, plan_gallery
from veilface.client.matching import SearchStatistics
from veilface.client.results import Candidate, Identification, Verification
from veilface.client.steps import Payload, PayloadKind, Service, Step
from veilface.common.errors import FailedPreconditionError, Reason

NOTHING = SearchStatistics(
    enrollment_count=0,
    segment_count=0,
    expand_time=timedelta(),
    score_time=timedelta(),
    gallery_bytes=0,
    segments_from_memory=0,
    segments_from_disk=0,
    segments_from_cache=0,
    segments_rebuilt=0,
)


def pair(is_mated: bool, is_match: bool) -> PairFinding:
    verification = Verification(is_match=is_match, threshold_profile="m/balanced", steps=())
    return PairFinding(Pair(Path("a"), Path("b"), is_mated), verification)


def search(subject: str | None, found: str | None) -> SearchFinding:
    candidates = (Candidate(rank=1, subject=found, enrollment="galleries/g/enrollments/1"),) if found else ()
    identification = Identification(
        candidates=candidates, threshold_profile="m/balanced", score_count=3, statistics=NOTHING, steps=()
    )
    return SearchFinding(Search(Path("a"), subject), identification)


def findings(pairs: list[PairFinding], searches: list[SearchFinding]) -> Findings:
    return Findings(plan_gallery({}), pairs, (), searches, (), (), "m/balanced")


def test_error_rates_are_shares_of_their_own_kind_of_pair() -> None:
    made = findings([pair(True, True), pair(True, False), *[pair(False, False)] * 3, pair(False, True)], [])
    assert made.fnmr == 1 / 2
    assert made.fmr == 1 / 4
    assert made.accuracy == 4 / 6
    assert not made.all_right


def test_identification_rates_tell_known_people_from_strangers() -> None:
    made = findings([], [search("ada", "ada"), search("bob", "ada"), search("cyd", None), search(None, "ada")])
    assert made.rank_1_rate == pytest.approx(1 / 3)
    assert made.fpir == 1.0


def test_everything_right_is_all_right() -> None:
    made = findings([pair(True, True), pair(False, False)], [search("ada", "ada"), search(None, None)])
    assert made.all_right
    assert (made.accuracy, made.fmr, made.fnmr, made.rank_1_rate, made.fpir) == (1.0, 0.0, 0.0, 1.0, 0.0)


def test_nothing_asked_is_not_all_right() -> None:
    made = findings([], [])
    assert not made.all_right
    assert made.accuracy is None


def test_a_photograph_that_cannot_be_used_is_not_all_right() -> None:
    error = FailedPreconditionError(Reason.NO_FACE, "there is no face")
    made = Findings(plan_gallery({}), [pair(True, True)], (), (), ((Path("a"), error),), (), "m/balanced")
    assert not made.all_right


def test_calls_are_summed_up_by_method_and_sights_by_service() -> None:
    template = Payload(PayloadKind.TEMPLATE, 1, 100, "aa" * 8)
    scores = Payload(PayloadKind.SCORES, 2, 50, "bb" * 8)
    steps = [
        Step(Service.MATCHING, "CompareTemplates", milliseconds, 10, 20, (template,), (scores,))
        for milliseconds in (1.0, 9.0, 2.0)
    ]
    (calls,) = summarize_calls(steps)
    assert (calls.count, calls.milliseconds, calls.sent_bytes) == (3, 2.0, 10)
    shown, made = summarize_sights(steps)
    assert (shown.kind, shown.count, shown.total_bytes, shown.is_made) == (PayloadKind.TEMPLATE, 3, 300, False)
    assert (made.kind, made.count, made.total_bytes, made.is_made) == (PayloadKind.SCORES, 6, 150, True)
