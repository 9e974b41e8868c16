"""veilface keys rotate, disable, enable, destroy and restore: the life of key versions."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from veilface.cli.options import JsonOption, StateOption
from veilface.cli.output import Output
from veilface.cli.session import connected

if TYPE_CHECKING:
    from collections.abc import Sequence

    from veilface.client import VeilfaceClient
    from veilface.client.galleries import Gallery
    from veilface.client.keys import Key, KeyVersion

_TRIES = 6

KeyArgument = Annotated[str, typer.Argument(metavar="KEY", help="The key's id.", show_default=False)]
VersionArgument = Annotated[
    str, typer.Argument(metavar="VERSION", help="The key version, for example default/1.", show_default=False)
]
GalleriesOption = Annotated[
    str,
    typer.Option("--galleries", metavar="NAMES", help='Which galleries to move: "all", "none", or ids with commas.'),
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Make no new version: only move what is not under the primary one.")
]
DelayOption = Annotated[
    float | None,
    typer.Option(
        "--after-hours",
        metavar="HOURS",
        min=0.01,
        max=8760,
        show_default="24",
        help="When; until then it can be restored.",
    ),
]
NowOption = Annotated[bool, typer.Option("--now", help="At once and for good.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (rotate, disable, enable, destroy, restore):
        app.command()(command)


def rotate(
    key: KeyArgument,
    galleries: GalleriesOption = "all",
    resume: ResumeOption = False,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a new version of a key and move the key's galleries to it. Nobody is enrolled again; searches go on."""
    output = Output(as_json)
    with connected(state, output, "operator") as client:
        from veilface.cli.documents import key_document

        rotated = client.keys.get(key) if resume else client.keys.rotate(key)
        target = f"{rotated.name}/versions/{rotated.primary_version}"
        moved: dict[str, dict[str, Any]] = {}
        # Until nothing is left: a gallery may have been made under the old version meanwhile.
        while waiting := [each for each in _chosen(client, rotated, target, galleries) if each.name not in moved]:
            for gallery in waiting:
                moved[gallery.name] = _move(client, output, rotated, gallery, target)
        count = sum(each["enrollment_count"] for each in moved.values())
        galleries_moved = f"{len(moved)} {'gallery' if len(moved) == 1 else 'galleries'}"
        done = f"[green]{target}[/] is the primary version; moved {count} enrollments in {galleries_moved} to it"
        output.show({"key": key_document(rotated), "key_version": target, "galleries": [*moved.values()]}, done)


def disable(version: VersionArgument, state: StateOption = None, as_json: JsonOption = False) -> None:
    """Refuse every use of a key version from now on, until it is enabled again."""
    output = Output(as_json)
    with connected(state, output, "operator") as client:
        _show(output, client.keys.disable(version))


def enable(version: VersionArgument, state: StateOption = None, as_json: JsonOption = False) -> None:
    """Allow the use of a disabled key version again."""
    output = Output(as_json)
    with connected(state, output, "operator") as client:
        _show(output, client.keys.enable(version))


def destroy(
    version: VersionArgument,
    after_hours: DelayOption = None,
    now: NowOption = False,
    yes: YesOption = False,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Destroy the secret key of a version: what is encrypted under it can never be decided on again."""
    from datetime import timedelta

    if now and after_hours is not None:
        raise typer.BadParameter("give --now or --after-hours, not both")
    delay = timedelta(0) if now else None if after_hours is None else timedelta(hours=after_hours)
    output = Output(as_json)
    with connected(state, output, "operator") as client:
        from veilface.client.names import parse_version

        name = str(parse_version(version))
        bound = [gallery.name for gallery in client.galleries.list() if gallery.key_version == name]
        if bound:
            output.note(
                f"[yellow]{', '.join(bound)} is under {name} still: move it first with 'veilface keys rotate'[/]"
            )
        if now and not yes:
            output.confirm(f"Destroy the secret key of {name} for good?")
        _show(output, client.keys.destroy(version, delay))


def restore(version: VersionArgument, state: StateOption = None, as_json: JsonOption = False) -> None:
    """Cancel a scheduled destruction. The key version is disabled then."""
    output = Output(as_json)
    with connected(state, output, "operator") as client:
        _show(output, client.keys.restore(version))


def _chosen(client: "VeilfaceClient", key: "Key", target: str, galleries: str) -> "Sequence[Gallery]":
    from veilface.common.errors import InvalidArgumentError, Reason

    if galleries == "none":
        return []
    if galleries == "all":
        found = [each for each in client.galleries.list() if each.key_version.startswith(f"{key.name}/")]
    else:
        found = [client.galleries.get(name.strip()) for name in galleries.split(",")]
    for each in found:
        if not each.key_version.startswith(f"{key.name}/"):
            raise InvalidArgumentError(Reason.WRONG_KEY_VERSION, f"{each.name} is under {each.key_version}")
    return [each for each in found if each.key_version != target]


def _move(client: "VeilfaceClient", output: Output, key: "Key", gallery: "Gallery", target: str) -> dict[str, Any]:
    import time

    from veilface.cli.progress import progress_bar
    from veilface.common.errors import UnavailableError, VeilfaceError

    started_s = time.perf_counter()
    moved_count = tries = 0
    with progress_bar(output, f"moving {gallery.name}", gallery.enrollment_count) as advance:
        while True:
            try:
                for progress in client.galleries.rotate(gallery.name, target):
                    if progress.moved_count > moved_count:
                        tries = 0
                    advance(progress.moved_count - moved_count)
                    moved_count = progress.moved_count
                break
            except VeilfaceError as error:
                tries += 1
                if not isinstance(error, UnavailableError) or tries == _TRIES:
                    output.note(f"To go on: [bold]veilface keys rotate {key.name.removeprefix('keys/')} --resume[/]")
                    raise
            time.sleep(min(8.0, 0.25 * 2**tries))
    return {
        "name": gallery.name,
        "previous_key_version": gallery.key_version,
        "key_version": target,
        "enrollment_count": moved_count,
        "milliseconds": round((time.perf_counter() - started_s) * 1000, 3),
    }


def _show(output: Output, version: "KeyVersion") -> None:
    from veilface.cli.documents import key_version_document

    when = f" at {version.destroy_time:%Y-%m-%d %H:%M %Z}" if version.state == "destroy scheduled" else ""
    output.show(key_version_document(version), f"{version.name} is {version.state}{when}")
