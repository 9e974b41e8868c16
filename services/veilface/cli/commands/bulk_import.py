"""veilface import: embeddings that exist already, encrypted here in bulk."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from veilface.cli.options import GalleryArgument, JsonOption, StateOption
from veilface.cli.output import Output
from veilface.cli.session import connected

if TYPE_CHECKING:
    from veilface.client.imports import ImportReport

_PANEL = "Recognition"

VectorsArgument = Annotated[
    Path,
    typer.Argument(
        metavar="VECTORS.npy",
        exists=True,
        dir_okay=False,
        readable=True,
        show_default=False,
        help="The embeddings: float32 or float64 of shape (count, dimension), as numpy.save writes them.",
    ),
]
IdsOption = Annotated[
    Path,
    typer.Option(
        "--ids",
        metavar="FILE",
        exists=True,
        dir_okay=False,
        readable=True,
        show_default=False,
        help="A text file with the subject id of each embedding on a line.",
    ),
]
ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="NAME",
        show_default="the gallery's",
        help="The recognition pipeline that made the embeddings.",
    ),
]
NormalizeOption = Annotated[bool, typer.Option("--normalize", help="Divide each embedding by its norm.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("import", rich_help_panel=_PANEL)(import_vectors)


def import_vectors(
    gallery: GalleryArgument,
    vectors: VectorsArgument,
    ids: IdsOption,
    model: ModelOption = "",
    normalize: NormalizeOption = False,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Import embeddings in bulk. They are encrypted on this machine; interrupted, it goes on when it is run again."""
    output = Output(as_json)
    with connected(state, output, "operator") as client:
        from veilface.cli.progress import progress_bar
        from veilface.client.import_source import ImportSource

        source = ImportSource.read(vectors, ids, normalize=normalize)
        found = client.galleries.get(gallery)
        with progress_bar(output, "importing", source.count) as advance:
            report = client.imports.run(found, source, model=model, on_progress=advance)
        output.show(_document(report), _summary(report))


def _document(report: "ImportReport") -> dict[str, Any]:
    return {
        "gallery": report.gallery,
        "model": report.model,
        "dimension": report.dimension,
        "enrollment_count": report.enrollment_count,
        "segment_count": report.segment_count,
        "known_segment_count": report.known_segment_count,
        "sent_bytes": report.sent_bytes,
        "encrypt_seconds": round(report.encrypt_s, 3),
        "send_seconds": round(report.send_s, 3),
        "seconds": round(report.seconds, 3),
    }


def _summary(report: "ImportReport") -> str:
    from veilface.cli.tables import size

    known = f", {report.known_segment_count:,} of them earlier" if report.known_segment_count else ""
    return (
        f"[green]imported[/] {report.enrollment_count:,} embeddings of {report.dimension} dimensions into "
        f"{report.gallery} in {report.segment_count:,} segments{known}: {size(report.sent_bytes)} sent in "
        f"{report.seconds:.1f} s"
    )
