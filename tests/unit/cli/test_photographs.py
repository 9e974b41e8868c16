from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilface.cli.photographs import people_in, subject_id
from veilface.common.errors import InvalidArgumentError
from veilface.common.names import SubjectName


def fill(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"image")


def people(folder: Path) -> dict[str, list[str]]:
    return {person.subject: [image.name for image in person.images] for person in people_in(folder)}


def test_a_folder_per_person(tmp_path: Path) -> None:
    fill(tmp_path, "Ada Lovelace/b.png", "Ada Lovelace/a.JPG", "bob/1.webp", "bob/notes.txt", "empty/readme.md")
    assert people(tmp_path) == {"Ada_Lovelace": ["a.JPG", "b.png"], "bob": ["1.webp"]}


def test_a_file_name_prefix_per_person(tmp_path: Path) -> None:
    fill(tmp_path, "ada_1.jpg", "ada_02.jpg", "bob-3.jpg", "Aaron_Eckhart_0001.jpg", "img12.jpg", ".hidden_1.jpg")
    assert people(tmp_path) == {
        "Aaron_Eckhart": ["Aaron_Eckhart_0001.jpg"],
        "ada": ["ada_02.jpg", "ada_1.jpg"],
        "bob": ["bob-3.jpg"],
        "img12": ["img12.jpg"],
    }


@pytest.mark.parametrize(
    "names",
    [(), ("readme.txt",), ("ada/1.jpg", "bob_1.jpg"), ("Zoë/1.jpg", "Zoe/1.jpg")],
    ids=["nothing", "no photographs", "folders and files", "one id for two names"],
)
def test_folders_that_leave_doubt_are_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    fill(tmp_path, *names)
    with pytest.raises(InvalidArgumentError):
        people_in(tmp_path)


@given(st.text(min_size=1, max_size=200))
def test_a_made_subject_id_is_always_a_subject_id(name: str) -> None:
    try:
        made = subject_id(name)
    except InvalidArgumentError:
        assert not any(sign.isascii() and sign.isalnum() for sign in name)
        return
    assert SubjectName("staff", made).subject == made


@pytest.mark.parametrize("name", ["ada", "Ada.Lovelace@example-1"])
def test_a_name_that_is_an_id_stays_as_it_is(name: str) -> None:
    assert subject_id(name) == name
