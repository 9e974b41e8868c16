"""A segment's file in this process's address space: how much of it is resident is decided here."""

import hashlib
import mmap
from pathlib import Path


class BlobMapping:
    """A file mapped for reading. Its pages count as this process's memory while they are resident.

    Args:
        path: The file, not empty.

    Raises:
        OSError: If it cannot be mapped.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    @property
    def view(self) -> memoryview:
        """The bytes. A view keeps the mapping alive."""
        return memoryview(self._map)

    def will_need(self) -> None:
        """Have the file read into the page cache in the background, if it is not there."""
        self._map.madvise(mmap.MADV_WILLNEED)

    def release(self) -> None:
        """Give the resident pages back; they come again from the page cache or the disk when they are read."""
        self._map.madvise(mmap.MADV_DONTNEED)


def fingerprint(path: Path) -> tuple[int, ...]:
    """What names this state of a file: who has seen its digest need not read it again. Raises OSError."""
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def file_sha256(path: Path) -> bytes:
    """The digest of a file. It is read, not mapped: a large one must not become resident for this. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
