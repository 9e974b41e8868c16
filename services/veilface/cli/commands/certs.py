"""veilface certs: an authority of one's own and the certificates that it issues, for development and small set-ups."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from veilface.cli.options import JsonOption
from veilface.cli.output import Output

if TYPE_CHECKING:
    from rich.table import Table

    from veilface.common.certificate_facts import CertificateFacts

app = typer.Typer(
    no_args_is_help=True,
    help="Certificates: an authority of your own, and what it issues. Services take up replaced files by themselves.",
)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_AUTHORITY = "ca"

FolderArgument = Annotated[
    Path, typer.Argument(metavar="DIR", help="The folder of the authority.", file_okay=False, show_default=False)
]
NameArgument = Annotated[
    str,
    typer.Argument(metavar="NAME", help="The certificate's file name, without .crt.", show_default=False),
]
IdentityOption = Annotated[
    str,
    typer.Option(
        "--identity", metavar="URI", show_default=False, help="Who its holder is, for example spiffe://veilface/keys."
    ),
]
DnsOption = Annotated[
    list[str] | None,
    typer.Option("--dns", metavar="HOST", help="A host name of the server besides localhost; may be repeated."),
]
IpOption = Annotated[
    list[str] | None,
    typer.Option("--ip", metavar="ADDRESS", help="An address of the server besides loopback; may be repeated."),
]
DaysOption = Annotated[int, typer.Option("--days", min=1, max=3650, help="How long it is valid.")]
WithinOption = Annotated[
    int | None,
    typer.Option("--within", metavar="DAYS", min=0, show_default=False, help="Only if it expires within so many days."),
]


@app.command("create-authority")
def create_authority(folder: FolderArgument, days: DaysOption = 3650, as_json: JsonOption = False) -> None:
    """Make an authority: ca.crt, which everybody may see, and ca.key, which nobody else may."""
    output = Output(as_json)
    with output.reporting():
        from veilface.common.certificate_facts import certificate_facts
        from veilface.common.errors import ConfigurationError, Reason
        from veilface.common.pki import CertificateAuthority

        if any((folder / f"{_AUTHORITY}.{suffix}").exists() for suffix in ("crt", "key")):
            raise ConfigurationError(
                Reason.INVALID_SETTING,
                f"there is an authority in {folder} already; under a new one nothing that it issued would be accepted",
            )
        _make_folder(folder)
        CertificateAuthority.create(validity=timedelta(days=days)).save(folder)
        made = certificate_facts(folder, _AUTHORITY)
        output.show(_document(made), f"[green]made[/] an authority in {folder}; keep {_AUTHORITY}.key to yourself")


@app.command("issue")
def issue(
    folder: FolderArgument,
    name: NameArgument,
    identity: IdentityOption,
    dns: DnsOption = None,
    ip: IpOption = None,
    days: DaysOption = 90,
    as_json: JsonOption = False,
) -> None:
    """Issue a certificate for one identity, good for servers and clients, with a new key."""
    output = Output(as_json)
    with output.reporting():
        from veilface.common.certificate_facts import certificate_facts
        from veilface.common.errors import ConfigurationError, Reason
        from veilface.common.pki import CertificateAuthority

        _check_name(name)
        if any((folder / f"{name}.{suffix}").exists() for suffix in ("crt", "key")):
            raise ConfigurationError(
                Reason.INVALID_SETTING, f"there is a {name} in {folder} already: renew it, or delete it first"
            )
        authority = CertificateAuthority.load(folder)
        authority.issue(identity, dns or (), ip or (), timedelta(days=days)).save(folder, name)
        made = certificate_facts(folder, name)
        output.show(_document(made), f"[green]issued[/] {name}.crt for {made.identity} until {made.not_after:%Y-%m-%d}")


@app.command("renew")
def renew(
    folder: FolderArgument,
    name: NameArgument,
    within: WithinOption = None,
    days: DaysOption = 90,
    as_json: JsonOption = False,
) -> None:
    """Replace a certificate by one with the same identity and names, and a new key."""
    output = Output(as_json)
    with output.reporting():
        from veilface.common.certificate_facts import certificate_facts
        from veilface.common.pki import CertificateAuthority

        _check_name(name)
        margin = timedelta.max if within is None else timedelta(days=within)
        renewed = CertificateAuthority.load(folder).renew(folder, name, margin, timedelta(days=days))
        facts = certificate_facts(folder, name)
        done = "[green]renewed[/]" if renewed else "kept"
        output.show({"renewed": renewed, **_document(facts)}, f"{done} {name}.crt, until {facts.not_after:%Y-%m-%d}")


@app.command("show")
def show(folder: FolderArgument, as_json: JsonOption = False) -> None:
    """Show the certificates of a folder: whose they are, until when, and who signed them."""
    output = Output(as_json)
    with output.reporting():
        from veilface.common.certificate_facts import certificates_in

        certificates = certificates_in(folder)
        document = {"certificates": [_document(each) for each in certificates]}
        output.show(document, _table(certificates))


def _make_folder(folder: Path) -> None:
    from veilface.common.errors import ConfigurationError, Reason

    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            Reason.INVALID_SETTING, f"the folder {folder} cannot be made: {error.strerror}"
        ) from error


def _check_name(name: str) -> None:
    from veilface.common.errors import ConfigurationError, Reason

    if not _NAME.fullmatch(name) or name == _AUTHORITY:
        raise ConfigurationError(
            Reason.INVALID_SETTING,
            f"{name[:80]!r} is not a certificate's name: 1 to 63 of letters, digits, '_' and '-', and not 'ca', which "
            "is the authority itself",
        )


def _document(facts: "CertificateFacts") -> dict[str, Any]:
    return {
        "name": facts.name,
        "identity": facts.identity,
        "dns_names": list(facts.dns_names),
        "ip_addresses": list(facts.ip_addresses),
        "not_before": facts.not_before.isoformat(),
        "not_after": facts.not_after.isoformat(),
        "serial_number": facts.serial_number,
        "sha256": facts.sha256,
        "is_authority": facts.is_authority,
        "is_trusted_here": facts.is_trusted_here,
        "has_private_key": facts.has_private_key,
    }


def _table(certificates: "tuple[CertificateFacts, ...]") -> "Table":
    from veilface.cli.tables import table

    made = table("name", "identity", "expires", "days left", "hosts", "state", right=("days left",), folding=("hosts",))
    now = datetime.now(UTC)
    for each in certificates:
        days_left = (each.not_after - now).days
        if not each.is_trusted_here:
            state = "[red]of another authority[/]"
        elif each.not_after <= now:
            state = "[red]expired[/]"
        else:
            state = "[green]good[/]" if each.has_private_key else "[yellow]without its key[/]"
        hosts = ", ".join((*each.dns_names, *each.ip_addresses))
        who = "(authority)" if each.is_authority else each.identity or "(none)"
        made.add_row(each.name, who, f"{each.not_after:%Y-%m-%d}", str(days_left), hosts, state)
    return made
