"""The gRPC face of the key service: convert, call, answer."""

from collections.abc import AsyncIterator

from veilface.common.attested import scores_from_proto
from veilface.common.errors import InvalidArgumentError, Reason
from veilface.common.identity import caller_identity
from veilface.common.interceptor import Context
from veilface.common.names import KeyName, parse_key_or_version
from veilface.common.pool import BoundedPool
from veilface.keys import conversion
from veilface.keys.domain.administration import KeyAdministration
from veilface.keys.domain.decide import Decider
from veilface.keys.domain.policy import KeyPolicy
from veilface.keys.v1 import key_service_pb2 as pb
from veilface.keys.v1 import key_service_pb2_grpc


class KeyServicer(key_service_pb2_grpc.KeyServiceServicer):
    """Serves veilface.keys.v1.KeyService.

    Args:
        pool: Runs everything that takes time.
    """

    def __init__(self, administration: KeyAdministration, decider: Decider, pool: BoundedPool) -> None:
        self._administration = administration
        self._decider = decider
        self._pool = pool

    async def CreateKey(self, request: pb.CreateKeyRequest, context: Context) -> pb.Key:  # noqa: N802
        """See the proto."""
        name, scheme, profile = conversion.new_key_from_proto(request)
        key = await self._pool.run(
            self._administration.create_key, caller_identity(), name, scheme, profile, KeyPolicy(), False
        )
        return conversion.key_to_proto(key)

    async def GetKey(self, request: pb.GetKeyRequest, context: Context) -> pb.Key:  # noqa: N802
        """See the proto."""
        return conversion.key_to_proto(await self._pool.run(self._administration.get_key, KeyName.parse(request.name)))

    async def ListKeys(self, request: pb.ListKeysRequest, context: Context) -> pb.ListKeysResponse:  # noqa: N802
        """See the proto."""
        after = conversion.page_token_from_proto(request.page_token)
        keys, next_token = await self._pool.run(self._administration.list_keys, request.page_size, after)
        return pb.ListKeysResponse(keys=[conversion.key_to_proto(key) for key in keys], next_page_token=next_token)

    async def GetPublicKey(  # noqa: N802
        self, request: pb.GetPublicKeyRequest, context: Context
    ) -> AsyncIterator[pb.GetPublicKeyResponse]:
        """See the proto."""
        name = parse_key_or_version(request.name)
        material = await self._pool.run(self._administration.public_key, caller_identity(), name)
        for info, chunk in await self._pool.run(list, conversion.material_to_chunks(material)):
            yield pb.GetPublicKeyResponse(info=info, chunk=chunk)

    async def GetEvaluationKeys(  # noqa: N802
        self, request: pb.GetEvaluationKeysRequest, context: Context
    ) -> AsyncIterator[pb.GetEvaluationKeysResponse]:
        """See the proto."""
        name = parse_key_or_version(request.name)
        material = await self._pool.run(self._administration.evaluation_keys, caller_identity(), name)
        for info, chunk in await self._pool.run(list, conversion.material_to_chunks(material)):
            yield pb.GetEvaluationKeysResponse(info=info, chunk=chunk)

    async def DecideVerification(  # noqa: N802
        self, request: pb.DecideVerificationRequest, context: Context
    ) -> pb.DecideVerificationResponse:
        """See the proto."""
        signed = conversion.verification_batches_from_proto(request.score_batches)
        decision = await self._pool.run(self._decider.verify, caller_identity(), signed, request.operating_point)
        return conversion.verification_to_proto(decision)

    async def DecideIdentification(  # noqa: N802
        self, request_iterator: AsyncIterator[pb.DecideIdentificationRequest], context: Context
    ) -> pb.DecideIdentificationResponse:
        """See the proto."""
        identification = self._decider.open_identification(caller_identity())
        options: pb.IdentificationOptions | None = None
        async for request in request_iterator:
            if request.HasField("options"):
                if options is not None:
                    raise InvalidArgumentError(Reason.STREAM_PROTOCOL, "options are set in the first message only")
                options = request.options
            # Without options in the first message the defaults hold.
            options = options or pb.IdentificationOptions()
            await self._pool.run(self._decider.add, identification, scores_from_proto(request.score_batch))
        options = options or pb.IdentificationOptions()
        decision = await self._pool.run(self._decider.identify, identification, options.top_k, options.operating_point)
        return conversion.identification_to_proto(decision)
