"""An alarm for callers that feel their way along a threshold with nearly the same probe again and again."""

import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

# Photographs of one person differ by far more than this; small steps of a hill climber do not.
_NEAR_SCORE: Final = 0.02
_WINDOW: Final = 32
_ALARM_PAIRS: Final = 6
_WATCHED_TRAILS: Final = 10_000


@dataclass(slots=True)
class _Answer:
    probe_sha256: bytes
    score: float
    is_match: bool
    is_paired: bool = False

    def contradicts(self, other: "_Answer") -> bool:
        return self.is_match is not other.is_match and abs(self.score - other.score) <= _NEAR_SCORE


_Trail = deque[_Answer]


class AlternationMonitor:
    """Counts near-duplicate probes of one caller that got opposite answers about one stored template.

    Two of the latest 32 answers make a pair if they are opposite and their scores are next to each other; each answer
    is in one pair at most, so one odd answer among many raises no alarm, and other probes in between hide nothing.

    It only warns: the quotas are what limits an attack. It remembers the latest callers and templates in memory, of
    this replica alone, and forgets them on a restart. Scores stay inside.

    Args:
        alarm: Called with the caller when six pairs were seen about one template, which are forgotten then. Runs on the
            worker's thread.
    """

    def __init__(self, alarm: Callable[[str], None]) -> None:
        self._alarm = alarm
        self._lock = threading.Lock()
        self._trails: OrderedDict[tuple[str, str], _Trail] = OrderedDict()

    def observe(self, caller: str, target: str, probe_sha256: bytes, score: float, is_match: bool) -> None:
        """Take in one answer.

        Args:
            target: The template that the probe was most alike, as a pseudonym.
            score: Their score.
        """
        answer = _Answer(probe_sha256, score, is_match)
        with self._lock:
            trail = self._trail(caller, target)
            if any(probe_sha256 == earlier.probe_sha256 for earlier in trail):
                return
            for earlier in trail:
                if not earlier.is_paired and answer.contradicts(earlier):
                    answer.is_paired = earlier.is_paired = True
                    break
            trail.append(answer)
            is_alarming = sum(each.is_paired for each in trail) >= 2 * _ALARM_PAIRS
            if is_alarming:
                del self._trails[caller, target]
        if is_alarming:
            self._alarm(caller)

    def _trail(self, caller: str, target: str) -> _Trail:
        trail = self._trails.setdefault((caller, target), deque(maxlen=_WINDOW))
        self._trails.move_to_end((caller, target))
        while len(self._trails) > _WATCHED_TRAILS:
            self._trails.popitem(last=False)
        return trail
