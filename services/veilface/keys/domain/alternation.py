"""An alarm for callers that feel their way along a threshold with nearly the same probe again and again."""

import itertools
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

# Photographs of one person differ by far more than this; small steps of a hill climber do not.
_NEAR_SCORE: Final = 0.02
_WINDOW: Final = 32
_ALARM_ALTERNATIONS: Final = 6
_WATCHED_PAIRS: Final = 10_000


@dataclass(slots=True)
class _Trail:
    scores: deque[float] = field(default_factory=lambda: deque(maxlen=_WINDOW))
    decisions: deque[bool] = field(default_factory=lambda: deque(maxlen=_WINDOW))
    last_probe_sha256: bytes = b""


class AlternationMonitor:
    """Counts changes of the answer between near-duplicate probes of one caller against one target.

    It only warns: the quotas are what limits an attack. It remembers the latest pairs of caller and target in memory,
    of this replica alone, and forgets them on a restart. Scores stay inside.

    Args:
        alarm: Called with the caller at most once per 32 answers about one target. Runs on the worker's thread.
    """

    def __init__(self, alarm: Callable[[str], None]) -> None:
        self._alarm = alarm
        self._lock = threading.Lock()
        self._trails: OrderedDict[tuple[str, str], _Trail] = OrderedDict()

    def observe(self, caller: str, target: str, probe_sha256: bytes, score: float, is_match: bool) -> None:
        """Take in one answer.

        Args:
            target: What the probe was compared with, as a pseudonym.
            score: The best score of the answer.
        """
        with self._lock:
            trail = self._trail(caller, target)
            if probe_sha256 == trail.last_probe_sha256:
                return
            trail.last_probe_sha256 = probe_sha256
            trail.scores.append(score)
            trail.decisions.append(is_match)
            is_alarming = _alternations(trail) >= _ALARM_ALTERNATIONS
            if is_alarming:
                del self._trails[caller, target]
        if is_alarming:
            self._alarm(caller)

    def _trail(self, caller: str, target: str) -> _Trail:
        trail = self._trails.setdefault((caller, target), _Trail())
        self._trails.move_to_end((caller, target))
        while len(self._trails) > _WATCHED_PAIRS:
            self._trails.popitem(last=False)
        return trail


def _alternations(trail: _Trail) -> int:
    return sum(
        before[1] is not after[1] and abs(before[0] - after[0]) <= _NEAR_SCORE
        for before, after in itertools.pairwise(zip(trail.scores, trail.decisions, strict=True))
    )
