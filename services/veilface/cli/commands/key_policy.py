"""veilface keys policy: what a key may be used for, as a JSON document."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from veilface.cli.commands.key_versions import KeyArgument
from veilface.cli.options import JsonOption, StateOption
from veilface.cli.output import Output
from veilface.cli.session import connected

if TYPE_CHECKING:
    from veilface.keys.v1.policy_pb2 import KeyPolicy

app = typer.Typer(no_args_is_help=True, help="What a key may be used for: by whom, how often, how much is told.")

FileArgument = Annotated[
    Path,
    typer.Argument(
        metavar="FILE", exists=True, dir_okay=False, readable=True, show_default=False, help="A JSON document."
    ),
]


@app.command("show")
def show(key: KeyArgument, state: StateOption = None, as_json: JsonOption = False) -> None:
    """Print a key's policy as JSON: edit it and give it to 'policy set'."""
    output = Output(as_json)
    with connected(state, output) as client:
        output.write(_document(client.keys.policy(key)))


@app.command("set")
def set_policy(key: KeyArgument, policy: FileArgument, state: StateOption = None, as_json: JsonOption = False) -> None:
    """Replace a key's policy by a JSON document like the one that 'policy show' prints. It holds at once."""
    output = Output(as_json)
    with connected(state, output, "operator") as client:
        changed = _document(client.keys.set_policy(key, _read(policy)))
        output.show(changed, f"[green]changed[/] the policy of {key}")


def _document(policy: "KeyPolicy") -> dict[str, Any]:
    from google.protobuf.json_format import MessageToDict

    document: dict[str, Any] = MessageToDict(
        policy, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return document


def _read(path: Path) -> "KeyPolicy":
    from google.protobuf.json_format import Parse, ParseError

    from veilface.common.errors import InvalidArgumentError, Reason
    from veilface.keys.v1.policy_pb2 import KeyPolicy

    try:
        return Parse(path.read_text("utf-8"), KeyPolicy())
    except (ParseError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(Reason.INVALID_FIELD, f"{path} is not a policy: {error}") from error
