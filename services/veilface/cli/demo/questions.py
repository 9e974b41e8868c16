"""The questions of the demo, asked through the client."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from veilface.cli.demo.collection import Collection, Pair, Search
from veilface.cli.demo.findings import Findings, PairFinding, SearchFinding, SubjectFinding
from veilface.client import VeilfaceClient
from veilface.client.results import Enrolled, Photograph
from veilface.client.steps import Step
from veilface.common.attested import SignedTemplate
from veilface.common.errors import VeilfaceError
from veilface.crypto.contract import TemplateUse

GALLERY = "demo"
TOP_K = 3

Q = TypeVar("Q")
A = TypeVar("A")


class Progress(Protocol):
    """Shows how far a part has come: called with its name and its size, entered, and called after each item."""

    def __call__(self, what: str, total: int) -> AbstractContextManager[Callable[[], None]]:
        """Begin a part."""
        ...


@dataclass(slots=True)
class Interview:
    """Asks everything about a collection.

    Args:
        client: Whom to ask.
        collection: What to ask about.
        progress: Where to show how far it is.
    """

    client: VeilfaceClient
    collection: Collection
    progress: Progress
    steps: list[Step] = field(default_factory=list)
    failed: dict[Path, VeilfaceError] = field(default_factory=dict)

    def run(self) -> Findings:
        """Extract every photograph once for each side, compare the pairs, enroll, verify and identify.

        Raises:
            VeilfaceError: If a service fails; a photograph that cannot be used does not stop the others.
        """
        references = self._extract(self.collection.photographs, TemplateUse.REFERENCE)
        probes = self._extract(self.collection.photographs, TemplateUse.PROBE)
        pairs = self._compare(references, probes)
        self._enroll()
        subjects = self._verify(probes)
        searches = self._identify(probes)
        profiles = {finding.verification.threshold_profile for finding in pairs}
        return Findings(pairs, subjects, searches, tuple(self.failed.items()), self.steps, ", ".join(sorted(profiles)))

    def _extract(self, photographs: tuple[Path, ...], use: TemplateUse) -> dict[Path, SignedTemplate]:
        templates = {}
        with self.progress(f"extracting {use}s", len(photographs)) as advance:
            for position, extraction in self.client.extract_many(photographs, use):
                if isinstance(extraction, VeilfaceError):
                    self.failed[photographs[position]] = extraction
                else:
                    templates[photographs[position]] = extraction.faces[0].template
                    self.steps += extraction.steps
                advance()
        return templates

    def _compare(self, references: dict[Path, SignedTemplate], probes: dict[Path, SignedTemplate]) -> list[PairFinding]:
        asked = [pair for pair in self.collection.pairs if pair.reference in references and pair.probe in probes]
        return [*self._each("comparing pairs", asked, lambda pair: self._compare_pair(pair, references, probes))]

    def _compare_pair(
        self, pair: Pair, references: dict[Path, SignedTemplate], probes: dict[Path, SignedTemplate]
    ) -> PairFinding:
        verification = self.client.compare_templates(references[pair.reference], probes[pair.probe])
        self.steps += verification.steps
        return PairFinding(pair, verification)

    def _enroll(self) -> None:
        self.client.galleries.create(GALLERY)
        photographs = [
            Photograph(image=path, subject=self.collection.subject_of[path])
            for path in self.collection.enrolled
            if path not in self.failed
        ]
        with self.progress("enrolling", len(photographs)) as advance:
            for outcome in self.client.enroll_many(GALLERY, photographs):
                if isinstance(outcome.result, Enrolled):
                    self.steps += outcome.result.steps
                else:
                    raise outcome.result
                advance()

    def _verify(self, probes: dict[Path, SignedTemplate]) -> list[SubjectFinding]:
        enrolled = sorted({self.collection.subject_of[path] for path in self.collection.enrolled})
        asked = []
        for search in self.collection.searches:
            if search.probe not in probes:
                continue
            others = [subject for subject in enrolled if subject != search.subject]
            if search.subject is not None:
                asked.append((search.probe, search.subject, True))
            if others:
                asked.append((search.probe, others[len(asked) % len(others)], False))
        return [*self._each("verifying", asked, lambda each: self._verify_subject(*each, probes))]

    def _verify_subject(
        self, probe: Path, subject: str, is_mated: bool, probes: dict[Path, SignedTemplate]
    ) -> SubjectFinding:
        verification = self.client.verify_template(GALLERY, subject, probes[probe])
        self.steps += verification.steps
        return SubjectFinding(probe, subject, is_mated, verification)

    def _identify(self, probes: dict[Path, SignedTemplate]) -> list[SearchFinding]:
        asked = [search for search in self.collection.searches if search.probe in probes]
        return [*self._each("identifying", asked, lambda search: self._identify_one(search, probes))]

    def _identify_one(self, search: Search, probes: dict[Path, SignedTemplate]) -> SearchFinding:
        identification = self.client.identify_template(GALLERY, probes[search.probe], top_k=TOP_K)
        self.steps += identification.steps
        return SearchFinding(search, identification)

    def _each(self, what: str, questions: Iterable[Q], ask: Callable[[Q], A]) -> Iterator[A]:
        questions = tuple(questions)
        with self.progress(what, len(questions)) as advance:
            for question in questions:
                yield ask(question)
                advance()
