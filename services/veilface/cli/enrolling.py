"""Enrolls many photographs and says what became of each, also when it is stopped in the middle."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import typer
from rich.console import RenderableType
from rich.markup import escape

from veilface.cli.documents import enrolled_document, error_document
from veilface.cli.exit_codes import ExitCode
from veilface.cli.output import Output
from veilface.cli.progress import progress_bar
from veilface.cli.tables import table
from veilface.client import VeilfaceClient
from veilface.client.faces import FaceSelection
from veilface.client.results import EnrollmentOutcome, Photograph
from veilface.common.errors import AlreadyExistsError, NotFoundError, Reason, VeilfaceError


@dataclass(slots=True)
class Enrolling:
    """What became of the photographs of one command so far.

    Attributes:
        photographs: All that are to be enrolled; one with a request id is enrolled only once.
        stopped_by: What ended it before its time: an error of a service, or the keyboard.
    """

    gallery: str
    photographs: Sequence[Photograph]
    outcomes: list[EnrollmentOutcome] = field(default_factory=list)
    stopped_by: VeilfaceError | KeyboardInterrupt | None = None

    def run(self, client: VeilfaceClient, output: Output, faces: FaceSelection) -> None:
        """Enroll them one after the other."""
        with progress_bar(output, "enrolling", len(self.photographs)) as advance:
            try:
                for outcome in client.enroll_many(self.gallery, self.photographs, faces=faces):
                    self.outcomes.append(_explained(outcome))
                    advance()
            except (VeilfaceError, KeyboardInterrupt) as stop:
                self.stopped_by = stop

    @property
    def enrolled(self) -> list[EnrollmentOutcome]:
        """Those that were enrolled now."""
        return [outcome for outcome in self.outcomes if not isinstance(outcome.result, VeilfaceError)]

    @property
    def known(self) -> list[EnrollmentOutcome]:
        """Those that were enrolled before."""
        return [outcome for outcome in self.outcomes if _is_known(outcome)]

    @property
    def failed(self) -> list[tuple[EnrollmentOutcome, VeilfaceError]]:
        """Those that could not be enrolled, and why."""
        return [
            (outcome, outcome.result)
            for outcome in self.outcomes
            if isinstance(outcome.result, VeilfaceError) and not _is_known(outcome)
        ]

    def document(self) -> dict[str, Any]:
        """The outcomes as JSON."""
        document = {
            "gallery": self.gallery,
            "enrolled_count": len(self.enrolled),
            "already_enrolled_count": len(self.known),
            "failed_count": len(self.failed),
            "not_reached_count": len(self.photographs) - len(self.outcomes),
            "photographs": [_outcome_document(outcome) for outcome in self.outcomes],
        }
        if isinstance(self.stopped_by, VeilfaceError):
            document["error"] = error_document(self.stopped_by)
        return document

    def lines(self) -> list[RenderableType]:
        """The outcomes for people."""
        people = len({outcome.photograph.subject for outcome in self.enrolled})
        of_people = f" of {people} {'person' if people == 1 else 'people'}" if people else ""
        line = f"[green]enrolled[/] {len(self.enrolled)} of {len(self.photographs)} photographs{of_people}"
        before = f"; {len(self.known)} were enrolled before" if self.known else ""
        lines: list[RenderableType] = [f"{line} in {escape(self.gallery)}{before}"]
        if self.failed:
            made = table("photograph", "reason", "problem", folding=("photograph", "problem"))
            for outcome, error in self.failed:
                made.add_row(escape(str(outcome.photograph.image)), error.reason.value, escape(error.message))
            lines.append(made)
        return lines


def enroll_photographs(
    client: VeilfaceClient, output: Output, gallery: str, photographs: Sequence[Photograph], faces: FaceSelection
) -> None:
    """Enroll them and report.

    Raises:
        VeilfaceError: What stopped it, after the report.
        KeyboardInterrupt: If the keyboard stopped it, after the report.
        typer.Exit: REFUSED if some could not be enrolled.
    """
    enrolling = Enrolling(gallery, photographs)
    enrolling.run(client, output, faces)
    if not enrolling.outcomes and isinstance(enrolling.stopped_by, VeilfaceError):
        raise enrolling.stopped_by
    output.show(enrolling.document(), *enrolling.lines())
    if enrolling.stopped_by is not None:
        missed = len(photographs) - len(enrolling.outcomes)
        output.note(f"[yellow]stopped[/] before {missed} of {len(photographs)} photographs")
        raise enrolling.stopped_by
    if enrolling.failed:
        raise typer.Exit(ExitCode.REFUSED)


def _is_known(outcome: EnrollmentOutcome) -> bool:
    # A new template of the same photograph is another request to the service; the id says that it is the same one.
    error = outcome.result
    return (
        outcome.photograph.request_id is not None
        and isinstance(error, AlreadyExistsError)
        and error.reason is Reason.REQUEST_ID_REUSED
    )


def _explained(outcome: EnrollmentOutcome) -> EnrollmentOutcome:
    error = outcome.result
    if not isinstance(error, NotFoundError) or error.reason is not Reason.ENROLLMENT_NOT_FOUND:
        return outcome
    # Whoever was erased does not come back because the same folder is enrolled again.
    advice = NotFoundError(error.reason, "it was enrolled and erased since: 'veilface enroll' enrolls it again")
    return EnrollmentOutcome(outcome.photograph, advice)


def _outcome_document(outcome: EnrollmentOutcome) -> dict[str, Any]:
    about = {"image": str(outcome.photograph.image), "subject": outcome.photograph.subject}
    if _is_known(outcome):
        return {**about, "already_enrolled": True}
    if isinstance(outcome.result, VeilfaceError):
        return {**about, "error": error_document(outcome.result)}
    return {**about, **enrolled_document(outcome.result)}
