"""Match or no match: calls to the key service, the only one that can read a score."""

from collections.abc import Sequence
from dataclasses import dataclass

import grpc

from veilface.client.calls import ServiceCalls, Trail
from veilface.keys.v1 import key_service_pb2, key_service_pb2_grpc
from veilface.types.v1 import score_pb2


@dataclass(frozen=True, slots=True)
class Position:
    """Where a candidate is in a search result.

    Attributes:
        rank: 1 for the best candidate.
        band: The strictest operating point that is passed, if the key's policy releases bands; else empty.
    """

    rank: int
    batch_index: int
    score_index: int
    band: str


@dataclass(frozen=True, slots=True)
class Ranking:
    """The positions that match, best first.

    Attributes:
        withheld_candidates: How many were left out because they had been named as often as a day allows.
    """

    positions: tuple[Position, ...]
    threshold_profile: str
    score_count: int
    withheld_candidates: int


@dataclass(frozen=True, slots=True)
class Decision:
    """A decided 1:1 comparison.

    Attributes:
        band: The strictest operating point that is passed, if the key's policy releases bands; else empty.
    """

    is_match: bool
    threshold_profile: str
    band: str


class DecisionMaker:
    """Decisions of the key service.

    Args:
        channel: To the key service.
        calls: How calls to it are made.
    """

    def __init__(self, channel: grpc.Channel, calls: ServiceCalls) -> None:
        self._stub = key_service_pb2_grpc.KeyServiceStub(channel)
        self._calls = calls

    def verify(self, score_batches: Sequence[score_pb2.ScoreBatch], operating_point: str, trail: Trail) -> Decision:
        """Decide a 1:1 comparison."""
        request = key_service_pb2.DecideVerificationRequest(
            score_batches=score_batches, operating_point=operating_point
        )
        response = self._calls.unary(self._stub.DecideVerification, "DecideVerification", request, trail)
        is_match = response.decision == key_service_pb2.DECISION_MATCH
        return Decision(is_match, response.threshold_profile, response.band)

    def identify(
        self, score_batches: Sequence[score_pb2.ScoreBatch], top_k: int, operating_point: str, trail: Trail
    ) -> Ranking:
        """Decide a search: who passes the threshold, best first."""
        options = key_service_pb2.IdentificationOptions(top_k=top_k, operating_point=operating_point)
        requests = [
            key_service_pb2.DecideIdentificationRequest(options=None if number else options, score_batch=batch)
            for number, batch in enumerate(score_batches)
        ]
        response = self._calls.client_stream(self._stub.DecideIdentification, "DecideIdentification", requests, trail)
        return Ranking(
            tuple(Position(each.rank, each.batch_index, each.score_index, each.band) for each in response.candidates),
            response.threshold_profile,
            response.score_count,
            response.withheld_candidates,
        )
