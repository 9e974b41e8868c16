"""Photographs with the truth about them: labelled pairs, or people, every pair of whose photographs is one."""

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from veilface.cli.demo.collection import PAIR_FILE, Pair, collection_from_folder
from veilface.common.errors import InvalidArgumentError, Reason


@dataclass(frozen=True, slots=True)
class Dataset:
    """Labelled photographs.

    Attributes:
        origin: The name of the folder.
        photographs: Sorted.
        subjects: Who is on each, as far as the labels tell.
        pairs: The pairs to compare.
    """

    origin: str
    photographs: tuple[Path, ...]
    subjects: tuple[str, ...]
    pairs: tuple[Pair, ...]

    @property
    def description(self) -> str:
        """ "300 labelled pairs of 25 photographs of 9 people (38 mated) in faces"."""
        mated = sum(pair.is_mated for pair in self.pairs)
        people = len(set(self.subjects))
        return (
            f"{len(self.pairs)} labelled pairs of {len(self.photographs)} photographs of {people} people "
            f"({mated} mated) in {self.origin}"
        )

    def without(self, photographs: frozenset[Path]) -> "Dataset":
        """The rest of it."""
        kept = [position for position, path in enumerate(self.photographs) if path not in photographs]
        return Dataset(
            self.origin,
            tuple(self.photographs[position] for position in kept),
            tuple(self.subjects[position] for position in kept),
            tuple(pair for pair in self.pairs if not photographs & {pair.reference, pair.probe}),
        )

    def indices(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The positions of the pairs' photographs, each of shape (pairs,)."""
        position = {path: number for number, path in enumerate(self.photographs)}
        first = np.array([position[pair.reference] for pair in self.pairs], dtype=np.intp)
        second = np.array([position[pair.probe] for pair in self.pairs], dtype=np.intp)
        return first, second

    def truth(self) -> NDArray[np.bool_]:
        """Whether each pair is mated, shape (pairs,)."""
        return np.array([pair.is_mated for pair in self.pairs], dtype=np.bool_)

    def require_both_kinds(self) -> None:
        """Raise InvalidArgumentError INVALID_FIELD without a mated and a non-mated pair."""
        mated = sum(pair.is_mated for pair in self.pairs)
        if not 0 < mated < len(self.pairs):
            raise InvalidArgumentError(
                Reason.INVALID_FIELD,
                f"{self.origin} has {mated} mated and {len(self.pairs) - mated} non-mated pairs that can be compared: "
                "at least one of each is needed",
            )


def dataset_from_folder(folder: Path) -> Dataset:
    """A flat folder with a master.csv of labelled pairs, or photographs by person, of which all pairs are taken.

    Raises:
        InvalidArgumentError: INVALID_FIELD if the folder is neither.
    """
    found = collection_from_folder(folder)
    photographs = found.photographs
    if (folder / PAIR_FILE).is_file():
        pairs = found.pairs
    else:
        pairs = tuple(
            Pair(first, second, found.subject_of[first] == found.subject_of[second])
            for first, second in combinations(photographs, 2)
        )
    subjects = tuple(found.subject_of[path] for path in photographs)
    return Dataset(folder.resolve().name, photographs, subjects, pairs)
