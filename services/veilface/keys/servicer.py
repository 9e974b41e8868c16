"""The gRPC face of the key service: convert, call, answer."""

# Methods are named and described in the proto.
# ruff: noqa: D102, N802

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, closing
from dataclasses import dataclass
from typing import TypeVar

from veilface.common.attested import SignedTemplate, scores_from_proto, template_to_proto
from veilface.common.chunks import split_into_chunks
from veilface.common.errors import InvalidArgumentError, PermissionDeniedError, Reason, UnavailableError
from veilface.common.identity import caller_identity
from veilface.common.interceptor import Context
from veilface.common.names import KeyName, KeyVersionName, parse_key_or_version
from veilface.common.pool import BoundedPool
from veilface.common.status import item_error_from
from veilface.keys.conversion.audit import audit_page_token_from_proto, head_to_proto, records_to_proto
from veilface.keys.conversion.decisions import (
    identification_to_proto,
    verification_batches_from_proto,
    verification_to_proto,
)
from veilface.keys.conversion.keys import (
    change_from_proto,
    destruction_from_proto,
    key_to_proto,
    material_to_chunks,
    new_key_from_proto,
    page_token_from_proto,
    version_to_proto,
)
from veilface.keys.conversion.reencryption import versions_from_proto
from veilface.keys.domain.administration import KeyAdministration
from veilface.keys.domain.audit import AuditReading
from veilface.keys.domain.decide import Decider
from veilface.keys.domain.reencryption import Reencryption, ReencryptionMeans, open_reencryption
from veilface.keys.reencryption_stream import WholeSegment, whole_items
from veilface.keys.v1 import key_service_pb2 as pb
from veilface.keys.v1 import key_service_pb2_grpc, reencryption_pb2

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rules:
    """The domain behind the servicer."""

    administration: KeyAdministration
    decider: Decider
    reencryption: ReencryptionMeans
    audit: AuditReading


