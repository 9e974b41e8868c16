"""The questions of the demo, asked through the client."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from veilface.cli.demo.collection import Collection, Pair
from veilface.cli.demo.findings import ClaimFinding, Findings, PairFinding, SearchFinding
from veilface.cli.demo.plan import Claim, GalleryPlan, Search, plan_gallery
from veilface.client import VeilfaceClient
from veilface.client.calls import Trail
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
        key: The key to ask under.
        collection: What to ask about.
        progress: Where to show how far it is.
    """

    client: VeilfaceClient
    key: str
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
        usable = {path: who for path, who in self.collection.subject_of.items() if path not in self.failed}
        plan = plan_gallery(usable)
        pairs = self._compare(references, probes)
        self._enroll(plan, references)
        claims = [*self._each("verifying", plan.claims, lambda claim: self._verify(claim, probes))]
        searches = [*self._each("identifying", plan.searches, lambda search: self._identify(search, probes))]
        profiles = {finding.verification.threshold_profile for finding in pairs}
        return Findings(
            plan, pairs, claims, searches, tuple(self.failed.items()), self.steps, ", ".join(sorted(profiles))
        )

    def _extract(self, photographs: tuple[Path, ...], use: TemplateUse) -> dict[Path, SignedTemplate]:
        templates = {}
        with self.progress(f"extracting {use}s", len(photographs)) as advance:
            for position, extraction in self.client.extract_many(photographs, use, key=self.key):
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

    def _enroll(self, plan: GalleryPlan, references: dict[Path, SignedTemplate]) -> None:
        self.client.galleries.create(GALLERY, self.key)

        def enroll(subject: str) -> None:
            trail = Trail()
            template = references[plan.enrolled[subject]]
            self.client.enrollments.create(GALLERY, template, subject, request_id=subject, trail=trail)
            self.steps += trail.finished()

        for _ in self._each("enrolling", plan.enrolled, enroll):
            pass

    def _verify(self, claim: Claim, probes: dict[Path, SignedTemplate]) -> ClaimFinding:
        verification = self.client.verify_template(GALLERY, claim.subject, probes[claim.probe])
        self.steps += verification.steps
        return ClaimFinding(claim, verification)

    def _identify(self, search: Search, probes: dict[Path, SignedTemplate]) -> SearchFinding:
        identification = self.client.identify_template(GALLERY, probes[search.probe], top_k=TOP_K)
        self.steps += identification.steps
        return SearchFinding(search, identification)

    def _each(self, what: str, questions: Iterable[Q], ask: Callable[[Q], A]) -> Iterator[A]:
        questions = tuple(questions)
        with self.progress(what, len(questions)) as advance:
            for question in questions:
                yield ask(question)
                advance()
