"""Who is at which position of a search result: segment directories, kept by their etags."""

import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from veilface.common.errors import DataLossError, Reason
from veilface.matching.v1 import matching_service_pb2

LARGEST_ETAG_COUNT = 4096


@dataclass(frozen=True, slots=True)
class Directory:
    """The enrollments of one segment's score batch, in the order of the scores.

    Attributes:
        first_enrollments: The first number of each run of consecutive enrollments.
        ends: How many scores there are up to the end of each run.
        subjects: The subject ids.
    """

    first_enrollments: tuple[int, ...]
    ends: tuple[int, ...]
    subjects: tuple[str, ...]

    def at(self, position: int) -> tuple[int, str]:
        """The enrollment number and the subject id of a score.

        Raises:
            DataLossError: DATA_LOSS if there is no such position: the answers of the services do not fit together.
        """
        if not 0 <= position < len(self.subjects):
            raise _does_not_fit(f"position {position} of {len(self.subjects)} matches")
        run = bisect_right(self.ends, position)
        start = self.ends[run - 1] if run else 0
        return self.first_enrollments[run] + position - start, self.subjects[position]


def directory_from_proto(message: matching_service_pb2.SegmentDirectory) -> Directory:
    """Convert a SegmentDirectory. Raises DataLossError DATA_LOSS if its runs and subjects differ in number."""
    ends = tuple(accumulate(run.count for run in message.runs))
    if (ends[-1] if ends else 0) != len(message.subject_ids):
        raise _does_not_fit("a segment's directory names more enrollments than subjects, or fewer")
    return Directory(tuple(run.first_enrollment for run in message.runs), ends, tuple(message.subject_ids))


class DirectoryCache:
    """The directories seen last, at most 4096 over all galleries. Safe to share between threads."""

    def __init__(self) -> None:
        self._directories: OrderedDict[tuple[str, str], Directory] = OrderedDict()
        self._lock = threading.Lock()

    def of_gallery(self, gallery: str) -> dict[str, Directory]:
        """The kept directories of a gallery by etag."""
        with self._lock:
            return {etag: directory for (owner, etag), directory in self._directories.items() if owner == gallery}

    def replace(self, gallery: str, current: Mapping[str, Directory]) -> None:
        """Keep these directories of a gallery and no others: etags that a search no longer names will not come back."""
        with self._lock:
            for key in [key for key in self._directories if key[0] == gallery and key[1] not in current]:
                del self._directories[key]
            for etag, directory in current.items():
                self._directories[gallery, etag] = directory
                self._directories.move_to_end((gallery, etag))
            while len(self._directories) > LARGEST_ETAG_COUNT:
                self._directories.popitem(last=False)


def directories_of(
    responses: Sequence[matching_service_pb2.SearchGalleryResponse], known: Mapping[str, Directory]
) -> dict[str, Directory]:
    """The directory of every segment in a search answer, sent or known already, by etag.

    Raises:
        DataLossError: DATA_LOSS if one was neither sent nor known.
    """
    current: dict[str, Directory] = {}
    for response in responses:
        etag = response.directory_etag
        if response.HasField("directory"):
            current[etag] = directory_from_proto(response.directory)
        elif etag in known:
            current[etag] = known[etag]
        elif response.HasField("score_batch"):
            raise _does_not_fit("a segment came without its directory")
    return current


def _does_not_fit(problem: str) -> DataLossError:
    return DataLossError(Reason.DATA_LOSS, f"the services' answers do not fit together ({problem}): search again")
