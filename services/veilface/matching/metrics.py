"""What the matching service measures beside its calls."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from veilface.matching.domain.fanout.peers import Retry
from veilface.matching.domain.segments.cache import Origin


class MatchingMetrics:
    """Counts where segments come from and who scores them, and how the shared cache does."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._segments = Counter(
            "veilface_matching_segments",
            "Segments that were needed, by where they came from.",
            ("origin",),
            registry=registry,
        )
        self._packed = Counter(
            "veilface_matching_templates_packed", "Templates that were added to segments.", registry=registry
        )
        self._refused = Counter(
            "veilface_matching_cache_entries_refused",
            "Entries of the shared cache that this record store had not put there.",
            registry=registry,
        )
        self._reachable = Gauge(
            "veilface_matching_cache_reachable", "1 if the shared cache answered last time, else 0.", registry=registry
        )

        self._of_peers = Counter(
            "veilface_matching_segments_scored_by_peers",
            "Segments that other replicas scored for searches that arrived here.",
            registry=registry,
        )
        self._for_peers = Counter(
            "veilface_matching_segments_scored_for_peers",
            "Segments scored for searches that arrived at other replicas.",
            registry=registry,
        )
        self._retried = Counter(
            "veilface_matching_segments_retried",
            "Segments that a peer was asked for and that were scored here after all, by why.",
            ("cause",),
            registry=registry,
        )
        self._peers = Gauge(
            "veilface_matching_peers", "Other replicas that can be asked for segments now.", registry=registry
        )

    def segment_obtained(self, origin: Origin) -> None:
        """See `LibraryEvents`."""
        self._segments.labels(origin.value).inc()

    def templates_packed(self, count: int) -> None:
        """See `LibraryEvents`."""
        self._packed.inc(count)

    def cache_reachable(self, is_reachable: bool) -> None:
        """See `CacheEvents`."""
        self._reachable.set(int(is_reachable))

    def cache_entry_refused(self) -> None:
        """See `CacheEvents`."""
        self._refused.inc()

    def segments_scored_by_peers(self, count: int) -> None:
        """See `FanOutEvents`."""
        self._of_peers.inc(count)

    def segments_scored_for_peers(self, count: int) -> None:
        """See `FanOutEvents`."""
        self._for_peers.inc(count)

    def segments_retried(self, cause: Retry, count: int) -> None:
        """See `FanOutEvents`."""
        self._retried.labels(cause.value).inc(count)

    def peers_live(self, count: int) -> None:
        """See `DirectoryEvents`."""
        self._peers.set(count)
