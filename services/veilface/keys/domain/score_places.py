"""Which stored template each score of a search is about: the place that named candidates are counted by."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from veilface.crypto.contract import ScoreDecrypter
from veilface.keys.domain.ledger import pseudonym
from veilface.keys.domain.ranking import Positions
from veilface.keys.domain.tickets import TicketedAnswer


def gallery_prefix(answer: TicketedAnswer) -> str:
    """What the names of all places of the searched gallery begin with; another one if the gallery is made again."""
    statement = answer.statement
    return pseudonym("places", statement.gallery, str(statement.gallery_uid)) + "/"


class ScorePlaces:
    """Translates between positions in the scores of an answer and places.

    A place is a slot of a segment of a gallery. Positions move when somebody else is erased; places do not.

    Args:
        answer: Its ciphertexts are well-formed: the decrypter took them.
        decrypter: Reads their slots.
    """

    def __init__(self, answer: TicketedAnswer, decrypter: ScoreDecrypter) -> None:
        self._answer = answer
        self._decrypter = decrypter
        self._prefix = gallery_prefix(answer)
        counts = [batch.statement.score_count for batch in answer.batches]
        self._starts = np.concatenate(([0], np.cumsum(counts)))
        self._slots: dict[int, NDArray[np.intp]] = {}

    def locate(self, position: int) -> tuple[int, int]:
        """The batch and the index inside it."""
        batch_index = int(np.searchsorted(self._starts, position, side="right")) - 1
        return batch_index, position - int(self._starts[batch_index])

    def name(self, position: int) -> str:
        """The name of a position's place: `gallery_prefix` and the place in the gallery."""
        batch_index, score_index = self.locate(position)
        segment = self._answer.batches[batch_index].statement.segment
        return f"{self._prefix}{segment}/{self._slots_of(batch_index)[score_index]}"

    def positions(self, names: Iterable[str]) -> Positions:
        """The positions of those places that are in the answer."""
        wanted: dict[int, set[int]] = {}
        for name in names:
            segment, slot = name.removeprefix(self._prefix).split("/")
            wanted.setdefault(int(segment), set()).add(int(slot))
        found = [
            self._starts[index] + np.flatnonzero(np.isin(self._slots_of(index), list(wanted[batch.statement.segment])))
            for index, batch in enumerate(self._answer.batches)
            if batch.statement.segment in wanted
        ]
        return np.concatenate(found).astype(np.intp) if found else np.empty(0, dtype=np.intp)

    def _slots_of(self, batch_index: int) -> NDArray[np.intp]:
        if batch_index not in self._slots:
            batch = self._answer.batches[batch_index]
            statement = batch.statement
            self._slots[batch_index] = self._decrypter.slots(batch.ciphertext, statement.space, statement.score_count)
        return self._slots[batch_index]
