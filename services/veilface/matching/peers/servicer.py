"""PeerService over gRPC: convert, call, answer."""

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

from veilface.common.interceptor import Context
from veilface.matching.assembly import Matching
from veilface.matching.peers.conversion import answer_to_proto, question_from_proto
from veilface.matching.v1 import peer_service_pb2, peer_service_pb2_grpc


class PeerServicer(peer_service_pb2_grpc.PeerServiceServicer):
    """See peer_service.proto.

    Args:
        matching: The rules; not called before the server is ready.
        replica_id: Of this replica.
    """

    def __init__(self, matching: Callable[[], Matching], replica_id: str) -> None:
        self._matching = matching
        self._replica_id = replica_id

    async def GetReplica(  # noqa: N802
        self, request: peer_service_pb2.GetReplicaRequest, context: Context
    ) -> peer_service_pb2.Replica:
        """Say which replica this is."""
        return peer_service_pb2.Replica(replica_id=self._replica_id)

    async def SearchSegments(  # noqa: N802
        self, request: peer_service_pb2.SearchSegmentsRequest, context: Context
    ) -> AsyncIterator[peer_service_pb2.SearchSegmentsResponse]:
        """Score segments for a peer."""
        question = question_from_proto(request)
        async with aclosing(self._matching().peer_answers.score(question)) as answers:
            async for answer in answers:
                yield answer_to_proto(answer)
