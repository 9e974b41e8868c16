from pathlib import Path

import numpy as np
import pytest

from veilface.cli.evaluation.dataset import dataset_from_folder
from veilface.cli.evaluation.run import chosen_pairs
from veilface.common.errors import InvalidArgumentError


@pytest.fixture
def people(tmp_path: Path) -> Path:
    for name in ("ada/1.jpg", "ada/2.jpg", "ben/1.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return tmp_path


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "master.csv").write_text("file_x,file_y,Decision\na.jpg,b.jpg,Yes\na.jpg,c.jpg,No\n")
    return tmp_path


def test_of_people_all_pairs_are_taken(people: Path) -> None:
    dataset = dataset_from_folder(people)
    assert [pair.is_mated for pair in dataset.pairs] == [True, False, False]
    assert dataset.subjects == ("ada", "ada", "ben")
    assert dataset.description.startswith("3 labelled pairs of 3 photographs of 2 people (1 mated) in ")


def test_of_more_pairs_than_a_days_quota_none_is_left_out(tmp_path: Path) -> None:
    for number in range(60):
        (tmp_path / f"ada_{number}.jpg").write_bytes(b"")
    assert len(dataset_from_folder(tmp_path).pairs) == 60 * 59 // 2


def test_labelled_pairs_are_taken_as_they_are(pairs: Path) -> None:
    dataset = dataset_from_folder(pairs)
    assert [(pair.reference.name, pair.probe.name, pair.is_mated) for pair in dataset.pairs] == [
        ("a.jpg", "b.jpg", True),
        ("a.jpg", "c.jpg", False),
    ]


def test_indices_point_to_the_photographs(pairs: Path) -> None:
    dataset = dataset_from_folder(pairs)
    first, second = dataset.indices()
    assert [dataset.photographs[position].name for position in first] == ["a.jpg", "a.jpg"]
    assert [dataset.photographs[position].name for position in second] == ["b.jpg", "c.jpg"]
    assert dataset.truth().tolist() == [True, False]


def test_the_pairs_of_an_unusable_photograph_are_left_out(people: Path) -> None:
    rest = dataset_from_folder(people).without(frozenset({people / "ada" / "1.jpg"}))
    assert [(pair.reference.name, pair.is_mated) for pair in rest.pairs] == [("2.jpg", False)]
    assert rest.subjects == ("ada", "ben")
    with pytest.raises(InvalidArgumentError, match="0 mated and 1 non-mated"):
        rest.require_both_kinds()


def test_few_pairs_are_all_chosen() -> None:
    assert chosen_pairs(np.array([True, False, False]), 3).tolist() == [0, 1, 2]


def test_of_many_pairs_a_sample_with_both_kinds_is_chosen_and_always_the_same() -> None:
    is_mated = np.arange(10_000) % 50 == 0
    chosen = chosen_pairs(is_mated, 100)
    assert chosen.tolist() == chosen_pairs(is_mated, 100).tolist() == sorted(set(chosen.tolist()))
    assert is_mated[chosen].sum() == 50
    assert is_mated[chosen_pairs(is_mated, 1000)].sum() == 200
