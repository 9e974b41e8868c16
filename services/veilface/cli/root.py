"""The command tree. One module for each group of commands; they import the rest only when they run."""

import typer

from veilface.cli.bench import commands as bench
from veilface.cli.commands import (
    bulk_import,
    certs,
    credentials,
    demo,
    enrollment,
    evaluate,
    galleries,
    keys,
    recognition,
    stack,
    subjects,
)
from veilface.cli.exit_codes import HELP

# Local variables may hold images, so they are never shown with an exception.
app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Face recognition on encrypted templates: enroll, verify and identify people without decrypting them.",
    epilog=HELP,
)

stack.register(app)
enrollment.register(app)
bulk_import.register(app)
recognition.register(app)
evaluate.register(app)
demo.register(app)
app.add_typer(keys.app, name="keys")
app.add_typer(galleries.app, name="gallery")
app.add_typer(subjects.app, name="subject")
app.add_typer(certs.app, name="certs")
app.add_typer(credentials.app, name="credentials")
app.add_typer(bench.app, name="bench")
