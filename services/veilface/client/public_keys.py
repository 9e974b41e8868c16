"""The public half of a key version, for those who encrypt themselves."""

import grpc

from veilface.client.calls import ServiceCalls
from veilface.common.chunks import ChunkAssembler
from veilface.common.conversion import scheme_from_proto
from veilface.common.errors import DataLossError, InvalidArgumentError, Reason
from veilface.common.settings import MEBIBYTE
from veilface.crypto.contract import PublicMaterial
from veilface.keys.v1 import key_service_pb2, key_service_pb2_grpc

_LARGEST_PUBLIC_KEY_BYTES = 64 * MEBIBYTE


class PublicKeys:
    """Fetches public keys.

    Args:
        channel: To the key service.
        calls: How calls to it are made.
    """

    def __init__(self, channel: grpc.Channel, calls: ServiceCalls) -> None:
        self._stub = key_service_pb2_grpc.KeyServiceStub(channel)
        self._calls = calls

    def fetch(self, key_version: str) -> PublicMaterial:
        """The public key of a version; `evaluation_keys` is empty.

        Raises:
            NotFoundError, FailedPreconditionError: The key service's answer about the key.
            DataLossError: DATA_LOSS if the key arrived damaged.
        """
        request = key_service_pb2.GetPublicKeyRequest(name=key_version)
        assembler = ChunkAssembler("a public key", _LARGEST_PUBLIC_KEY_BYTES)
        info = None
        try:
            with self._calls.failures():
                for response in self._stub.GetPublicKey(request, timeout=self._calls.timeout_s):
                    info = info or response.info
                    assembler.add(response.chunk)
            public_key = assembler.finish()
        except InvalidArgumentError as error:
            problem = f"the key service does not answer as agreed: {error.message}"
            raise DataLossError(Reason.DATA_LOSS, problem) from error
        if info is None or info.key_version != key_version:
            raise DataLossError(Reason.DATA_LOSS, f"the key service did not answer about {key_version}")
        return PublicMaterial(
            scheme=scheme_from_proto(info.scheme),
            profile=info.profile,
            key_version=info.key_version,
            public_key=public_key,
            evaluation_keys=b"",
            embedding_transform=info.embedding_transform,
        )
