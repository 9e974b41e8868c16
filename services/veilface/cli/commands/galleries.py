"""veilface gallery: sets of enrolled people that can be searched."""

from typing import Annotated, Literal

import typer

from veilface.cli.options import GalleryArgument, JsonOption, StateOption
from veilface.cli.output import Output
from veilface.cli.session import connected

app = typer.Typer(no_args_is_help=True, help="Galleries: sets of enrolled people that can be searched.")

KeyOption = Annotated[
    str, typer.Option("--key", metavar="KEY", help="The key that everything in it is encrypted under.")
]
ModelOption = Annotated[
    str,
    typer.Option("--model", metavar="NAME", show_default="the service's", help="The recognition pipeline."),
]
MetricOption = Annotated[
    Literal["cosine", "squared-euclidean"], typer.Option("--metric", help="What its scores measure.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@app.command("create")
def create(
    gallery: GalleryArgument,
    key: KeyOption = "default",
    model: ModelOption = "",
    metric: MetricOption = "cosine",
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create an empty gallery."""
    output = Output(as_json)
    with connected(state, output) as client:
        from veilface.cli.documents import gallery_document
        from veilface.crypto.contract import Metric

        made = client.galleries.create(gallery, key, model=model, metric=Metric(metric))
        output.show(gallery_document(made), f"[green]created[/] {made.name} under {made.key_version}")


@app.command("list")
def list_galleries(state: StateOption = None, as_json: JsonOption = False) -> None:
    """List the galleries."""
    output = Output(as_json)
    with connected(state, output) as client:
        from veilface.cli.documents import gallery_document
        from veilface.cli.tables import size, table

        galleries = client.galleries.list()
        numbers = ("subjects", "enrollments", "size")
        made = table("gallery", "key version", "model", *numbers, right=numbers)
        for gallery in galleries:
            made.add_row(
                gallery.name,
                gallery.key_version,
                gallery.model or "[dim]not yet known[/]",
                f"{gallery.subject_count:,}",
                f"{gallery.enrollment_count:,}",
                size(gallery.template_bytes),
            )
        output.show({"galleries": [gallery_document(gallery) for gallery in galleries]}, made)


@app.command("show")
def show(gallery: GalleryArgument, state: StateOption = None, as_json: JsonOption = False) -> None:
    """Show a gallery."""
    output = Output(as_json)
    with connected(state, output) as client:
        from veilface.cli.documents import gallery_document
        from veilface.cli.tables import facts, size

        found = client.galleries.get(gallery)
        about = facts(
            [
                ("gallery", found.name),
                ("key version", found.key_version),
                ("scheme", f"{found.scheme}, {found.profile}"),
                ("model", found.model or "not known before the first enrollment"),
                ("dimension", str(found.dimension or "")),
                ("metric", found.metric.value),
                ("subjects", f"{found.subject_count:,}"),
                ("enrollments", f"{found.enrollment_count:,}"),
                ("templates", size(found.template_bytes)),
                ("generation", str(found.generation)),
                ("created", f"{found.create_time:%Y-%m-%d %H:%M:%S %Z}"),
            ]
        )
        output.show(gallery_document(found), about)


@app.command("compact")
def compact(gallery: GalleryArgument, state: StateOption = None, as_json: JsonOption = False) -> None:
    """Re-encrypt imported segments without the slots of those who were erased: no byte of them stays."""
    output = Output(as_json)
    with connected(state, output, "operator") as client:
        moved_count = 0
        for progress in client.galleries.compact(gallery):
            moved_count = progress.moved_count
        name = client.galleries.get(gallery).name
        document = {"name": name, "moved_count": moved_count}
        output.show(document, f"compacted {name}: {moved_count} imported templates re-encrypted")


@app.command("delete")
def delete(
    gallery: GalleryArgument, yes: YesOption = False, state: StateOption = None, as_json: JsonOption = False
) -> None:
    """Delete a gallery with everybody in it."""
    output = Output(as_json)
    with connected(state, output) as client:
        found = client.galleries.get(gallery)
        if not yes:
            output.confirm(f"Delete {found.name} with {found.enrollment_count} enrollments?")
        count = client.galleries.delete(gallery)
        output.show({"name": found.name, "enrollment_count": count}, f"deleted {found.name}: {count} enrollments")
