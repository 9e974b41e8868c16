"""Runs the matching service: `python -m veilface.matching`."""

import asyncio
import ctypes
import os
import resource
import secrets
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import structlog

from veilface.common.channel import ChannelOptions, open_channel
from veilface.common.database import Database
from veilface.common.health import Readiness
from veilface.common.identities import MATCHING_IDENTITY
from veilface.common.identity import AccessPolicy
from veilface.common.key_client import KeyMaterialClient
from veilface.common.logging import configure_logging
from veilface.common.metrics import ServerMetrics
from veilface.common.pool import BoundedPool
from veilface.common.process import run
from veilface.common.reencryption_client import ReencryptionClient
from veilface.common.server import Registration, serve
from veilface.common.settings import load_settings
from veilface.common.signing import Signer, TrustStore
from veilface.crypto.public.registry import load_comparer, warm
from veilface.matching.access import DEFAULT_ACCESS
from veilface.matching.assembly import Backends, Limits, Matching, assemble
from veilface.matching.domain.blobs.folder import BlobFolder
from veilface.matching.domain.segments.cache import SegmentCache
from veilface.matching.domain.segments.folder_cache import FolderSegmentCache
from veilface.matching.domain.segments.redis_cache import RedisSegmentCache
from veilface.matching.domain.store.identity import StoreIdentity
from veilface.matching.metrics import MatchingMetrics
from veilface.matching.peers.directory import PeerDirectory
from veilface.matching.peers.servicer import PeerServicer
from veilface.matching.readiness import DATABASE, KERNELS, prepare_database, warm_kernels, watch_database
from veilface.matching.redis_client import connect_redis
from veilface.matching.servicer import GalleryServicer, MatchingServicer
from veilface.matching.settings import MatchingSettings
from veilface.matching.v1 import (
    gallery_service_pb2,
    gallery_service_pb2_grpc,
    matching_service_pb2,
    matching_service_pb2_grpc,
    peer_service_pb2,
    peer_service_pb2_grpc,
)

_OWNER_ONLY = 0o077
_M_ARENA_MAX = -8
_PEER_CONNECT_TIMEOUT_S = 2.0


def _access_policy(settings: MatchingSettings) -> AccessPolicy:
    if settings.access_policy is None:
        return AccessPolicy(DEFAULT_ACCESS)
    return AccessPolicy.from_file(settings.access_policy)


def _segment_folder(settings: MatchingSettings, database: Database) -> Path | None:
    if settings.segment_folder is None and database.sqlite_file is not None:
        return database.sqlite_file.parent / "segments"
    return settings.segment_folder


def _blobs(settings: MatchingSettings, database: Database, identity: StoreIdentity) -> BlobFolder | None:
    folder = settings.blob_folder
    if folder is None and database.sqlite_file is not None:
        folder = database.sqlite_file.parent / "blobs"
    return None if folder is None else BlobFolder(folder, identity.store_id)


def _allow_many_files() -> None:
    # Every mapped segment holds a descriptor, and the usual limit is meant for programs that use select().
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _share_freed_memory() -> None:
    # glibc keeps freed arrays of some megabytes in an arena for each thread: several times what the budgets count.
    with suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def _caches(
    settings: MatchingSettings, database: Database, identity: StoreIdentity, metrics: MatchingMetrics
) -> list[SegmentCache]:
    caches: list[SegmentCache] = []
    folder = _segment_folder(settings, database)
    if folder is not None:
        caches.append(FolderSegmentCache(folder, identity, metrics))
    if settings.redis_url is not None:
        client = connect_redis(settings.redis_url.get_secret_value(), settings)
        redis = RedisSegmentCache(client, identity, ttl_s=settings.cache_ttl_s, events=metrics)
        if not redis.ping():
            structlog.get_logger().warning("cache_unreachable_at_start", effect="answers are the same, but slower")
        caches.append(redis)
    return caches


