"""The `veilface bench` command group."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Measure this machine: every number beside its peer, in the same run.", no_args_is_help=True)

Count = Annotated[int, typer.Option("--n", min=1, help="How many templates.")]
Dimension = Annotated[int, typer.Option("--dim", min=1, max=4096, help="Dimensions of an embedding.")]
Profile = Annotated[str, typer.Option(help="The ckks-packed parameter profile.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object per line: name, value, unit, peer, ratio, ...")]
MemoryBudget = Annotated[
    float | None,
    typer.Option(
        "--memory-budget",
        metavar="GIB",
        min=0.0625,
        show_default=False,
        help="What the matching service may take for segments; what does not fit stays on disk. Without it the whole "
        "gallery, as far as this machine's memory goes.",
    ),
]


@app.callback()
def prepare() -> None:
    """Measure this machine: every number beside its peer, in the same run."""
    from veilface.cli.bench.blas import share_threads

    share_threads()


@app.command()
def search(n: Count = 262_144, dim: Dimension = 512, profile: Profile = "ckks-packed-128", json: Json = False) -> None:
    """1:N: multiply-add over a whole gallery and what bounds it, beside numpy float32 X @ v in the clear."""
    from veilface.cli.bench.report import report
    from veilface.cli.bench.search import measure_search

    report("1:N search", lambda: measure_search(profile, n, dim), as_json=json)


@app.command()
def expand(dim: Dimension = 512, profile: Profile = "ckks-packed-128", json: Json = False) -> None:
    """Expansion of one probe, beside a loop of SEAL apply_galois."""
    from veilface.cli.bench.expand import measure_expand
    from veilface.cli.bench.report import report

    report("Expansion", lambda: measure_expand(profile, dim), as_json=json)


@app.command()
def verify(dim: Dimension = 512, profile: Profile = "ckks-packed-128", json: Json = False) -> None:
    """1:1 comparison, beside CipherFace's."""
    from veilface.cli.bench.report import report
    from veilface.cli.bench.verify import measure_verify

    report("1:1 comparison", lambda: measure_verify(profile, dim), as_json=json)


@app.command()
def encrypt(dim: Dimension = 512, profile: Profile = "ckks-packed-128", json: Json = False) -> None:
    """Encryption of one template, and of whole segments, beside CipherFace's and SEAL's."""
    from veilface.cli.bench.encrypt import measure_encrypt
    from veilface.cli.bench.report import report

    report("Encryption", lambda: measure_encrypt(profile, dim), as_json=json)


@app.command()
def decide(
    n: Count = 1_000_000, dim: Dimension = 128, profile: Profile = "ckks-packed-128", json: Json = False
) -> None:
    """The key service's part of a search: decrypt and rank, beside CipherFace's decryption and a full sort."""
    from veilface.cli.bench.decide import measure_decide
    from veilface.cli.bench.report import report

    report("Decision", lambda: measure_decide(profile, n, dim), as_json=json)


@app.command("import")
def whole_search(
    n: Count = 1_000_000,
    dim: Dimension = 128,
    profile: Profile = "ckks-packed-128",
    memory_budget: MemoryBudget = None,
    json: Json = False,
) -> None:
    """Bulk import into a real local stack, and whole searches through it, with where their time and memory go."""
    from veilface.cli.bench.report import report
    from veilface.cli.bench.whole_search import measure_whole_search

    budget_bytes = _bytes_of_gib(memory_budget)
    report("Import and whole search", lambda: measure_whole_search(profile, n, dim, budget_bytes), as_json=json)


@app.command()
def throughput(
    callers: Annotated[int, typer.Option("--callers", min=1, max=256, help="How many search at the same time.")] = 8,
    searches: Annotated[int, typer.Option("--searches", min=1, help="How many searches each of them makes.")] = 20,
    n: Count = 262_144,
    dim: Dimension = 128,
    profile: Profile = "ckks-packed-128",
    memory_budget: MemoryBudget = None,
    json: Json = False,
) -> None:
    """Searches per second and their latency through a real local stack: many callers beside one at a time."""
    from veilface.cli.bench.report import report
    from veilface.cli.bench.throughput import measure_throughput

    budget_bytes = _bytes_of_gib(memory_budget)
    report(
        "Throughput",
        lambda: measure_throughput(
            profile, n, dim, callers=callers, searches=searches, memory_budget_bytes=budget_bytes
        ),
        as_json=json,
    )


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
    """The tables of CipherFace's and LightPHE's papers, run here, beside ckks-packed. Takes about five minutes."""
    from veilface.cli.bench.papers.command import run_papers
    from veilface.cli.output import Output

    with Output(json).reporting():
        run_papers(quick=quick, plot=plot, cap_s=cap, as_json=json)


def _bytes_of_gib(gib: float | None) -> int | None:
    return None if gib is None else int(gib * 2**30)