class KeyServicer(key_service_pb2_grpc.KeyServiceServicer):
    """Serves veilface.keys.v1.KeyService. Each method is described in the proto.

    Args:
        pool: Runs everything that takes time.
        largest_segment_bytes: The largest packed segment that is taken in.
        longest_stream_s: How long the batches of one search may take to arrive, in seconds.
    """

    def __init__(self, rules: Rules, pool: BoundedPool, largest_segment_bytes: int, longest_stream_s: float) -> None:
        self._administration = rules.administration
        self._decider = rules.decider
        self._reencryption = rules.reencryption
        self._audit = rules.audit
        self._pool = pool
        self._largest_segment_bytes = largest_segment_bytes
        self._longest_stream_s = longest_stream_s

    async def CreateKey(self, request: pb.CreateKeyRequest, context: Context) -> pb.Key:
        new = new_key_from_proto(request)
        return key_to_proto(await self._pool.run(self._administration.create_key, caller_identity(), new))

    async def GetKey(self, request: pb.GetKeyRequest, context: Context) -> pb.Key:
        return key_to_proto(await self._pool.run(self._administration.get_key, KeyName.parse(request.name)))

    async def ListKeys(self, request: pb.ListKeysRequest, context: Context) -> pb.ListKeysResponse:
        after = page_token_from_proto(request.page_token)
        keys, next_token = await self._pool.run(self._administration.list_keys, request.page_size, after)
        return pb.ListKeysResponse(keys=[key_to_proto(key) for key in keys], next_page_token=next_token)

    async def UpdateKey(self, request: pb.UpdateKeyRequest, context: Context) -> pb.Key:
        change = change_from_proto(request)
        return key_to_proto(await self._pool.run(self._administration.update_key, caller_identity(), change))

    async def RotateKey(self, request: pb.RotateKeyRequest, context: Context) -> pb.Key:
        name = KeyName.parse(request.name)
        return key_to_proto(await self._pool.run(self._administration.rotate_key, caller_identity(), name))

    async def DisableKeyVersion(self, request: pb.DisableKeyVersionRequest, context: Context) -> pb.KeyVersion:
        name = KeyVersionName.parse(request.name)
        return version_to_proto(await self._pool.run(self._administration.disable_version, caller_identity(), name))

    async def EnableKeyVersion(self, request: pb.EnableKeyVersionRequest, context: Context) -> pb.KeyVersion:
        name = KeyVersionName.parse(request.name)
        return version_to_proto(await self._pool.run(self._administration.enable_version, caller_identity(), name))

    async def DestroyKeyVersion(self, request: pb.DestroyKeyVersionRequest, context: Context) -> pb.KeyVersion:
        name, destruction = KeyVersionName.parse(request.name), destruction_from_proto(request)
        return version_to_proto(
            await self._pool.run(self._administration.destroy_version, caller_identity(), name, destruction)
        )

    async def RestoreKeyVersion(self, request: pb.RestoreKeyVersionRequest, context: Context) -> pb.KeyVersion:
        name = KeyVersionName.parse(request.name)
        return version_to_proto(await self._pool.run(self._administration.restore_version, caller_identity(), name))

    async def GetPublicKey(
        self, request: pb.GetPublicKeyRequest, context: Context
    ) -> AsyncIterator[pb.GetPublicKeyResponse]:
        name = parse_key_or_version(request.name)
        material = await self._pool.run(self._administration.public_key, caller_identity(), name)
        for info, chunk in await self._pool.run(list, material_to_chunks(material)):
            yield pb.GetPublicKeyResponse(info=info, chunk=chunk)

    async def GetEvaluationKeys(
        self, request: pb.GetEvaluationKeysRequest, context: Context
    ) -> AsyncIterator[pb.GetEvaluationKeysResponse]:
        name = parse_key_or_version(request.name)
        material = await self._pool.run(self._administration.evaluation_keys, caller_identity(), name)
        for info, chunk in await self._pool.run(list, material_to_chunks(material)):
            yield pb.GetEvaluationKeysResponse(info=info, chunk=chunk)

    async def GetTransformSeed(
        self, request: pb.GetTransformSeedRequest, context: Context
    ) -> pb.GetTransformSeedResponse:
        name = parse_key_or_version(request.name)
        version, seed = await self._pool.run(self._administration.transform_seed, caller_identity(), name)
        return pb.GetTransformSeedResponse(key_version=str(version), seed=seed)

    async def DecideVerification(
        self, request: pb.DecideVerificationRequest, context: Context
    ) -> pb.DecideVerificationResponse:
        signed = verification_batches_from_proto(request.score_batches)
        decision = await self._pool.run(self._decider.verify, caller_identity(), signed, request.operating_point)
        return verification_to_proto(decision)

    async def DecideIdentification(
        self, request_iterator: AsyncIterator[pb.DecideIdentificationRequest], context: Context
    ) -> pb.DecideIdentificationResponse:
        with closing(self._decider.open_identification(caller_identity())) as identification:
            options: pb.IdentificationOptions | None = None
            async with self._stream_limit():
                async for request in request_iterator:
                    if options is None:
                        options = request.options
                    elif request.HasField("options"):
                        raise InvalidArgumentError(Reason.STREAM_PROTOCOL, "options are set in the first message only")
                    await self._pool.run(self._decider.add, identification, scores_from_proto(request.score_batch))
            options = options or pb.IdentificationOptions()
            decision = await self._pool.run(
                self._decider.identify, identification, options.top_k, options.operating_point
            )
            return identification_to_proto(decision)

    async def ReencryptTemplates(
        self, request_iterator: AsyncIterator[reencryption_pb2.ReencryptTemplatesRequest], context: Context
    ) -> AsyncIterator[reencryption_pb2.ReencryptTemplatesResponse]:
        first = await anext(aiter(request_iterator), reencryption_pb2.ReencryptTemplatesRequest())
        source, target = versions_from_proto(first)
        opening = open_reencryption(self._reencryption, caller_identity(), source, target)
        index = 0
        async with self._entered(opening) as reencryption:
            async for item in whole_items(request_iterator, reencryption, self._largest_segment_bytes):
                async for response in self._moved(reencryption, item):
                    response.index = index
                    yield response
                index += 1

    async def GetAuditHead(self, request: pb.GetAuditHeadRequest, context: Context) -> pb.AuditHead:
        return head_to_proto(await self._pool.run(self._audit.head))

    async def ListAuditRecords(
        self, request: pb.ListAuditRecordsRequest, context: Context
    ) -> pb.ListAuditRecordsResponse:
        after = audit_page_token_from_proto(request.page_token)
        return records_to_proto(*await self._pool.run(self._audit.page, request.page_size, after))

    async def _moved(
        self, reencryption: Reencryption, item: SignedTemplate | WholeSegment
    ) -> AsyncIterator[reencryption_pb2.ReencryptTemplatesResponse]:
        try:
            if isinstance(item, SignedTemplate):
                moved = await self._pool.run(reencryption.move_template, item)
                yield reencryption_pb2.ReencryptTemplatesResponse(template=template_to_proto(moved))
                return
            segment = await self._pool.run(reencryption.move_segment, item.serialized, item.content)
        except (InvalidArgumentError, PermissionDeniedError) as error:
            # The item's own fault; what concerns the versions or the service ends the stream.
            yield reencryption_pb2.ReencryptTemplatesResponse(error=item_error_from(error))
            return
        for chunk in await self._pool.run(list, split_into_chunks(segment)):
            yield reencryption_pb2.ReencryptTemplatesResponse(segment=chunk)

    @asynccontextmanager
    async def _stream_limit(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._longest_stream_s):
                yield
        except TimeoutError as error:
            raise UnavailableError(
                Reason.DEADLINE_EXCEEDED,
                f"the batches of a search took longer than {self._longest_stream_s:g} s to arrive: search again and "
                "send them at once",
            ) from error

    @asynccontextmanager
    async def _entered(self, manager: AbstractContextManager[T]) -> AsyncIterator[T]:
        value = await self._pool.run(manager.__enter__)
        try:
            yield value
        except BaseException as error:
            # Not on the pool: it may be full, and leaving wipes secrets.
            await asyncio.to_thread(manager.__exit__, type(error), error, error.__traceback__)
            raise
        await asyncio.to_thread(manager.__exit__, None, None, None)
