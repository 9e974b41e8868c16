"""Runs the embedding service: `python -m veilface.embedding`."""

import asyncio
import sys
from datetime import UTC, datetime
from functools import partial

import structlog

from veilface.common.channel import ChannelOptions, open_channel
from veilface.common.health import Readiness
from veilface.common.identities import EMBEDDING_IDENTITY
from veilface.common.identity import AccessPolicy
from veilface.common.key_client import KeyMaterialClient
from veilface.common.logging import configure_logging
from veilface.common.pool import BoundedPool
from veilface.common.process import run
from veilface.common.server import Registration, serve
from veilface.common.settings import load_settings
from veilface.common.signing import Signer
from veilface.crypto.public.registry import load_encryptor, warm_encryption
from veilface.embedding.access import DEFAULT_ACCESS
from veilface.embedding.domain.encryption import EncryptorCache
from veilface.embedding.domain.extraction import ExtractionLimits, TemplateExtractor
from veilface.embedding.models.building import build_pipelines
from veilface.embedding.servicer import EmbeddingServicer
from veilface.embedding.settings import EmbeddingSettings
from veilface.embedding.v1 import embedding_service_pb2, embedding_service_pb2_grpc

_MODELS = "models"


def _access_policy(settings: EmbeddingSettings) -> AccessPolicy:
    if settings.access_policy is None:
        return AccessPolicy(DEFAULT_ACCESS)
    return AccessPolicy.from_file(settings.access_policy)


def _now() -> datetime:
    return datetime.now(UTC)


async def _load(settings: EmbeddingSettings, signer: Signer, readiness: Readiness) -> TemplateExtractor:
    pipelines = await asyncio.to_thread(
        build_pipelines,
        settings.embedding_pipelines,
        settings.embedding_deepface_home,
        settings.workers,
        downloads=settings.embedding_downloads,
        weights_file=settings.embedding_weights_file,
    )
    await asyncio.to_thread(warm_encryption)
    for pipeline in pipelines:
        structlog.get_logger().info(
            "model_loaded",
            model=pipeline.name,
            dimension=pipeline.dimension,
            weights={file.filename: file.sha256 for file in pipeline.weights},
        )
    limits = ExtractionLimits(faces=settings.embedding_faces)
    extractor = TemplateExtractor(
        pipelines, EncryptorCache(partial(load_encryptor, research=settings.research)), signer, limits, _now
    )
    readiness.hold(_MODELS)
    return extractor


async def _main() -> None:
    settings = load_settings(EmbeddingSettings)
    configure_logging(settings.log_level, settings.log_format)
    signer = Signer.from_file(settings.signing_key, EMBEDDING_IDENTITY)
    policy = _access_policy(settings)
    readiness = Readiness(_MODELS)
    channel = open_channel(settings.key_service, settings.tls, ChannelOptions(server_name=settings.key_service_name))
    pool = BoundedPool(settings.workers, settings.queue_size, "embedding")
    try:
        # A task group, so that a model that cannot be loaded ends the process.
        async with asyncio.TaskGroup() as tasks:
            extractor = tasks.create_task(_load(settings, signer, readiness))
            servicer = EmbeddingServicer(
                extractor, KeyMaterialClient(channel), pool, settings.embedding_batch_in_flight
            )
            registration = Registration(
                embedding_service_pb2.DESCRIPTOR.services_by_name["EmbeddingService"],
                servicer,
                embedding_service_pb2_grpc.add_EmbeddingServiceServicer_to_server,
            )
            await serve(settings, [registration], readiness, policy)
            extractor.cancel()
    finally:
        pool.close()
        await channel.close()


if __name__ == "__main__":
    sys.exit(run(_main))
