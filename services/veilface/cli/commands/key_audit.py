"""veilface keys audit: the key service's record of who did what."""

from pathlib import Path
from typing import Annotated

import typer

from veilface.cli.options import JsonOption, StateOption, state_folder, uses_environment
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


FilesOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--file",
        metavar="FILE",
        exists=True,
        dir_okay=False,
        readable=True,
        show_default="the local stack's own",
        help="An audit file; give those of all replicas and reseals.",
    ),
]


@app.command("verify")
def verify(
    head: HeadOption = "", files: FilesOption = None, state: StateOption = None, as_json: JsonOption = False
) -> None:
    """Check that no audit record was changed, moved or removed, and print the newest one's number and hash.

    The service's database and the audit files must agree: each shows what was cut or rewritten in the other.
    """
    output = Output(as_json)
    with connected(state, output, "operator") as client:
        from veilface.keys.domain.audit import AuditHead, StoredRecord, verify_chain
        from veilface.keys.domain.audit_files import FileComparison
        from veilface.keys.offline import format_head, parse_head

        answered = client.keys.audit_head()
        heads = [AuditHead(answered.sequence, answered.hash)]
        if head:
            heads.append(parse_head(head))
        comparison = FileComparison(files or _local_files(state), answered.sequence)
        records = (StoredRecord(each.sequence, each.record, each.hash) for each in client.keys.audit_records())
        newest = verify_chain(comparison.passing(records), *heads)
        comparison.finish()
        document = {
            "record_count": newest.sequence,
            "file_record_count": comparison.record_count,
            "head": format_head(newest),
        }
        output.show(
            document,
            f"[green]in order[/]: {newest.sequence} records, {comparison.record_count} of them in files; the head is",
            format_head(newest),
        )


def _local_files(state: Path | None) -> list[Path]:
    from veilface.cli.local_stack.layout import StateLayout

    file = StateLayout.of(state_folder(state)).audit_file
    return [] if uses_environment(state) or not file.is_file() else [file]
