"""veilface verify, compare, identify and models."""

from typing import Annotated, Literal

import typer

from veilface.cli.exit_codes import ExitCode
from veilface.cli.options import (
    FaceOption,
    GalleryArgument,
    ImageArgument,
    JsonOption,
    OperatingPointOption,
    StateOption,
    StepsOption,
    SubjectArgument,
)
from veilface.cli.output import Output
from veilface.cli.session import connected

_PANEL = "Recognition"

TopOption = Annotated[int, typer.Option("--top", min=1, max=100, help="How many candidates at most.")]
PlaintextProbeOption = Annotated[
    bool,
    typer.Option(
        "--plaintext-probe",
        help="Search faster: show the matching service the embedding of the photograph in the clear, if the key's "
        "policy allows it.",
    ),
]
ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="PIPELINE",
        show_default="the service's first",
        help="The recognition pipeline, as 'veilface models' lists them.",
    ),
]
MetricOption = Annotated[Literal["cosine", "squared-euclidean"], typer.Option("--metric", help="What to compare by.")]
KeyOption = Annotated[str, typer.Option("--key", metavar="KEY", help="The key to compare under.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (verify, compare, identify, models):
        app.command(rich_help_panel=_PANEL)(command)


def verify(
    gallery: GalleryArgument,
    subject: SubjectArgument,
    image: ImageArgument,
    face: FaceOption = "exactly-one",
    operating_point: OperatingPointOption = "",
    steps: StepsOption = False,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Decide whether a photograph shows an enrolled subject. Exits with 0 for a match, 1 for none."""
    output = Output(as_json)
    with connected(state, output) as client:
        from veilface.cli.documents import verification_document
        from veilface.cli.tables import steps_table, told_band, verdict
        from veilface.client.faces import FaceSelection

        answer = client.verify(gallery, subject, image, operating_point=operating_point, faces=FaceSelection(face))
        document = {"gallery": gallery, "subject": subject, "image": str(image), **verification_document(answer)}
        line = verdict(answer.is_match).append(f"  {image.name} against {subject} in {gallery}", "default")
        output.show(document, line.append(f"  {answer.threshold_profile}{told_band(answer.band)}", "dim"))
        if steps and not as_json:
            output.console.print(steps_table(answer.steps))
        if not answer.is_match:
            raise typer.Exit(ExitCode.NO_MATCH)


def compare(
    reference: ImageArgument,
    probe: ImageArgument,
    key: KeyOption = "default",
    model: ModelOption = "",
    metric: MetricOption = "cosine",
    face: FaceOption = "exactly-one",
    operating_point: OperatingPointOption = "",
    steps: StepsOption = False,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Decide whether two photographs show the same person. Exits with 0 for a match, 1 for none."""
    output = Output(as_json)
    with connected(state, output) as client:
        from veilface.cli.documents import verification_document
        from veilface.cli.tables import steps_table, told_band, verdict
        from veilface.client.faces import FaceSelection
        from veilface.crypto.contract import Metric

        answer = client.compare(
            reference,
            probe,
            key=key,
            model=model,
            metric=Metric(metric),
            operating_point=operating_point,
            faces=FaceSelection(face),
        )
        document = {"reference": str(reference), "probe": str(probe), **verification_document(answer)}
        line = verdict(answer.is_match).append(f"  {reference.name} and {probe.name}", "default")
        output.show(document, line.append(f"  {answer.threshold_profile}{told_band(answer.band)}", "dim"))
        if steps and not as_json:
            output.console.print(steps_table(answer.steps))
        if not answer.is_match:
            raise typer.Exit(ExitCode.NO_MATCH)


def identify(
    gallery: GalleryArgument,
    image: ImageArgument,
    top: TopOption = 1,
    plaintext_probe: PlaintextProbeOption = False,
    face: FaceOption = "exactly-one",
    operating_point: OperatingPointOption = "",
    steps: StepsOption = False,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find who in a gallery a photograph shows. Exits with 0 if somebody matches, 1 if nobody does."""
    output = Output(as_json)
    with connected(state, output) as client:
        from veilface.cli.documents import identification_document
        from veilface.cli.tables import steps_table, table, verdict
        from veilface.client.faces import FaceSelection

        answer = client.identify(
            gallery,
            image,
            top_k=top,
            operating_point=operating_point,
            faces=FaceSelection(face),
            plaintext_probe=plaintext_probe,
        )
        document = {"gallery": gallery, "image": str(image), **identification_document(answer)}
        line = verdict(bool(answer.candidates)).append(f"  {image.name} among {answer.score_count:,}", "default")
        line.append(f"  {answer.threshold_profile}", "dim")
        if answer.withheld_candidates:
            left_out = f"  {answer.withheld_candidates:,} left out: named as often today as the key's policy allows"
            line.append(left_out, "yellow")
        bands = ("band",) if any(candidate.band for candidate in answer.candidates) else ()
        candidates = table("rank", "subject", "enrollment", *bands, right=("rank",))
        for candidate in answer.candidates:
            band = (candidate.band,) if bands else ()
            candidates.add_row(str(candidate.rank), candidate.subject, candidate.enrollment, *band)
        output.show(document, line, *((candidates,) if answer.candidates else ()))
        if steps and not as_json:
            output.console.print(steps_table(answer.steps))
        if not answer.candidates:
            raise typer.Exit(ExitCode.NO_MATCH)


def models(state: StateOption = None, as_json: JsonOption = False) -> None:
    """List the recognition pipelines that the embedding service can run."""
    output = Output(as_json)
    with connected(state, output) as client:
        from veilface.cli.documents import model_document
        from veilface.cli.tables import table

        found = client.models()
        made = table("model", "dimension", "weights", right=("dimension",), folding=("weights",))
        for model in found:
            name = f"{model.name} [dim](default)[/]" if model.is_default else model.name
            made.add_row(name, str(model.dimension), "\n".join(filename for filename, _ in model.weights))
        output.show({"models": [model_document(model) for model in found]}, made)
