"""veilface enroll and enroll-folder: photographs in."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from veilface.cli.exit_codes import ExitCode
from veilface.cli.options import FaceOption, GalleryArgument, JsonOption, StateOption
from veilface.cli.output import Output
from veilface.cli.session import connected

if TYPE_CHECKING:
    from collections.abc import Sequence

    from veilface.client import VeilfaceClient
    from veilface.client.results import EnrollmentOutcome, Photograph

_PANEL = "Recognition"

ImagesArgument = Annotated[
    list[Path],
    typer.Argument(
        metavar="IMAGES...",
        exists=True,
        dir_okay=False,
        readable=True,
        show_default=False,
        help="Photographs of the subject: JPEG, PNG or WebP.",
    ),
]
SubjectOption = Annotated[
    str, typer.Option("--subject", metavar="NAME", show_default=False, help="Whom the photographs show.")
]
FolderArgument = Annotated[
    Path,
    typer.Argument(
        metavar="DIR",
        exists=True,
        file_okay=False,
        readable=True,
        show_default=False,
        help="One folder per person, or files named NAME_1.jpg, NAME_2.jpg.",
    ),
]
LabelOption = Annotated[
    list[str] | None,
    typer.Option("--label", metavar="NAME=VALUE", show_default=False, help="A label, stored in the clear; repeatable."),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(rich_help_panel=_PANEL)(enroll)
    app.command("enroll-folder", rich_help_panel=_PANEL)(enroll_folder)


def enroll(
    gallery: GalleryArgument,
    images: ImagesArgument,
    subject: SubjectOption,
    label: LabelOption = None,
    face: FaceOption = "exactly-one",
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Enroll photographs of one person. One that fails does not stop the others; the exit code is then 3."""
    labels = _parse_labels(label or [])
    output = Output(as_json)
    with connected(state, output) as client:
        from veilface.client.results import Photograph

        photographs = [Photograph(image=image, subject=subject, labels=labels) for image in images]
        _enroll(client, output, gallery, photographs, face)


def enroll_folder(
    gallery: GalleryArgument,
    folder: FolderArgument,
    face: FaceOption = "exactly-one",
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Enroll everybody in a folder. One photograph that fails does not stop the others; the exit code is then 3."""
    output = Output(as_json)
    with connected(state, output) as client:
        from veilface.cli.photographs import people_in
        from veilface.client.results import Photograph

        people = people_in(folder)
        photographs = [Photograph(image=image, subject=person.subject) for person in people for image in person.images]
        _enroll(client, output, gallery, photographs, face)


def _enroll(
    client: "VeilfaceClient", output: Output, gallery: str, photographs: "Sequence[Photograph]", face: str
) -> None:
    from rich.markup import escape

    from veilface.cli.documents import enrolled_document, error_document
    from veilface.cli.progress import progress_bar
    from veilface.cli.tables import table
    from veilface.client.faces import FaceSelection
    from veilface.common.errors import VeilfaceError

    outcomes: list[EnrollmentOutcome] = []
    with progress_bar(output, "enrolling", len(photographs)) as advance:
        for outcome in client.enroll_many(gallery, photographs, faces=FaceSelection(face)):
            outcomes.append(outcome)
            advance()
    results: list[dict[str, Any]] = []
    failed = table("photograph", "reason", "problem", folding=("photograph", "problem"))
    for outcome in outcomes:
        about = {"image": str(outcome.photograph.image), "subject": outcome.photograph.subject}
        if isinstance(outcome.result, VeilfaceError):
            results.append({**about, "error": error_document(outcome.result)})
            failed.add_row(escape(about["image"]), outcome.result.reason.value, escape(outcome.result.message))
        else:
            results.append({**about, **enrolled_document(outcome.result)})
    enrolled_count = len(outcomes) - failed.row_count
    subjects = {outcome.photograph.subject for outcome in outcomes if not isinstance(outcome.result, VeilfaceError)}
    document = {
        "gallery": gallery,
        "enrolled_count": enrolled_count,
        "failed_count": failed.row_count,
        "photographs": results,
    }
    people = f"{len(subjects)} {'person' if len(subjects) == 1 else 'people'}"
    line = f"[green]enrolled[/] {enrolled_count} of {len(outcomes)} photographs of {people} in {gallery}"
    output.show(document, line, *((failed,) if failed.row_count else ()))
    if failed.row_count:
        raise typer.Exit(ExitCode.REFUSED)


def _parse_labels(labels: list[str]) -> dict[str, str]:
    pairs = [label.partition("=") for label in labels]
    if not all(name and separator for name, separator, _ in pairs):
        raise typer.BadParameter("a label is NAME=VALUE", param_hint="--label")
    return {name: value for name, _, value in pairs}
