"""Photographs, who is on them, and the pairs of them to compare."""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations, islice
from math import ceil, comb
from pathlib import Path

from veilface.cli.demo.plan import natural_order
from veilface.cli.photographs import people_in
from veilface.common.errors import InvalidArgumentError, Reason

PAIR_FILE = "master.csv"

# Well below a minute's work, at most half of it on mated pairs. Labelled pairs are all asked.
_MOST_PAIRS = 2000

_DECISIONS = {"yes": True, "no": False}


@dataclass(frozen=True, slots=True)
class Pair:
    """Two photographs, and whether they show the same person."""

    reference: Path
    probe: Path
    is_mated: bool


@dataclass(frozen=True, slots=True)
class Collection:
    """Photographs with the truth about them.

    Attributes:
        origin: Where they come from, for people.
        subject_of: Who is on each photograph.
        pairs: Those to compare.
    """

    origin: str
    subject_of: Mapping[Path, str]
    pairs: tuple[Pair, ...]

    @property
    def photographs(self) -> tuple[Path, ...]:
        """All photographs, in order of their names."""
        return tuple(sorted(self.subject_of))

    @property
    def subjects(self) -> frozenset[str]:
        """The people."""
        return frozenset(self.subject_of.values())

    def label(self, photograph: Path) -> str:
        """How to call a photograph: by its file, and its folder if there are several."""
        folders = {path.parent for path in self.subject_of}
        return photograph.name if len(folders) == 1 else f"{photograph.parent.name}/{photograph.name}"


def collection_from_folder(folder: Path) -> Collection:
    """A folder of person folders, or a flat one with a master.csv of labelled pairs.

    Raises:
        InvalidArgumentError: INVALID_FIELD if the folder is neither, or the pairs cannot be read.
    """
    if (folder / PAIR_FILE).is_file():
        pairs = _read_pairs(folder)
        return collection(f"{len(pairs)} labelled pairs in {folder}", _people_of_pairs(pairs), pairs)
    subject_of = {image: person.subject for person in people_in(folder) for image in person.images}
    return collection(f"the people in {folder}", subject_of)


def collection(origin: str, subject_of: Mapping[Path, str], pairs: Iterable[Pair] | None = None) -> Collection:
    """Photographs with the pairs given, else with all pairs of them, or an even choice if there are very many.

    Raises:
        InvalidArgumentError: INVALID_FIELD if there are fewer than two photographs.
    """
    if len(subject_of) < 2:
        raise InvalidArgumentError(Reason.INVALID_FIELD, f"{origin}: at least two photographs are needed")
    return Collection(origin, subject_of, tuple(_choose_pairs(subject_of) if pairs is None else pairs))


def _read_pairs(folder: Path) -> list[Pair]:
    path = folder / PAIR_FILE
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return [_pair(folder, row) for row in csv.DictReader(file)]
    except (KeyError, AttributeError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidArgumentError(
            Reason.INVALID_FIELD, f"{path} has no columns file_x, file_y and Decision (Yes or No) in every line"
        ) from error


def _pair(folder: Path, row: Mapping[str, str]) -> Pair:
    paths = [folder / row[column].strip() for column in ("file_x", "file_y")]
    for path in paths:
        if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
            raise InvalidArgumentError(
                Reason.INVALID_FIELD, f"{folder / PAIR_FILE} names {path.name}, which is not there"
            )
    return Pair(paths[0], paths[1], _DECISIONS[row["Decision"].strip().lower()])


def _people_of_pairs(pairs: Iterable[Pair]) -> dict[Path, str]:
    together: dict[Path, set[Path]] = {}
    for pair in pairs:
        for path in (pair.reference, pair.probe):
            together.setdefault(path, {path})
        if pair.is_mated:
            union = together[pair.reference] | together[pair.probe]
            for path in union:
                together[path] = union
    return {path: min(others, key=natural_order).stem for path, others in together.items()}


def _choose_pairs(subject_of: Mapping[Path, str]) -> list[Pair]:
    people: dict[str, list[Path]] = {}
    for path in sorted(subject_of):
        people.setdefault(subject_of[path], []).append(path)
    mated = [Pair(*pair, is_mated=True) for paths in people.values() for pair in combinations(paths, 2)]
    mated = mated[:: _stride(len(mated), _MOST_PAIRS // 2)]
    step = _stride(comb(len(subject_of), 2), _MOST_PAIRS - len(mated))
    others = [
        Pair(*pair, is_mated=False)
        for pair in islice(combinations(sorted(subject_of), 2), 0, None, step)
        if subject_of[pair[0]] != subject_of[pair[1]]
    ]
    return mated + others


def _stride(count: int, most: int) -> int:
    return max(1, ceil(count / most))
