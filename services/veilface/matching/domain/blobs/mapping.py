"""A blob in this process's address space: how much of it is resident is decided here."""

import mmap
from pathlib import Path
from typing import Final

# Linux 5.14; Python names it from 3.14 on.
_MADV_POPULATE_READ: Final = 22


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
