"""veilface keys audit: the key service's record of who did what."""

from typing import Annotated

import typer

from veilface.cli.options import JsonOption, StateOption
from veilface.cli.output import Output
from veilface.cli.session import connected

app = typer.Typer(no_args_is_help=True, help="The key service's record of who did what with which key.")

HeadOption = Annotated[
    str,
    typer.Option(
        "--head",
        metavar="NUMBER:HASH",
        show_default=False,
        help="A head that was printed earlier and kept elsewhere: shows whether the log was cut or rewritten since.",
    ),
]


@app.command("verify")
def verify(head: HeadOption = "", state: StateOption = None, as_json: JsonOption = False) -> None:
    """Check that no audit record was changed, moved or removed, and print the newest one's number and hash."""
    output = Output(as_json)
    with connected(state, output, "operator") as client:
        from veilface.keys.domain.audit import StoredRecord, verify_chain
        from veilface.keys.offline import format_head, parse_head

        expected = parse_head(head) if head else None
        records = (StoredRecord(each.sequence, each.record, each.hash) for each in client.keys.audit_records())
        newest = verify_chain(records, expected)
        document = {"record_count": newest.sequence, "head": format_head(newest)}
        output.show(document, f"[green]in order[/]: {newest.sequence} records; the head is", format_head(newest))
