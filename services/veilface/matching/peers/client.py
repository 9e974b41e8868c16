"""Another replica behind a gRPC channel."""

import asyncio
from collections.abc import AsyncGenerator

import grpc
import grpc.aio

from veilface.common.errors import InvalidArgumentError, Reason, UnavailableError
from veilface.common.status import error_from_rpc
from veilface.matching.domain.fanout.peers import PeerAnswer, PeerQuestion, RefusedAnswerError
from veilface.matching.peers.conversion import answer_from_proto, question_to_proto
from veilface.matching.v1 import peer_service_pb2, peer_service_pb2_grpc


class GrpcPeer:
    """Asks another replica.

    Args:
        name: What every replica calls it: its address.
        channel: To it. The caller closes it.
    """

    def __init__(self, name: str, channel: grpc.aio.Channel) -> None:
        self._name = name
        self._stub = peer_service_pb2_grpc.PeerServiceStub(channel)

    @property
    def name(self) -> str:
        """See `Peer.name`."""
        return self._name

    async def replica_id(self, timeout_s: float) -> str:
        """Which process it is.

        Raises:
            VeilfaceError: Its own error, or that of the call.
        """
        request = peer_service_pb2.GetReplicaRequest()
        try:
            replica = await self._stub.GetReplica(request, timeout=timeout_s)
        except grpc.RpcError as error:
            raise error_from_rpc(error) from error
        return str(replica.replica_id)

    async def score(self, question: PeerQuestion, time_left_s: float | None) -> AsyncGenerator[PeerAnswer]:
        """See `Peer.score`."""
        try:
            call = self._stub.SearchSegments(question_to_proto(question), timeout=time_left_s)
        except grpc.aio.UsageError as error:
            raise _gone() from error
        try:
            async for response in call:
                yield answer_from_proto(response)
        except grpc.RpcError as error:
            raise error_from_rpc(error) from error
        except InvalidArgumentError as error:
            raise RefusedAnswerError(f"its answer cannot be read ({error.reason.value})") from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and not task.cancelling():
                # The channel was closed; nobody canceled this task.
                raise _gone() from None
            raise
        finally:
            call.cancel()


def _gone() -> UnavailableError:
    return UnavailableError(Reason.CANCELLED, "its address is not that of a replica any more")
