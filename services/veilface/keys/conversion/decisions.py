"""Score batches and decisions."""

from collections.abc import Sequence

from veilface.common.attested import SignedScores, scores_from_proto
from veilface.common.errors import InvalidArgumentError, Reason
from veilface.keys.domain.decide import IdentificationDecision, VerificationDecision
from veilface.keys.v1 import key_service_pb2
from veilface.types.v1 import score_pb2

LARGEST_VERIFICATION_BATCHES = 64


def verification_batches_from_proto(messages: Sequence[score_pb2.ScoreBatch]) -> list[SignedScores]:
    """The batches of one comparison.

    Raises:
        InvalidArgumentError: MISSING_FIELD without one, INVALID_FIELD for more than 64 or a malformed one.
    """
    if not messages:
        raise InvalidArgumentError(Reason.MISSING_FIELD, "score_batches is empty: send the answer of CompareTemplates")
    if len(messages) > LARGEST_VERIFICATION_BATCHES:
        raise InvalidArgumentError(
            Reason.INVALID_FIELD,
            f"score_batches has {len(messages)} batches; at most {LARGEST_VERIFICATION_BATCHES} are allowed",
        )
    return [scores_from_proto(message) for message in messages]


def verification_to_proto(decision: VerificationDecision) -> key_service_pb2.DecideVerificationResponse:
    """Convert a decision."""
    return key_service_pb2.DecideVerificationResponse(
        decision=key_service_pb2.DECISION_MATCH if decision.is_match else key_service_pb2.DECISION_NO_MATCH,
        threshold_profile=decision.threshold_profile,
        band=decision.band,
    )


def identification_to_proto(decision: IdentificationDecision) -> key_service_pb2.DecideIdentificationResponse:
    """Convert a decision."""
    return key_service_pb2.DecideIdentificationResponse(
        candidates=[
            key_service_pb2.Candidate(
                batch_index=candidate.batch_index,
                score_index=candidate.score_index,
                rank=place + 1,
                band=candidate.band,
            )
            for place, candidate in enumerate(decision.candidates)
        ],
        threshold_profile=decision.threshold_profile,
        score_count=decision.score_count,
        withheld_candidates=decision.withheld_candidates,
    )
