"""veilface evaluate: how well a recognition pipeline tells people apart, before and after encryption."""

from pathlib import Path
from typing import Annotated

import typer

from veilface.cli.commands.galleries import MetricOption
from veilface.cli.commands.keys import ProfileOption, SchemeOption
from veilface.cli.options import FaceOption, JsonOption
from veilface.cli.output import Output

PhotosArgument = Annotated[
    Path,
    typer.Argument(
        metavar="PHOTOS",
        exists=True,
        file_okay=False,
        readable=True,
        show_default=False,
        help="Photographs with a master.csv of labelled pairs (file_x, file_y, Decision), or one folder of photographs "
        "per person, of which all pairs are taken.",
    ),
]
PipelineOption = Annotated[
    str, typer.Option("--pipeline", metavar="NAME", help="The recognition pipeline: model/detector/alignment.")
]
CalibrateOption = Annotated[
    float | None,
    typer.Option(
        "--calibrate",
        metavar="FMR",
        min=1e-9,
        max=0.5,
        show_default=False,
        help="Choose thresholds on these pairs: 'balanced' for this false match rate (0.001 is 0.1 %), 'strict' for a "
        "tenth and 'lenient' for ten times of it.",
    ),
]
CalibrationFileOption = Annotated[
    Path,
    typer.Option(
        "--output",
        metavar="FILE",
        dir_okay=False,
        help="The threshold file that --calibrate writes; entries for other pipelines in it stay.",
    ),
]
ThresholdFileOption = Annotated[
    Path | None,
    typer.Option(
        "--thresholds",
        envvar="VEILFACE_THRESHOLD_FILE",
        metavar="FILE",
        exists=True,
        dir_okay=False,
        show_default=False,
        help="Thresholds beside the published ones.",
    ),
]
EncryptedOption = Annotated[
    bool,
    typer.Option(
        "--encrypted/--plaintext",
        help="Have the pairs decided by a temporary local stack too, and compare with float64; or do without.",
    ),
]
EncryptedPairsOption = Annotated[
    int, typer.Option("--encrypted-pairs", min=2, help="How many pairs to decide encrypted; of more, a fixed sample.")
]
PlotOption = Annotated[
    Path | None,
    typer.Option(
        "--plot",
        metavar="FILE",
        dir_okay=False,
        show_default=False,
        help="Draw accuracy before and after encryption: a file .png or .svg.",
    ),
]
HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--deepface-home",
        envvar="VEILFACE_EMBEDDING_DEEPFACE_HOME",
        metavar="FOLDER",
        exists=True,
        file_okay=False,
        show_default="the home folder",
        help="The folder above .deepface/weights.",
    ),
]
DownloadsOption = Annotated[
    bool,
    typer.Option(
        "--downloads", envvar="VEILFACE_EMBEDDING_DOWNLOADS", help="Let DeepFace download missing weight files."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel="Recognition")(evaluate)


def evaluate(
    photos: PhotosArgument,
    pipeline: PipelineOption = "dlib-resnet/hog/chip",
    metric: MetricOption = "cosine",
    calibrate: CalibrateOption = None,
    calibration_file: CalibrationFileOption = Path("thresholds.json"),
    threshold_file: ThresholdFileOption = None,
    encrypted: EncryptedOption = True,
    scheme: SchemeOption = "ckks-packed",
    profile: ProfileOption = "",
    encrypted_pairs: EncryptedPairsOption = 1000,
    face: FaceOption = "exactly-one",
    plot: PlotOption = None,
    deepface_home: HomeOption = None,
    downloads: DownloadsOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure a recognition pipeline on labelled photographs: errors, thresholds, and what encryption changes.

    Exits with 1 if an encrypted decision differs from float64 although its score is further from the threshold than
    the errors of the scheme explain. The photographs are embedded in the clear inside this process.
    """
    output = Output(as_json)
    with output.reporting():
        from veilface.client.faces import FaceSelection
        from veilface.common.errors import ConfigurationError, Reason
        from veilface.crypto.contract import Metric, Scheme

        try:
            from veilface.cli.evaluation.run import Request, run_evaluation
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                Reason.INVALID_SETTING,
                f"{error.name} is not installed, but 'veilface evaluate' embeds photographs itself: "
                "pip install 'veilface[cli,embedding,keys]'",
            ) from error

        code = run_evaluation(
            Request(
                photographs=photos,
                pipeline=pipeline,
                metric=Metric(metric),
                selection=FaceSelection(face),
                deepface_home=deepface_home or Path.home(),
                downloads=downloads,
                threshold_file=threshold_file,
                calibrated_fmr=calibrate,
                calibration_file=calibration_file,
                encrypted=encrypted,
                encrypted_pairs=encrypted_pairs,
                scheme=Scheme(scheme),
                profile=profile,
                plot=plot,
            ),
            output,
        )
    raise typer.Exit(code)
