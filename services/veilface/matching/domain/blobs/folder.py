"""Imported segments as files: written once under the name of their digest, never changed, mapped for reading."""

import hashlib
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import BinaryIO, Final

import structlog

from veilface.common.errors import DataLossError, Reason, UnavailableError
from veilface.matching.domain.blobs.mapping import BlobMapping, file_sha256, fingerprint
from veilface.matching.domain.records import BlobReference

_BLOB_NAME: Final = re.compile(r"([0-9a-f]{64})\.segment")
_GALLERY_NAME: Final = re.compile(r"[0-9]{1,19}")


class BlobFolder:
    """The blobs of one record store, in one folder for each gallery. Its methods block; use them from any thread.

    Args:
        folder: Made when the first blob is written.
        store_id: Of the record store: several may share the folder.
        grace_s: For how long a file that nothing refers to may be one whose import is not committed yet.
        clock: The time that files carry.
    """

    def __init__(
        self, folder: Path, store_id: str, *, grace_s: float = 3600.0, clock: Callable[[], float] = time.time
    ) -> None:
        self._folder = folder / store_id
        self._grace_s = grace_s
        self._clock = clock
        self._lock = threading.Lock()
        self._verified: dict[Path, tuple[int, ...]] = {}
        self._log = structlog.get_logger()

    def begin(self, gallery_uid: int) -> "BlobWriter":
        """Begin to write a blob. Raises UnavailableError DEPENDENCY_UNAVAILABLE if the folder cannot be written."""
        gallery = self._gallery_folder(gallery_uid)
        try:
            gallery.mkdir(mode=0o700, parents=True, exist_ok=True)
            return BlobWriter(gallery)
        except OSError as error:
            raise cannot_write(error) from error

    def open(self, gallery_uid: int, blob: BlobReference) -> BlobMapping:
        """Map a blob. Its digest is checked when it is opened first, and again when its file has changed since.

        Raises:
            DataLossError: If it is not there, or not what was imported.
        """
        path = self._path(gallery_uid, blob.sha256)
        verified = self.verify(gallery_uid, blob)
        try:
            mapping = BlobMapping(path)
            if fingerprint(path) != verified:
                raise _damaged(path, "it changed while it was opened")
        except (OSError, ValueError) as error:
            raise _damaged(path, "it went while it was opened") from error
        return mapping

    def verify(self, gallery_uid: int, blob: BlobReference) -> tuple[int, ...]:
        """Check the digest of a blob, unless that was done before; answers what names this state of its file.

        Raises:
            DataLossError: As for `open`.
        """
        path = self._path(gallery_uid, blob.sha256)
        try:
            found = fingerprint(path)
            with self._lock:
                is_verified = self._verified.get(path) == found
            if not is_verified:
                _check_digest(path, blob)
        except OSError as error:
            raise _damaged(path, error.strerror or "it cannot be read") from error
        with self._lock:
            self._verified[path] = found
        return found

    def galleries(self) -> list[int]:
        """The galleries that have a folder."""
        names = [path.name for path in self._folder.iterdir()] if self._folder.is_dir() else []
        return [int(name) for name in names if _GALLERY_NAME.fullmatch(name)]

    def remove_gallery(self, gallery_uid: int) -> None:
        """Remove all blobs of a gallery that is deleted."""
        self._remove(gallery_uid, frozenset(), grace_s=0.0)

    def remove_others(self, gallery_uid: int, referenced: Collection[bytes]) -> int:
        """Remove the blobs of a gallery that nothing refers to, unless they are new; answers how many."""
        return self._remove(gallery_uid, referenced, self._grace_s)

    def _remove(self, gallery_uid: int, kept: Collection[bytes], grace_s: float) -> int:
        gallery = self._gallery_folder(gallery_uid)
        removed = 0
        try:
            if not gallery.is_dir():
                return 0
            for path in gallery.iterdir():
                match = _BLOB_NAME.fullmatch(path.name)
                if match is not None and bytes.fromhex(match[1]) in kept:
                    continue
                if self._clock() - path.stat().st_mtime >= grace_s:
                    path.unlink(missing_ok=True)
                    with self._lock:
                        self._verified.pop(path, None)
                    removed += 1
            if not kept and not any(gallery.iterdir()):
                gallery.rmdir()
        except OSError as error:
            # Nobody refers to what is left; the next round finds it again.
            self._log.warning("blobs_not_removed", gallery_uid=gallery_uid, error=error.strerror)
        return removed

    def _gallery_folder(self, gallery_uid: int) -> Path:
        return self._folder / str(gallery_uid)

    def _path(self, gallery_uid: int, sha256: bytes) -> Path:
        return blob_path(self._gallery_folder(gallery_uid), sha256)


class BlobWriter:
    """A blob that is being written, under a name of its own until it is complete. Use it in a with statement.

    Args:
        folder: Of the gallery.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._temporary = folder / f".{secrets.token_hex(16)}"
        self._digest = hashlib.sha256()
        self._file: BinaryIO = self._temporary.open("xb")
        self.written_bytes = 0

    def __enter__(self) -> "BlobWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._temporary.unlink(missing_ok=True)

    def write(self, data: bytes) -> None:
        """Append. Raises UnavailableError DEPENDENCY_UNAVAILABLE if the folder cannot be written."""
        try:
            self._file.write(data)
        except OSError as error:
            raise cannot_write(error) from error
        self._digest.update(data)
        self.written_bytes += len(data)

    @property
    def sha256(self) -> bytes:
        """The digest of what was written so far."""
        return self._digest.digest()

    def map(self) -> BlobMapping:
        """Map what was written, to look at it before it gets its name."""
        try:
            self._file.flush()
            return BlobMapping(self._temporary)
        except OSError as error:
            raise cannot_write(error) from error

    def keep(self) -> None:
        """Make it durable under the name of its digest."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._temporary.replace(blob_path(self._folder, self.sha256))
            _sync_folder(self._folder)
        except OSError as error:
            raise cannot_write(error) from error


def blob_path(folder: Path, sha256: bytes) -> Path:
    """The file of a blob in the folder of its gallery."""
    return folder / f"{sha256.hex()}.segment"


def cannot_write(error: OSError) -> UnavailableError:
    """The error for a folder that takes no blob."""
    return UnavailableError(
        Reason.DEPENDENCY_UNAVAILABLE, f"the folder for imported segments cannot be written ({error.strerror})"
    )


def _check_digest(path: Path, blob: BlobReference) -> None:
    if path.stat().st_size != blob.total_bytes:
        raise _damaged(path, f"it does not have the {blob.total_bytes} bytes that were imported")
    if file_sha256(path) != blob.sha256:
        raise _damaged(path, "its bytes are not those that were imported")


def _damaged(path: Path, problem: str) -> DataLossError:
    return DataLossError(
        Reason.DATA_LOSS,
        f"the imported segment {path.name} cannot be used: {problem}. Restore the file from a backup of the folder for "
        "blobs, which all replicas share, or erase its enrollments and import them again",
    )


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