def _limits(settings: MatchingSettings) -> Limits:
    return Limits(
        memory_bytes=settings.segment_memory_bytes,
        window_bytes=settings.window_bytes,
        search_bytes=settings.search_memory_bytes,
        waiting_searches=settings.waiting_searches,
        remembered_slots=settings.remembered_slots,
        ticket_lifetime_s=settings.ticket_lifetime_s,
        publish_quiet_s=settings.publish_quiet_s,
        publish_longest_s=settings.publish_longest_s,
        sweep_s=settings.sweep_s,
        fan_out_segments=settings.fan_out_segments,
        peer_patience_s=settings.peer_patience_s,
    )


def _peers(settings: MatchingSettings, replica_id: str, metrics: MatchingMetrics) -> PeerDirectory | None:
    addresses = settings.peer_addresses
    if addresses is None:
        return None
    options = ChannelOptions(
        server_name=settings.peers_name or addresses.server_name, connect_timeout_s=_PEER_CONNECT_TIMEOUT_S
    )
    return PeerDirectory(
        addresses,
        lambda address: open_channel(address, settings.tls, options),
        replica_id=replica_id,
        events=metrics,
        check_s=settings.peers_check_s,
    )


def _registrations(matching: Callable[[], Matching], replica_id: str) -> list[Registration]:
    return [
        Registration(
            gallery_service_pb2.DESCRIPTOR.services_by_name["GalleryService"],
            GalleryServicer(matching),
            gallery_service_pb2_grpc.add_GalleryServiceServicer_to_server,
        ),
        Registration(
            matching_service_pb2.DESCRIPTOR.services_by_name["MatchingService"],
            MatchingServicer(matching),
            matching_service_pb2_grpc.add_MatchingServiceServicer_to_server,
        ),
        Registration(
            peer_service_pb2.DESCRIPTOR.services_by_name["PeerService"],
            PeerServicer(matching, replica_id),
            peer_service_pb2_grpc.add_PeerServiceServicer_to_server,
        ),
    ]


async def _main() -> None:
    settings = load_settings(MatchingSettings)
    configure_logging(settings.log_level, settings.log_format)
    # The record store's files are for this user only.
    os.umask(_OWNER_ONLY)
    _allow_many_files()
    _share_freed_memory()
    metrics = ServerMetrics()
    matching_metrics = MatchingMetrics(metrics.registry)
    policy = _access_policy(settings)
    trust = TrustStore.from_file(settings.trust_store)
    signer = Signer.from_file(settings.signing_key, MATCHING_IDENTITY)
    database = Database(settings.database_url.get_secret_value(), connections=settings.storage_workers)
    compute = BoundedPool(settings.workers, settings.queue_size, "compute")
    storage = BoundedPool(settings.storage_workers, settings.queue_size, "storage")
    channel = open_channel(settings.key_service, settings.tls, ChannelOptions(server_name=settings.key_service_name))
    replica_id = secrets.token_hex(16)
    peers = _peers(settings, replica_id, matching_metrics)
    readiness = Readiness(DATABASE, KERNELS)
    opened: asyncio.Future[Matching] = asyncio.get_running_loop().create_future()

    async def open_store() -> None:
        identity = await prepare_database(readiness, database)
        backends = Backends(
            database=database,
            identity=identity,
            caches=await storage.run(_caches, settings, database, identity, matching_metrics),
            keys=KeyMaterialClient(channel),
            reencryption=ReencryptionClient(channel),
            load_comparer=partial(load_comparer, research=settings.research),
            trust=trust,
            signer=signer,
            events=matching_metrics,
            compute=compute,
            storage=storage,
            blobs=_blobs(settings, database, identity),
            peers=peers,
        )
        matching = assemble(backends, _limits(settings))
        opened.set_result(matching)
        matching.sweeper.start()
        await watch_database(readiness, database, storage, settings.database_check_s)

    try:
        # A task group, so that an unforeseen error in the background ends the process and is not overlooked.
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(warm_kernels(readiness, warm))
            background = [tasks.create_task(open_store())]
            if peers is not None:
                background.append(tasks.create_task(peers.run()))
            await serve(settings, _registrations(opened.result, replica_id), readiness, policy, metrics=metrics)
            for task in background:
                task.cancel()
    finally:
        if opened.done():
            await opened.result().close()
        if peers is not None:
            await peers.close()
        await channel.close()
        compute.close()
        storage.close()
        database.close()


if __name__ == "__main__":
    sys.exit(run(_main))
