"""What is done to a vault from outside of the service: `python -m veilface.keys.offline --help`.

Stop every replica before `reseal`. The other commands only read, or make a new file.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from veilface.common.database import Database
from veilface.common.errors import ConfigurationError, Reason, VeilfaceError
from veilface.common.identities import OPERATOR_IDENTITY
from veilface.keys.domain.audit import AuditHead, audited
from veilface.keys.domain.master_key import (
    CommandSource,
    EnvironmentSource,
    FileSource,
    MasterKey,
    MasterKeySource,
    ProviderSource,
    create_master_key_file,
)
from veilface.keys.domain.resealing import reseal
from veilface.keys.domain.sealing import KeyWrapper
from veilface.keys.hardening import protect_process_memory
from veilface.keys.storage.audit import AuditReport, DurableAuditLog, verify_audit
from veilface.keys.storage.key_store import SqlKeyStore
from veilface.keys.storage.migrate import migrate

_HASH_BYTES = 32


def reseal_vault(database_url: str, audit_file: Path, old: MasterKeySource, new: MasterKeySource) -> int:
    """Move every sealed secret to a new master key, all or none. Answers how many key versions were moved.

    Raises:
        ConfigurationError: MASTER_KEY_MISSING or INVALID_SETTING.
        DataLossError: SEAL_BROKEN if a version was not sealed under the old master key.
        FailedPreconditionError: KEY_CHANGED if a service changed the vault meanwhile.
    """
    database = Database(database_url)
    audit = DurableAuditLog(database, audit_file, _now)
    try:
        migrate(database)
        audit.open()
        with (
            _loaded(old) as old_key,
            _loaded(new) as new_key,
            audited(audit, OPERATOR_IDENTITY, "reseal-vault") as entry,
        ):
            entry.allow()
            return reseal(SqlKeyStore(database), old_key, new_key)
    finally:
        audit.close()
        database.close()


def verify_audit_log(database_url: str, files: Sequence[Path], expected: AuditHead | None) -> AuditReport:
    """Check the audit log in the database, its files, and a head that was written down earlier.

    Raises:
        DataLossError: AUDIT_BROKEN, saying where the log was edited, reordered or cut.
        ConfigurationError: INVALID_SETTING if a file cannot be read.
    """
    database = Database(database_url)
    try:
        return verify_audit(database, files, expected)
    finally:
        database.close()


def parse_head(text: str) -> AuditHead:
    """Parse "{sequence}:{hash in hexadecimal}". Raises ConfigurationError (INVALID_SETTING)."""
    sequence, _, digest = text.partition(":")
    try:
        head = AuditHead(int(sequence), bytes.fromhex(digest))
    except ValueError as error:
        raise _no_head(text) from error
    if head.sequence < 0 or len(head.hash) != _HASH_BYTES:
        raise _no_head(text)
    return head


def format_head(head: AuditHead) -> str:
    """What `parse_head` parses."""
    return f"{head.sequence}:{head.hash.hex()}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. The exit code is 0, or 1 with one line on standard error."""
    options = _parser().parse_args(arguments)
    try:
        print(_run(options))
    except VeilfaceError as error:
        print(f"veilface: {error.reason}: {error.message}", file=sys.stderr)
        return 1
    return 0


def _run(options: argparse.Namespace) -> str:
    if options.command == "create-master-key":
        create_master_key_file(options.path)
        return f"made {options.path}; keep a copy in a safe place, without it every key is lost"
    url = options.database_url or os.environ.get("VEILFACE_DATABASE_URL", "")
    if not url:
        raise ConfigurationError(Reason.INVALID_SETTING, "no database: give --database-url or VEILFACE_DATABASE_URL")
    if options.command == "reseal":
        count = reseal_vault(url, options.audit_file, _source(options, "old"), _source(options, "new"))
        return f"moved {count} key versions to the new master key; start the services with it"
    expected = None if options.head is None else parse_head(options.head)
    report = verify_audit_log(url, options.files, expected)
    files = f", {report.file_record_count} of them in files too" if options.files else ""
    return f"the audit log is in order: {report.head.sequence} records{files}; its head is {format_head(report.head)}"


@contextmanager
def _loaded(source: MasterKeySource) -> Iterator[KeyWrapper]:
    """A master key for the length of a block; one that is in this process is wiped then."""
    wrapper = source.load()
    try:
        yield wrapper
    finally:
        if isinstance(wrapper, MasterKey):
            wrapper.wipe()


def _source(options: argparse.Namespace, age: str) -> MasterKeySource:
    kinds = ("file", "variable", "command", "provider")
    file, variable, command, provider = (getattr(options, f"{age}_{kind}") for kind in kinds)
    if file is not None:
        return FileSource(file)
    if variable is not None:
        return EnvironmentSource(variable, os.environ)
    if command is not None:
        return CommandSource(tuple(shlex.split(command)))
    return ProviderSource(provider)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m veilface.keys.offline", description="Look after a vault.")
    commands = parser.add_subparsers(dest="command", required=True)

    create = commands.add_parser("create-master-key", help="make a new master key in a new file")
    create.add_argument("path", type=Path, help="the file; it must not exist")

    seal = commands.add_parser("reseal", help="move every sealed key to a new master key; stop all services before")
    seal.add_argument("--database-url", help="the key database; VEILFACE_DATABASE_URL by default")
    seal.add_argument(
        "--audit-file",
        type=Path,
        required=True,
        help="an audit file that no running service writes; keep it with theirs",
    )
    for age in ("old", "new"):
        group = seal.add_mutually_exclusive_group(required=True)
        group.add_argument(f"--{age}-file", type=Path, help=f"the file of the {age} master key")
        group.add_argument(f"--{age}-variable", help=f"the environment variable of the {age} master key")
        group.add_argument(f"--{age}-command", help=f"a command that prints the {age} master key")
        group.add_argument(f"--{age}-provider", help=f'"package.module:function" that reaches the {age} master key')

    verify = commands.add_parser("audit-verify", help="check the audit log")
    verify.add_argument("--database-url", help="the key database; VEILFACE_DATABASE_URL by default")
    verify.add_argument("--head", help='a head written down earlier, "{sequence}:{hash}"')
    verify.add_argument(
        "files", type=Path, nargs="*", help="the audit files of all replicas and reseals, to compare with the database"
    )
    return parser


def _no_head(text: str) -> ConfigurationError:
    return ConfigurationError(
        Reason.INVALID_SETTING,
        f'{text[:80]!r} is not a head of the audit log: expected "{{sequence}}:{{64 hex digits}}"',
    )


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    # Here and not in `main`: it is for the whole life of a process, and master keys are read in this one.
    protect_process_memory()
    sys.exit(main())
