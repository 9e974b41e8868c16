"""Puts the parts of the matching service together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from veilface.common.database import Database
from veilface.common.pool import BoundedPool
from veilface.common.settings import environment_name
from veilface.common.signing import Signer, TrustStore
from veilface.crypto.contract import PublicMaterial, TemplateComparer
from veilface.matching.domain.blobs.folder import BlobFolder
from veilface.matching.domain.blobs.garbage import BlobGarbage
from veilface.matching.domain.blobs.segments import BlobSegments
from veilface.matching.domain.comparers import Comparers, KeyMaterial
from veilface.matching.domain.comparisons import Comparisons
from veilface.matching.domain.enrollments import Enrollments, EnrollmentStores
from veilface.matching.domain.fanout.answering import PeerAnswers
from veilface.matching.domain.fanout.fanout import FanOut, FanOutTerms
from veilface.matching.domain.fanout.peers import FanOutEvents, NoPeers, Peers
from veilface.matching.domain.galleries import Galleries
from veilface.matching.domain.imported import ImportedComparisons
from veilface.matching.domain.imports import Imports
from veilface.matching.domain.paging import PageTokens
from veilface.matching.domain.rotation import GalleryRotation, Reencryption, RotationStores
from veilface.matching.domain.search.preparation import ProbePreparation
from veilface.matching.domain.search.room import Room
from veilface.matching.domain.search.scans import GalleryScans
from veilface.matching.domain.search.scoring import ScoringPass
from veilface.matching.domain.search.search import GallerySearch
from veilface.matching.domain.search.windows import SegmentWindows
from veilface.matching.domain.segments.cache import SegmentCache
from veilface.matching.domain.segments.caches import SegmentCaches
from veilface.matching.domain.segments.library import LibraryEvents, SegmentLibrary
from veilface.matching.domain.segments.memory import SegmentMemory
from veilface.matching.domain.segments.packer import SegmentPacker
from veilface.matching.domain.segments.packing import Packing, PackingEvents
from veilface.matching.domain.segments.publisher import SegmentPublisher
from veilface.matching.domain.segments.sweeper import SegmentSweeper
from veilface.matching.domain.store.compaction import CompactionRecords
from veilface.matching.domain.store.enrollments import EnrollmentRecords
from veilface.matching.domain.store.galleries import GalleryRecords
from veilface.matching.domain.store.identity import StoreIdentity
from veilface.matching.domain.store.imports import ImportRecords
from veilface.matching.domain.store.moves import MoveRecords
from veilface.matching.domain.store.snapshots import SnapshotRecords
from veilface.matching.domain.store.subjects import SubjectRecords
from veilface.matching.domain.store.switching import SwitchRecords
from veilface.matching.domain.store.templates import TemplateRecords
from veilface.matching.domain.templates import TemplateDesk
from veilface.matching.domain.tickets import TicketIssuer


class SegmentEvents(LibraryEvents, PackingEvents, FanOutEvents, Protocol):
    """Who wants to know what happens to segments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backends:
    """What the service stands on.

    Attributes:
        caches: Where segments are kept beside this process's memory, the nearest first.
        blobs: Where imported segments are kept; None if nothing can be imported here.
        peers: The other replicas; None for one that is alone.
    """

    database: Database
    identity: StoreIdentity
    caches: Sequence[SegmentCache]
    keys: KeyMaterial
    reencryption: Reencryption
    load_comparer: Callable[[PublicMaterial], TemplateComparer]
    trust: TrustStore
    signer: Signer
    events: SegmentEvents
    compute: BoundedPool
    storage: BoundedPool
    blobs: BlobFolder | None = None
    peers: Peers | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Sizes and times; see `MatchingSettings`."""

    memory_bytes: int
    window_bytes: int
    search_bytes: int
    waiting_searches: int
    remembered_slots: int
    ticket_lifetime_s: float
    publish_quiet_s: float
    publish_longest_s: float
    sweep_s: float
    fan_out_segments: int
    peer_patience_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """The service's rules, and what goes on behind them."""

    galleries: Galleries
    enrollments: Enrollments
    imports: Imports
    rotation: GalleryRotation
    comparisons: Comparisons
    search: GallerySearch
    peer_answers: PeerAnswers
    library: SegmentLibrary
    packer: SegmentPacker
    publisher: SegmentPublisher
    sweeper: SegmentSweeper

    async def close(self, publish_timeout_s: float = 10.0) -> None:
        """Stop what goes on behind the rules; what is packed goes into the shared cache first, if it can."""
        await self.sweeper.close()
        await self.packer.close()
        await self.publisher.close(publish_timeout_s)


