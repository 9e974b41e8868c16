"""Who is on which photograph of a folder."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from veilface.common.errors import InvalidArgumentError, Reason

IMAGE_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp"))

_NUMBERED = re.compile(r"(?P<name>.+?)[ _.-]+\d+")
_NOT_ALLOWED = re.compile(r"[^A-Za-z0-9._@-]+")


@dataclass(frozen=True, slots=True)
class Person:
    """A person and the photographs of them.

    Attributes:
        subject: The subject id made of the folder's or the files' name.
        images: In order of their names, at least one.
    """

    subject: str
    images: tuple[Path, ...]


def people_in(folder: Path) -> list[Person]:
    """The people of a folder, by their names: one folder each, or files named "name_1.jpg", "name_2.jpg".

    Raises:
        InvalidArgumentError: INVALID_FIELD if there are no photographs, if photographs lie both in folders and beside
            them, or if two names make the same subject id.
    """
    beside = images_in(folder)
    folders = [(each.name, images_in(each)) for each in sorted(folder.iterdir()) if each.is_dir()]
    filled = [(name, images) for name, images in folders if images]
    if beside and filled:
        raise InvalidArgumentError(
            Reason.INVALID_FIELD,
            f"{folder} has photographs in folders and beside them ({beside[0].name}): use one folder per person",
        )
    named = filled or list(_by_prefix(beside).items())
    if not named:
        raise InvalidArgumentError(
            Reason.INVALID_FIELD, f"there are no photographs ({', '.join(sorted(IMAGE_SUFFIXES))}) in {folder}"
        )
    _check_distinct(name for name, _ in named)
    return [Person(subject_id(name), tuple(images)) for name, images in named]


def images_in(folder: Path) -> list[Path]:
    """The photographs in a folder, by their names; hidden files are left out."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file() and not path.name.startswith(".")
    )


def subject_id(name: str) -> str:
    """A subject id that reads like a name: accents go, other signs than letters, digits and ".-_@" become "_".

    Raises:
        InvalidArgumentError: INVALID_FIELD if nothing is left of it.
    """
    plain = "".join(sign for sign in unicodedata.normalize("NFKD", name) if not unicodedata.combining(sign))
    made = _NOT_ALLOWED.sub("_", plain).strip("_")[:128]
    if not made:
        raise InvalidArgumentError(
            Reason.INVALID_FIELD, f"{name!r} has no letters or digits of ASCII to make a subject id of: rename it"
        )
    return made


def _by_prefix(images: Iterable[Path]) -> dict[str, list[Path]]:
    people: dict[str, list[Path]] = {}
    for image in images:
        numbered = _NUMBERED.fullmatch(image.stem)
        people.setdefault(numbered["name"] if numbered else image.stem, []).append(image)
    return people


def _check_distinct(names: Iterable[str]) -> None:
    seen: dict[str, str] = {}
    for name in names:
        made = subject_id(name)
        if made in seen:
            raise InvalidArgumentError(
                Reason.INVALID_FIELD, f"{seen[made]!r} and {name!r} both make the subject id {made}: rename one of them"
            )
        seen[made] = name
