from collections import Counter
from pathlib import Path

import pytest

from veilface.cli.demo.plan import Search, plan_gallery


def photographs(people: int, each: int) -> dict[Path, str]:
    return {Path(f"{person}/{number}.jpg"): str(person) for person in range(people) for number in range(1, each + 1)}


def test_the_first_photograph_of_each_person_is_enrolled_and_the_others_identified() -> None:
    plan = plan_gallery(photographs(2, 3))
    assert plan.enrolled == {"0": Path("0/1.jpg"), "1": Path("1/1.jpg")}
    assert plan.searches == tuple(
        Search(Path(f"{person}/{number}.jpg"), person) for person in ("0", "1") for number in (2, 3)
    )


def test_the_tenth_photograph_comes_after_the_second() -> None:
    plan = plan_gallery({Path("ada/10.jpg"): "ada", Path("ada/2.jpg"): "ada"})
    assert plan.enrolled == {"ada": Path("ada/2.jpg")}


def test_every_other_person_with_one_photograph_stays_a_stranger() -> None:
    plan = plan_gallery({Path(f"{name}.jpg"): name for name in ("ada", "bob", "cyd", "dee")})
    assert plan.enrolled == {"ada": Path("ada.jpg"), "cyd": Path("cyd.jpg")}
    assert plan.searches == (Search(Path("bob.jpg"), None), Search(Path("dee.jpg"), None))


@pytest.mark.parametrize("people", [2, 3, 5, 8, 9])
def test_everybody_is_falsely_claimed_to_be_somebody_and_nobody_far_more_often_than_others(people: int) -> None:
    plan = plan_gallery(photographs(people, 13))
    false = Counter(claim.subject for claim in plan.claims if not claim.is_mated)
    assert sum(false.values()) == len(plan.searches)
    assert set(false) == set(plan.enrolled)
    assert max(false.values()) <= 2 * min(false.values())


def test_a_claim_is_true_exactly_if_the_photograph_shows_the_subject() -> None:
    shown = photographs(3, 4)
    plan = plan_gallery(shown)
    assert {claim.is_mated for claim in plan.claims} == {True, False}
    assert all(claim.is_mated == (shown[claim.probe] == claim.subject) for claim in plan.claims)


def test_of_nobody_nothing_is_asked() -> None:
    plan = plan_gallery({})
    assert (plan.enrolled, plan.searches, plan.claims) == ({}, (), ())
