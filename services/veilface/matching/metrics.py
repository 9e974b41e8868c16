"""What the matching service measures beside its calls."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from veilface.matching.domain.segments.cache import Origin


class MatchingMetrics:
    """Counts where segments come from and how the shared cache does."""

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