def assemble(backends: Backends, limits: Limits) -> Matching:
    """Put everything together; the sweeper is not started yet."""
    database, compute, storage = backends.database, backends.compute, backends.storage
    records = GalleryRecords(database)
    templates = TemplateRecords(database)
    snapshots = SnapshotRecords(database, limits.remembered_slots)
    comparers = Comparers(backends.keys, backends.load_comparer, compute)
    desk = TemplateDesk(backends.trust, compute)
    tickets = TicketIssuer(backends.signer, limits.ticket_lifetime_s)
    tokens = PageTokens(backends.identity.derive("page tokens"))
    memory = SegmentMemory(limits.memory_bytes - limits.window_bytes)
    caches = SegmentCaches(backends.caches, compute, storage)
    library = SegmentLibrary(
        memory=memory,
        caches=caches,
        blobs=BlobSegments(backends.blobs, compute, storage),
        packing=Packing(templates, compute, storage, backends.events),
        comparers=comparers,
        compute=compute,
        events=backends.events,
    )
    publisher = SegmentPublisher(
        memory=memory,
        caches=caches,
        snapshots=snapshots,
        compute=compute,
        storage=storage,
        quiet_s=limits.publish_quiet_s,
        longest_wait_s=limits.publish_longest_s,
    )
    library.listen(publisher)
    packer = SegmentPacker(library, snapshots, storage)
    scoring = ScoringPass(compute)
    room, peers_room = _rooms(limits, has_peers=backends.peers is not None)
    windows = SegmentWindows(library, Room(limits.window_bytes))
    preparation = ProbePreparation(
        desk=desk,
        templates=templates,
        scans=GalleryScans(windows, scoring),
        comparers=comparers,
        tickets=tickets,
        compute=compute,
        storage=storage,
    )
    import_records = ImportRecords(database)
    garbage = None
    if backends.blobs is not None:
        garbage = BlobGarbage(backends.blobs, import_records.blobs, import_records.has_gallery, storage)
    return Matching(
        galleries=Galleries(
            database=database,
            records=records,
            comparers=comparers,
            library=library,
            blobs=backends.blobs,
            tokens=tokens,
            storage=storage,
        ),
        enrollments=Enrollments(
            stores=EnrollmentStores(
                database=database,
                galleries=records,
                enrollments=EnrollmentRecords(database),
                subjects=SubjectRecords(database),
            ),
            desk=desk,
            comparers=comparers,
            library=library,
            packer=packer,
            tokens=tokens,
            compute=compute,
            storage=storage,
        ),
        imports=Imports(
            trust=backends.trust,
            galleries=records,
            records=import_records,
            comparers=comparers,
            blobs=backends.blobs,
            tokens=tokens,
            compute=compute,
            storage=storage,
        ),
        rotation=GalleryRotation(
            stores=RotationStores(
                database=database,
                moves=MoveRecords(database),
                switches=SwitchRecords(database),
                compactions=CompactionRecords(database, MoveRecords(database)),
                blobs=backends.blobs,
            ),
            trust=backends.trust,
            reencryption=backends.reencryption,
            comparers=comparers,
            library=library,
            packer=packer,
            compute=compute,
            storage=storage,
        ),
        comparisons=Comparisons(
            desk=desk,
            templates=templates,
            imported=ImportedComparisons(snapshots, windows, scoring, room, compute, storage),
            comparers=comparers,
            tickets=tickets,
            compute=compute,
            storage=storage,
        ),
        search=GallerySearch(
            preparation=preparation,
            snapshots=snapshots,
            room=room,
            fan_out=FanOut(
                peers=backends.peers or NoPeers(),
                terms=FanOutTerms(limits.fan_out_segments, limits.peer_patience_s),
                tickets=tickets,
                compute=compute,
                events=backends.events,
            ),
            storage=storage,
        ),
        peer_answers=PeerAnswers(
            preparation=preparation,
            snapshots=snapshots,
            room=peers_room,
            events=backends.events,
            compute=compute,
            storage=storage,
        ),
        library=library,
        packer=packer,
        publisher=publisher,
        sweeper=SegmentSweeper(
            library=library,
            caches=caches,
            publisher=publisher,
            snapshots=snapshots,
            storage=storage,
            interval_s=limits.sweep_s,
            garbage=garbage,
        ),
    )


def _rooms(limits: Limits, *, has_peers: bool) -> tuple[Room, Room]:
    """The memory of the searches that arrive here, and that of what peers ask for."""
    setting = environment_name("search_memory_bytes")
    if not has_peers:
        room = Room(limits.search_bytes, limits.waiting_searches, setting)
        return room, room
    own, of_peers = (Room(limits.search_bytes // 2, limits.waiting_searches, setting) for _ in range(2))
    return own, of_peers
