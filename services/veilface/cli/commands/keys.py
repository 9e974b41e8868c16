"""veilface keys: named keys, whose secret halves never leave the key service."""

from typing import Annotated

import typer

from veilface.cli.commands import key_audit, key_policy, key_versions
from veilface.cli.commands.key_versions import KeyArgument
from veilface.cli.options import JsonOption, StateOption
from veilface.cli.output import Output
from veilface.cli.scheme_names import SCHEME_NAMES, parse_scheme
from veilface.cli.session import connected

app = typer.Typer(no_args_is_help=True, help="Keys. Their secret halves never leave the key service.")

SchemeOption = Annotated[
    str,
    typer.Option(
        "--scheme",
        metavar="SCHEME",
        parser=parse_scheme,
        help=f"The encryption scheme: {', '.join(SCHEME_NAMES)}. With the last three the matching service sees each "
        "probe's embedding in the clear.",
    ),
]
ProfileOption = Annotated[
    str,
    typer.Option("--profile", metavar="NAME", show_default="those of the scheme", help="The parameters."),
]


@app.command("create")
def create(
    key: KeyArgument,
    scheme: SchemeOption = "ckks-packed",
    profile: ProfileOption = "",
    plaintext_probe: Annotated[
        bool,
        typer.Option(
            "--allow-plaintext-probe",
            help="Let the matching service see the embedding of who is asked about, in the clear. paillier, "
            "damgard-jurik and okamoto-uchiyama compare with nothing else; references and scores stay encrypted.",
        ),
    ] = False,
    renewable: Annotated[
        bool,
        typer.Option("--renewable", help="Pass embeddings through a secret transform, one per version, first."),
    ] = False,
    if_missing: Annotated[
        bool, typer.Option("--if-missing", help="Leave a key of that name as it is, whatever its scheme and profile.")
    ] = False,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create a key. What is encrypted under one key cannot be compared with another."""
    output = Output(as_json)
    with connected(state, output, "operator") as client:
        from veilface.cli.documents import key_document
        from veilface.cli.key_profiles import facts_of
        from veilface.common.errors import AlreadyExistsError
        from veilface.crypto.contract import Scheme
        from veilface.keys.v1 import policy_pb2

        policy = policy_pb2.KeyPolicy(plaintext_probe_allowed=True) if plaintext_probe else None
        try:
            made = client.keys.create(key, Scheme(scheme), profile, policy, embedding_transform=renewable)
            done = "[green]created[/]"
        except AlreadyExistsError:
            if not if_missing:
                raise
            made, done = client.keys.get(key), "kept"
        line = f"{done} {made.name}: {made.scheme}, {made.profile}"
        facts = facts_of(made)
        noted = (f"[yellow]note[/]  {facts.note}",) if facts is not None and facts.note else ()
        output.show(key_document(made), line, *noted)


@app.command("list")
def list_keys(state: StateOption = None, as_json: JsonOption = False) -> None:
    """List the keys."""
    output = Output(as_json)
    with connected(state, output) as client:
        from veilface.cli.documents import key_document
        from veilface.cli.tables import table

        keys = client.keys.list()
        made = table("key", "scheme", "profile", "primary", "versions", "created", right=("primary", "versions"))
        for key in keys:
            made.add_row(
                key.name,
                key.scheme.value,
                key.profile,
                str(key.primary_version),
                str(len(key.versions)),
                f"{key.create_time:%Y-%m-%d %H:%M}",
            )
        output.show({"keys": [key_document(key) for key in keys]}, made)


@app.command("show")
def show(key: KeyArgument, state: StateOption = None, as_json: JsonOption = False) -> None:
    """Show a key, its versions and the fingerprints of their public halves."""
    output = Output(as_json)
    with connected(state, output) as client:
        from veilface.cli.documents import key_document
        from veilface.cli.key_profiles import facts_of
        from veilface.cli.tables import facts, size, table

        found = client.keys.get(key)
        rows = [("key", found.name), ("scheme", found.scheme.value), ("profile", found.profile)]
        known = facts_of(found)
        if known is not None:
            rows += [("security", f"{known.security_bits} bits: {known.source}")]
            rows += [("note", known.note)] if known.note else []
        if found.minimum_version > 1:
            rows.append(("minimum version", str(found.minimum_version)))
        if found.embedding_transform:
            rows.append(("renewable", "embeddings pass a secret transform of each version first"))
        versions = table(
            "version",
            "state",
            "public key",
            "evaluation keys",
            right=("version",),
        )
        for version in found.versions:
            mark = " (primary)" if version.version == found.primary_version else ""
            versions.add_row(
                f"{version.version}{mark}",
                version.state,
                size(version.public_key_bytes),
                size(version.evaluation_keys_bytes),
            )
        prints = facts((f"SHA-256 of public key {each.version}", each.public_key_sha256) for each in found.versions)
        output.show(key_document(found), facts(rows), versions, prints)


@app.command("update")
def update(
    key: KeyArgument,
    minimum_version: Annotated[
        int,
        typer.Option(
            "--minimum-version",
            metavar="NUMBER",
            min=1,
            show_default=False,
            help="Refuse every use of older versions from now on; at most the primary version.",
        ),
    ],
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change which versions of a key are used at all. Move the galleries first: 'veilface keys rotate'."""
    output = Output(as_json)
    with connected(state, output, "operator") as client:
        from veilface.cli.documents import key_document

        changed = client.keys.set_minimum_version(key, minimum_version)
        output.show(key_document(changed), f"[green]{changed.name}[/] refuses versions below {changed.minimum_version}")


key_versions.register(app)
app.add_typer(key_policy.app, name="policy")
app.add_typer(key_audit.app, name="audit")
