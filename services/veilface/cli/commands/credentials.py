"""veilface credentials: what the parties of a deployment hold, in one folder each."""

from pathlib import Path
from typing import Annotated

import typer

from veilface.cli.options import JsonOption
from veilface.cli.output import Output

app = typer.Typer(no_args_is_help=True, help="Credentials of a deployment: certificates, signing keys, master key.")

FolderArgument = Annotated[
    Path, typer.Argument(metavar="DIR", help="The folder of all parties.", file_okay=False, show_default=False)
]
_OPTION_HELP = "Where clients find it, HOST:PORT; may be repeated."
EmbeddingOption = Annotated[
    list[str] | None,
    typer.Option("--embedding", metavar="ADDRESS", show_default="embedding:7001", help=_OPTION_HELP),
]
KeysOption = Annotated[
    list[str] | None,
    typer.Option("--keys", metavar="ADDRESS", show_default="keys:7002", help=_OPTION_HELP),
]
MatchingOption = Annotated[
    list[str] | None,
    typer.Option("--matching", metavar="ADDRESS", show_default="matching:7003", help=_OPTION_HELP),
]


@app.command("create")
def create(
    folder: FolderArgument,
    embedding: EmbeddingOption = None,
    keys: KeysOption = None,
    matching: MatchingOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make what each party of a deployment needs, in a folder of its own that can be mounted or made a Secret of.

    Run again, it keeps what is there, renews certificates that expire soon, and adds hosts that they do not name yet.
    DIR/authority and DIR/operator stay with you; `veilface --state DIR/operator` commands use the latter.
    """
    output = Output(as_json)
    with output.reporting():
        from veilface.cli.credentials.deployment import OPERATOR, ensure_deployment
        from veilface.cli.tables import facts

        given = {"embedding": embedding or [], "keys": keys or [], "matching": matching or []}
        made = ensure_deployment(folder, given)
        document = {"folder": str(folder), "addresses": dict(made.addresses), "renewed": list(made.renewed)}
        new = (
            f"[green]made[/] {len(made.renewed)} certificates in {folder}" if made.renewed else f"kept all of {folder}"
        )
        rows = [(name, f"{folder / name}, reached at {address}") for name, address in made.addresses.items()]
        rows.append((OPERATOR, f"{folder / OPERATOR}: give it to commands with --state"))
        rows.append(("authority", f"{folder / 'authority'}: keep it to yourself"))
        output.show(document, new, facts(rows))
