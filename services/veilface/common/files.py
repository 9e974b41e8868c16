"""Files that settings point to, and files that only their owner may read."""

import os
import secrets
from pathlib import Path

from veilface.common.errors import ConfigurationError, Reason

_LARGEST_SETTING_FILE_BYTES = 1 << 20


def read_setting_file(path: Path, expected: str) -> bytes:
    """Read a small file that a setting names.

    Args:
        path: The file.
        expected: What it should hold, for the message.

    Raises:
        ConfigurationError: INVALID_SETTING if it cannot be read, is empty or larger than 1 MiB.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_SETTING_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(
            Reason.INVALID_SETTING, f"cannot read {path} ({error.strerror}); it should hold {expected}"
        ) from error
    if not content:
        raise ConfigurationError(Reason.INVALID_SETTING, f"{path} is empty; it should hold {expected}")
    if len(content) > _LARGEST_SETTING_FILE_BYTES:
        raise ConfigurationError(Reason.INVALID_SETTING, f"{path} is larger than 1 MiB; it should hold {expected}")
    return content


def write_private_file(path: Path, content: bytes) -> None:
    """Replace a file in one step; only the owner may read it (mode 0600) at any moment."""
    _replace(path, content, mode=0o600)


def write_public_file(path: Path, content: bytes) -> None:
    """Replace a file in one step; everybody may read it (mode 0644)."""
    _replace(path, content, mode=0o644)


def _replace(path: Path, content: bytes, mode: int) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            # The umask may have taken bits away.
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
