"""Whom to enroll, and which 1:1 and 1:N questions to ask about the gallery, once it is known what can be used."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path

_MOST_SEARCHES_PER_PERSON = 12


@dataclass(frozen=True, slots=True)
class Search:
    """A photograph to identify, and who should be found: None for nobody."""

    probe: Path
    subject: str | None


@dataclass(frozen=True, slots=True)
class Claim:
    """A photograph that claims to show an enrolled subject, and whether it does."""

    probe: Path
    subject: str
    is_mated: bool


@dataclass(frozen=True, slots=True)
class GalleryPlan:
    """What to ask about a gallery.

    Attributes:
        enrolled: The photograph to enroll of each person.
        searches: The 1:N questions.
        claims: The 1:1 questions: the right person for each search, and somebody else in turn.
    """

    enrolled: Mapping[str, Path]
    searches: tuple[Search, ...]
    claims: tuple[Claim, ...]


def plan_gallery(subject_of: Mapping[Path, str]) -> GalleryPlan:
    """Enroll the first photograph of each person and ask about the others.

    Of people with a single photograph every other one is enrolled; the rest are strangers, whom nobody must match.

    Args:
        subject_of: Who is on each photograph that can be used.
    """
    images: dict[str, list[Path]] = {}
    for path in sorted(subject_of, key=natural_order):
        images.setdefault(subject_of[path], []).append(path)
    several = {subject: paths for subject, paths in images.items() if len(paths) > 1}
    single = [(subject, paths[0]) for subject, paths in images.items() if len(paths) == 1]
    enrolled = {subject: paths[0] for subject, paths in several.items()} | dict(single[::2])
    searches = [
        Search(path, subject) for subject, paths in several.items() for path in paths[1 : 1 + _MOST_SEARCHES_PER_PERSON]
    ]
    searches += [Search(path, None) for _, path in single[1::2]]
    return GalleryPlan(enrolled, tuple(searches), tuple(_claims(searches, sorted(enrolled))))


def natural_order(path: Path) -> tuple[int, str]:
    """A key to sort by that puts "2.jpg" before "10.jpg"."""
    return len(path.name), path.name


def _claims(searches: list[Search], enrolled: list[str]) -> list[Claim]:
    claims = []
    turn = count()
    for search in searches:
        if search.subject is not None:
            claims.append(Claim(search.probe, search.subject, is_mated=True))
        others = [subject for subject in enrolled if subject != search.subject]
        if others:
            claims.append(Claim(search.probe, others[next(turn) % len(others)], is_mated=False))
    return claims
