"""Options that several commands share."""

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

DEFAULT_STATE = Path(".veilface")

StateOption = Annotated[
    Path | None,
    typer.Option(
        "--state",
        envvar="VEILFACE_STATE",
        metavar="FOLDER",
        show_default=".veilface",
        help="The local stack's folder.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document to standard output.")]
StepsOption = Annotated[bool, typer.Option("--steps", help="Show what was asked of which service.")]
FaceOption = Annotated[
    Literal["exactly-one", "largest"],
    typer.Option("--face", help="What to do with an image of several faces: refuse it, or take the largest."),
]
OperatingPointOption = Annotated[
    str,
    typer.Option(
        "--operating-point",
        metavar="NAME",
        show_default="balanced",
        help="The threshold: strict, balanced or lenient.",
    ),
]
GalleryArgument = Annotated[str, typer.Argument(metavar="GALLERY", help="The gallery's id.", show_default=False)]
SubjectArgument = Annotated[str, typer.Argument(metavar="SUBJECT", help="The subject's id.", show_default=False)]
ImageArgument = Annotated[
    Path,
    typer.Argument(
        metavar="IMAGE",
        exists=True,
        dir_okay=False,
        readable=True,
        show_default=False,
        help="A photograph: JPEG, PNG or WebP.",
    ),
]


def state_folder(state: Path | None) -> Path:
    """The state folder to use."""
    return state if state is not None else DEFAULT_STATE


def uses_environment(state: Path | None) -> bool:
    """Whether the services are those that the environment names, and not those of a local stack."""
    return state is None and "VEILFACE_EMBEDDING_SERVICE" in os.environ
