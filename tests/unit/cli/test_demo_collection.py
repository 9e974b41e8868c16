from pathlib import Path

import pytest

from veilface.cli.demo.collection import PAIR_FILE, Collection, Pair, collection, collection_from_folder
from veilface.common.errors import InvalidArgumentError

PAIRS = """file_x,file_y,Decision
1.jpg,2.jpg,Yes
2.jpg,3.jpg,yes
4.jpg,5.jpg,Yes
1.jpg,4.jpg,No
6.jpg,1.jpg,No
"""


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    for number in range(1, 7):
        (tmp_path / f"{number}.jpg").write_bytes(b"image")
    (tmp_path / PAIR_FILE).write_text(PAIRS)
    return tmp_path


def named(made: Collection) -> set[tuple[str, str, bool]]:
    return {(pair.reference.name, pair.probe.name, pair.is_mated) for pair in made.pairs}


def test_labelled_pairs_are_asked_as_they_are(flat: Path) -> None:
    assert named(collection_from_folder(flat)) == {
        ("1.jpg", "2.jpg", True),
        ("2.jpg", "3.jpg", True),
        ("4.jpg", "5.jpg", True),
        ("1.jpg", "4.jpg", False),
        ("6.jpg", "1.jpg", False),
    }


def test_people_are_what_mated_pairs_connect(flat: Path) -> None:
    made = collection_from_folder(flat)
    assert {path.name: subject for path, subject in made.subject_of.items()} == {
        "1.jpg": "1",
        "2.jpg": "1",
        "3.jpg": "1",
        "4.jpg": "4",
        "5.jpg": "4",
        "6.jpg": "6",
    }


def test_all_pairs_of_a_folder_of_folders_are_asked(tmp_path: Path) -> None:
    for name in ("ada/1.jpg", "ada/2.jpg", "bob/1.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"image")
    made = collection_from_folder(tmp_path)
    ada_1, ada_2, bob_1 = tmp_path / "ada/1.jpg", tmp_path / "ada/2.jpg", tmp_path / "bob/1.jpg"
    assert set(made.pairs) == {Pair(ada_1, ada_2, True), Pair(ada_1, bob_1, False), Pair(ada_2, bob_1, False)}
    assert made.label(ada_1) == "ada/1.jpg"


def test_of_very_many_pairs_an_even_choice_is_asked() -> None:
    photographs = {Path(f"{person:02}/{number}.jpg"): str(person) for person in range(30) for number in range(10)}
    made = collection("three hundred photographs", photographs)
    mated = [pair for pair in made.pairs if pair.is_mated]
    assert len(made.pairs) <= 2000
    assert len(set(made.pairs)) == len(made.pairs)
    assert len(mated) >= 500
    assert all(pair.is_mated == (photographs[pair.reference] == photographs[pair.probe]) for pair in made.pairs)
    for kind in (mated, [pair for pair in made.pairs if not pair.is_mated]):
        asked_about = {photographs[path] for pair in kind for path in (pair.reference, pair.probe)}
        assert asked_about == set(photographs.values())


def test_labelled_pairs_are_all_asked_however_often_one_photograph_is_among_them(flat: Path) -> None:
    lines = ["file_x,file_y,Decision"]
    for number in range(7, 47):
        (flat / f"{number}.jpg").write_bytes(b"image")
        lines.append(f"1.jpg,{number}.jpg,No")
    (flat / PAIR_FILE).write_text("\n".join(lines))
    assert len(collection_from_folder(flat).pairs) == 40


@pytest.mark.parametrize(
    "content",
    [
        "file_x,file_y\n1.jpg,2.jpg\n",
        "file_x,file_y,Decision\n1.jpg,2.jpg,perhaps\n",
        "file_x,file_y,Decision\n1.jpg\n",
        "file_x,file_y,Decision\n1.jpg,missing.jpg,Yes\n",
        "file_x,file_y,Decision\n1.jpg,../outside.jpg,Yes\n",
        "file_x,file_y,Decision\n",
    ],
    ids=["no decisions", "unclear decision", "short line", "missing file", "outside of the folder", "no pairs"],
)
def test_pairs_that_cannot_be_read_are_refused(flat: Path, content: str) -> None:
    (flat.parent / "outside.jpg").write_bytes(b"image")
    (flat / PAIR_FILE).write_text(content)
    with pytest.raises(InvalidArgumentError):
        collection_from_folder(flat)
