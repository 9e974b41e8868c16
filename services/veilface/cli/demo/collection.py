"""Photographs, who is on them, and the questions to ask about them."""

import csv
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from veilface.cli.photographs import people_in
from veilface.common.errors import InvalidArgumentError, Reason
from veilface.keys.domain.policy import Quotas

PAIR_FILE = "master.csv"

# As many as the policy that keys are created with allows on one day.
_MOST_PAIRS_PER_REFERENCE = Quotas().answers_per_target
_MOST_SEARCHES_PER_PERSON = Quotas().matches_per_candidate

_DECISIONS = {"yes": True, "no": False}


@dataclass(frozen=True, slots=True)
class Pair:
    """Two photographs, and whether they show the same person."""

    reference: Path
    probe: Path
    is_mated: bool


@dataclass(frozen=True, slots=True)
class Search:
    """A photograph to identify, and who should be found: None for nobody."""

    probe: Path
    subject: str | None


@dataclass(frozen=True, slots=True)
class Collection:
    """Photographs with the truth about them.

    Attributes:
        origin: Where they come from, for people.
        subject_of: Who is on each photograph.
        pairs: The 1:1 questions.
        enrolled: The photographs to enroll for the 1:N questions, at most one per person.
        searches: The 1:N questions.
    """

    origin: str
    subject_of: Mapping[Path, str]
    pairs: tuple[Pair, ...]
    enrolled: tuple[Path, ...]
    searches: tuple[Search, ...]

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
    """Ask about photographs: the pairs given, else as many as a key's policy allows, and searches.

    Raises:
        InvalidArgumentError: INVALID_FIELD if there are fewer than two photographs.
    """
    if len(subject_of) < 2:
        raise InvalidArgumentError(Reason.INVALID_FIELD, f"{origin}: at least two photographs are needed")
    enrolled, searches = _plan_searches(subject_of)
    return Collection(origin, subject_of, tuple(_all_pairs(subject_of) if pairs is None else pairs), enrolled, searches)


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
    return {path: min(others, key=_natural).stem for path, others in together.items()}


def _all_pairs(subject_of: Mapping[Path, str]) -> list[Pair]:
    paths = sorted(subject_of)
    candidates = [
        Pair(first, second, subject_of[first] == subject_of[second]) for first, second in combinations(paths, 2)
    ]
    taken: Counter[Path] = Counter()
    pairs = []
    # Mated pairs first: there are fewer of them.
    for pair in sorted(candidates, key=lambda pair: not pair.is_mated):
        if taken[pair.reference] < _MOST_PAIRS_PER_REFERENCE:
            taken[pair.reference] += 1
            pairs.append(pair)
    return pairs


def _plan_searches(subject_of: Mapping[Path, str]) -> tuple[tuple[Path, ...], tuple[Search, ...]]:
    images: dict[str, list[Path]] = {}
    for path in sorted(subject_of, key=_natural):
        images.setdefault(subject_of[path], []).append(path)
    several = {subject: paths for subject, paths in images.items() if len(paths) > 1}
    # Of people with a single photograph every other one is enrolled; the rest are strangers, whom nobody must match.
    single = [(subject, paths[0]) for subject, paths in images.items() if len(paths) == 1]
    enrolled = [paths[0] for paths in several.values()] + [path for _, path in single[::2]]
    searches = [
        Search(path, subject) for subject, paths in several.items() for path in paths[1 : 1 + _MOST_SEARCHES_PER_PERSON]
    ]
    searches += [Search(path, None) for _, path in single[1::2]]
    return tuple(enrolled), tuple(searches)


def _natural(path: Path) -> tuple[int, str]:
    return len(path.name), path.name
