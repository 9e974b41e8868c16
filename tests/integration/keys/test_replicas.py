"""Two key services on one PostgreSQL database: what one of them has seen, the other one knows."""

from typing import Any

import grpc
import pytest

from veilface.common.errors import Reason
from veilface.common.status import error_from_rpc
from veilface.keys.domain.audit import AuditHead
from veilface.keys.offline import verify_audit_log
from veilface.keys.v1 import key_service_pb2 as pb
from veilface.keys.v1 import policy_pb2

TIMEOUT_S = 60
ANSWERS_PER_CALLER = 6


def decide(service: Any, batches: Any) -> int:
    request = pb.DecideVerificationRequest(score_batches=batches)
    decision: int = service.stub("client").DecideVerification(request, timeout=TIMEOUT_S).decision
    return decision


def refusal(service: Any, batches: Any) -> Reason:
    with pytest.raises(grpc.RpcError) as caught:
        decide(service, batches)
    return error_from_rpc(caught.value).reason


def test_a_spent_ticket_a_quota_and_the_audit_chain_hold_across_two_services(
    replicas: tuple[Any, Any], make_comparing: Any
) -> None:
    first, second = replicas
    quotas = policy_pb2.Quotas(answers_per_caller=ANSWERS_PER_CALLER, answers_per_target=0)
    first.create_key("office", policy_pb2.KeyPolicy(quotas=quotas, top_k_limit=1))
    comparing = make_comparing(first, second.material("keys/office"), 1)

    spent = comparing.verification(0.97)
    assert decide(first, spent) == pb.DECISION_MATCH
    assert refusal(second, spent) is Reason.TICKET_REPLAYED
    assert refusal(first, spent) is Reason.TICKET_REPLAYED

    for answered in range(1, ANSWERS_PER_CALLER):
        assert decide(replicas[answered % 2], comparing.verification(0.97)) == pb.DECISION_MATCH
    assert refusal(first, comparing.verification(0.97)) is Reason.QUOTA_EXCEEDED
    assert refusal(second, comparing.verification(0.97)) is Reason.QUOTA_EXCEEDED

    head = second.stub("operator").GetAuditHead(pb.GetAuditHeadRequest(), timeout=TIMEOUT_S)
    first.stop()
    second.stop()
    files = [first.audit_file, second.audit_file]
    report = verify_audit_log(
        first.settings["VEILFACE_DATABASE_URL"], files, AuditHead(head.sequence, bytes(head.hash))
    )
    assert report.file_record_count == report.head.sequence >= head.sequence
    assert all(len(file.read_text().splitlines()) > 2 for file in files)
