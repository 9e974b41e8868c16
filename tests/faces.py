"""Labelled pairs of photographs: which files show the same person.

The folder in VEILFACE_TEST_FACES, else ../shared/data/faces beside the repository, holds the photographs and a
master.csv (file_x, file_y, Decision). Without one, the portraits from packages are paired.
"""

import csv
import os
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from tests.portraits import portrait_files

REPOSITORY = Path(__file__).resolve().parent.parent
MASTER = "master.csv"
SHARED = REPOSITORY.parent / "shared" / "data" / "faces"
SHARED_PAIRS = 300


@dataclass(frozen=True, slots=True)
class Pair:
    """Two photographs and whether they show the same person."""

    first: Path
    second: Path
    mated: bool


@dataclass(frozen=True, slots=True)
class LabelledFaces:
    """A set of photographs.

    Attributes:
        origin: Which set it is, for people.
        pairs: Its labelled pairs.
    """

    origin: str
    pairs: tuple[Pair, ...]

    @property
    def photographs(self) -> tuple[Path, ...]:
        """Every file that is in a pair, sorted."""
        return tuple(sorted({path for pair in self.pairs for path in (pair.first, pair.second)}))

    @property
    def people(self) -> tuple[tuple[Path, ...], ...]:
        """The photographs by person, as the mated pairs tell; each group sorted, the groups by their first file."""
        person: dict[Path, set[Path]] = {path: {path} for path in self.photographs}
        for pair in self.pairs:
            if pair.mated:
                together = person[pair.first] | person[pair.second]
                for path in together:
                    person[path] = together
        groups = {tuple(sorted(group)) for group in person.values()}
        return tuple(sorted(groups))


def faces_folder() -> Path | None:
    """The folder with photographs and master.csv; None if there is none.

    Raises:
        RuntimeError: If VEILFACE_TEST_FACES names a folder without a master.csv.
    """
    named = os.environ.get("VEILFACE_TEST_FACES")
    if named:
        if not (Path(named) / MASTER).is_file():
            raise RuntimeError(f"VEILFACE_TEST_FACES is {named}, which holds no {MASTER}")
        return Path(named)
    return SHARED if (SHARED / MASTER).is_file() else None


def labelled_faces() -> LabelledFaces:
    """The photographs of the folder, or else the portraits from packages.

    Raises:
        RuntimeError: If pairs are missing in the folder beside the repository.
    """
    folder = faces_folder()
    if folder is None:
        return packaged_faces()
    with (folder / MASTER).open(newline="") as file:
        pairs = tuple(
            Pair(folder / row["file_x"], folder / row["file_y"], row["Decision"] == "Yes")
            for row in csv.DictReader(file)
        )
    if folder == SHARED and len(pairs) != SHARED_PAIRS:
        raise RuntimeError(f"{folder} has {len(pairs)} labelled pairs, not {SHARED_PAIRS}")
    return LabelledFaces(f"{len(pairs)} labelled pairs in {folder.name}", pairs)


def packaged_faces() -> LabelledFaces:
    """All pairs of the portraits from packages."""
    pairs = tuple(
        Pair(first, second, person == other)
        for (first, person), (second, other) in combinations(portrait_files().items(), 2)
    )
    return LabelledFaces(f"{len(pairs)} pairs of portraits from packages", pairs)
