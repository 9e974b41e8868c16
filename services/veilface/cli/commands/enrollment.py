"""veilface enroll and enroll-folder: photographs in."""

import hashlib
from pathlib import Path
from typing import Annotated

import typer

from veilface.cli.options import FaceOption, GalleryArgument, JsonOption, StateOption
from veilface.cli.output import Output
from veilface.cli.session import connected

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
        from veilface.cli.enrolling import enroll_photographs
        from veilface.client.faces import FaceSelection
        from veilface.client.results import Photograph

        photographs = [Photograph(image=image, subject=subject, labels=labels) for image in images]
        enroll_photographs(client, output, gallery, photographs, FaceSelection(face))


def enroll_folder(
    gallery: GalleryArgument,
    folder: FolderArgument,
    face: FaceOption = "exactly-one",
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Enroll everybody in a folder. One photograph that fails does not stop the others; the exit code is then 3.

    Run again, it goes on where it was stopped: a photograph is known by its person and its file name.
    """
    output = Output(as_json)
    with connected(state, output) as client:
        from veilface.cli.enrolling import enroll_photographs
        from veilface.cli.photographs import people_in
        from veilface.client.faces import FaceSelection
        from veilface.client.results import Photograph

        photographs = [
            Photograph(image=image, subject=person.subject, request_id=_request_id(person.subject, image))
            for person in people_in(folder)
            for image in person.images
        ]
        enroll_photographs(client, output, gallery, photographs, FaceSelection(face))


def _parse_labels(labels: list[str]) -> dict[str, str]:
    pairs = [label.partition("=") for label in labels]
    if not all(name and separator for name, separator, _ in pairs):
        raise typer.BadParameter("a label is NAME=VALUE", param_hint="--label")
    return {name: value for name, _, value in pairs}


def _request_id(subject: str, image: Path) -> str:
    # Of names only: whoever reads the matcher's records could find a known photograph by a digest of its content.
    return hashlib.sha256(f"enroll-folder\0{subject}\0{image.name}".encode()).hexdigest()
