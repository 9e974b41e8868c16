"""The `veilface bench` command group."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Measure this machine: every number beside its peer, in the same run.", no_args_is_help=True)

Count = Annotated[int, typer.Option("--n", min=1, help="How many templates.")]
Dimension = Annotated[int, typer.Option("--dim", min=1, max=4096, help="Dimensions of an embedding.")]
Profile = Annotated[str, typer.Option(help="The ckks-packed parameter profile.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object per line: name, value, unit, peer, ratio, ...")]


@app.command()
def search(n: Count = 262_144, dim: Dimension = 512, profile: Profile = "ckks-packed-128", json: Json = False) -> None:
    """1:N: multiply-add over a whole gallery, beside numpy float32 X @ v on the same embeddings in the clear."""
    from veilface.cli.bench.measurement import show
    from veilface.cli.bench.search import measure_search

    show("1:N search", measure_search(profile, n, dim), as_json=json)


@app.command()
def expand(dim: Dimension = 512, profile: Profile = "ckks-packed-128", json: Json = False) -> None:
    """Expansion of one probe, beside a loop of SEAL apply_galois."""
    from veilface.cli.bench.expand import measure_expand
    from veilface.cli.bench.measurement import show

    show("Expansion", measure_expand(profile, dim), as_json=json)


@app.command()
def verify(dim: Dimension = 512, profile: Profile = "ckks-packed-128", json: Json = False) -> None:
    """1:1 comparison, beside CipherFace's."""
    from veilface.cli.bench.measurement import show
    from veilface.cli.bench.verify import measure_verify

    show("1:1 comparison", measure_verify(profile, dim), as_json=json)


@app.command()
def encrypt(dim: Dimension = 512, profile: Profile = "ckks-packed-128", json: Json = False) -> None:
    """Encryption of one template, and of whole segments."""
    from veilface.cli.bench.encrypt import measure_encrypt
    from veilface.cli.bench.measurement import show

    show("Encryption", measure_encrypt(profile, dim), as_json=json)


@app.command()
def decide(
    n: Count = 1_000_000, dim: Dimension = 128, profile: Profile = "ckks-packed-128", json: Json = False
) -> None:
    """The key service's part of a search: decrypt and rank."""
    from veilface.cli.bench.decide import measure_decide
    from veilface.cli.bench.measurement import show

    show("Decision", measure_decide(profile, n, dim), as_json=json)


@app.command("import")
def whole_search(n: Count = 1_000_000, dim: Dimension = 128, json: Json = False) -> None:
    """Bulk import into a real local stack, and whole searches through it, with where their time and memory go."""
    from veilface.cli.bench.measurement import show
    from veilface.cli.bench.whole_search import measure_whole_search

    show("Import and whole search", measure_whole_search(n, dim), as_json=json)


@app.command()
def papers(
    quick: Annotated[bool, typer.Option("--quick", help="128 dimensions only.")] = False,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot", metavar="FILE", dir_okay=False, show_default=False, help="Draw costs and sizes: .png or .svg."
        ),
    ] = None,
    cap: Annotated[
        float, typer.Option("--cap", metavar="SECONDS", min=0.1, help="About how long one timing may take.")
    ] = 1.5,
    json: Json = False,
) -> None:
    """The tables of CipherFace's and LightPHE's papers, run here, beside ckks-packed. Takes five to ten minutes."""
    from veilface.cli.bench.papers.command import run_papers
    from veilface.cli.output import Output

    with Output(json).reporting():
        run_papers(quick=quick, plot=plot, cap_s=cap, as_json=json)
