"""What an operator imports: embeddings in an array, and whose they are. Checked as a whole before anything is sent."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from veilface.common.errors import InvalidArgumentError, Reason
from veilface.common.names import GalleryName
from veilface.crypto.contract import MAX_DIMENSION, Metric

NORM_TOLERANCE = 1e-3
MAX_ENROLLMENTS_PER_SUBJECT = 64
_ROWS_PER_CHECK = 16_384


@dataclass(frozen=True, slots=True, eq=False)
class ImportSource:
    """Embeddings and the subject of each.

    Attributes:
        vectors: Shape (count, dimension), float32 or float64; may be mapped from a file.
        subject_ids: One for each row.
        normalize: Divide each row by its norm.

    Raises:
        InvalidArgumentError: WRONG_DIMENSION or INVALID_FIELD for arrays of other shapes, types or lengths;
            INVALID_NAME for a subject id that is not one; SUBJECT_FULL if a subject has too many rows.
    """

    vectors: NDArray[np.floating]
    subject_ids: tuple[str, ...]
    normalize: bool = False

    def __post_init__(self) -> None:
        shape = self.vectors.shape
        if len(shape) != 2 or not 1 <= shape[1] <= MAX_DIMENSION or not shape[0]:
            raise InvalidArgumentError(
                Reason.WRONG_DIMENSION,
                f"the embeddings have shape {shape}; expected (count, dimension) with 1 to {MAX_DIMENSION} dimensions",
            )
        if self.vectors.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
            raise InvalidArgumentError(
                Reason.INVALID_FIELD, f"the embeddings are {self.vectors.dtype}; expected float32 or float64"
            )
        if len(self.subject_ids) != shape[0]:
            raise InvalidArgumentError(
                Reason.INVALID_FIELD,
                f"{len(self.subject_ids)} subject ids for {shape[0]} embeddings; one each is needed",
            )
        _check_subjects(self.subject_ids)

    @classmethod
    def read(cls, vectors: Path, subject_ids: Path, *, normalize: bool = False) -> Self:
        """Map a .npy file and read a text file with a subject id on each line. Raises InvalidArgumentError."""
        return cls(_map_vectors(vectors), _read_lines(subject_ids), normalize)

    @property
    def count(self) -> int:
        """How many embeddings there are."""
        return int(self.vectors.shape[0])

    @property
    def dimension(self) -> int:
        """Their dimensions."""
        return int(self.vectors.shape[1])

    def rows(self, start: int, end: int) -> NDArray[np.floating]:
        """The embeddings from `start` to before `end`, normalized if that is wanted."""
        rows = self.vectors[start:end]
        if not self.normalize:
            return np.ascontiguousarray(rows)
        exact = rows.astype(np.float64)
        exact /= np.linalg.norm(exact, axis=1, keepdims=True)
        return exact

    def check_embeddings(self, metric: Metric) -> None:
        """Look at every embedding. Raises InvalidArgumentError EMBEDDING_OUT_OF_RANGE, naming the first row."""
        for start, norms in self._norms():
            if self.normalize:
                bad = ~(np.isfinite(norms) & (norms > 0))
                problem = "holds a value that is not finite, or only zeros"
            elif metric is Metric.COSINE:
                bad = ~(np.abs(norms - 1.0) <= NORM_TOLERANCE)
                problem = "is not L2-normalised, as the cosine needs it: normalize it (--normalize)"
            else:
                bad = ~(norms <= 1.0 + NORM_TOLERANCE)
                problem = "has a norm above 1: scale all embeddings, also those of probes, by the same factor"
            if bad.any():
                row = int(np.flatnonzero(bad)[0])
                if not np.isfinite(norms[row]):
                    problem = "holds a value that is not finite"
                raise InvalidArgumentError(
                    Reason.EMBEDDING_OUT_OF_RANGE, f"row {start + row} of the embeddings, counted from 0, {problem}"
                )

    def _norms(self) -> Iterator[tuple[int, NDArray[np.float64]]]:
        for start in range(0, self.count, _ROWS_PER_CHECK):
            rows = self.vectors[start : start + _ROWS_PER_CHECK].astype(np.float64)
            yield start, np.sqrt(np.einsum("ij,ij->i", rows, rows))


def _map_vectors(path: Path) -> NDArray[np.floating]:
    try:
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InvalidArgumentError(
            Reason.INVALID_FIELD, f"{path} cannot be read as a .npy file of numbers: save it with numpy.save"
        ) from error
    if not isinstance(loaded, np.ndarray):
        raise InvalidArgumentError(Reason.INVALID_FIELD, f"{path} holds several arrays: save one with numpy.save")
    return loaded


def _read_lines(path: Path) -> tuple[str, ...]:
    try:
        return tuple(path.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(
            Reason.INVALID_FIELD, f"{path} cannot be read as a text file with a subject id on each line"
        ) from error


def _check_subjects(subject_ids: tuple[str, ...]) -> None:
    counts = Counter(subject_ids)
    gallery = GalleryName("a")
    for subject_id, count in counts.items():
        try:
            gallery.subject(subject_id)
        except InvalidArgumentError as error:
            line = subject_ids.index(subject_id) + 1
            raise InvalidArgumentError(Reason.INVALID_NAME, f"subject id {line}: {error.message}") from error
        if count > MAX_ENROLLMENTS_PER_SUBJECT:
            raise InvalidArgumentError(
                Reason.SUBJECT_FULL,
                f"subject {subject_id} has {count} embeddings; at most {MAX_ENROLLMENTS_PER_SUBJECT} are allowed",
            )
