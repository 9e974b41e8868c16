"""The key service decides on tickets of the matching service and on nothing else."""

from collections.abc import Iterator

import grpc
import pytest

from tests.e2e.conftest import Templates
from tests.faces import LabelledFaces
from veilface.cli.local_stack.stack import LocalStack
from veilface.common.attested import SignedTemplate, template_to_proto
from veilface.common.channel import open_sync_channel
from veilface.common.errors import Reason
from veilface.common.pki import tls_settings
from veilface.common.status import error_from_rpc
from veilface.keys.v1 import key_service_pb2, key_service_pb2_grpc
from veilface.matching.v1 import matching_service_pb2, matching_service_pb2_grpc
from veilface.types.v1 import score_pb2

TIMEOUT_S = 60


@pytest.fixture
def keys(stack: LocalStack) -> Iterator[key_service_pb2_grpc.KeyServiceStub]:
    with open_sync_channel(stack.addresses["keys"], tls_settings(stack.layout.certificates, "client")) as channel:
        yield key_service_pb2_grpc.KeyServiceStub(channel)


@pytest.fixture
def genuine(stack: LocalStack, faces: LabelledFaces, templates: Templates) -> score_pb2.ScoreBatch:
    """The encrypted score of two photographs of the same person, with its ticket."""
    first, second = next((pair.first, pair.second) for pair in faces.pairs if pair.mated)
    request = matching_service_pb2.CompareTemplatesRequest(
        probe=template_to_proto(templates.probes[second]), reference=template_to_proto(templates.references[first])
    )
    with open_sync_channel(stack.addresses["matching"], tls_settings(stack.layout.certificates, "client")) as channel:
        response = matching_service_pb2_grpc.MatchingServiceStub(channel).CompareTemplates(request, timeout=TIMEOUT_S)
    (batch,) = response.score_batches
    assert isinstance(batch, score_pb2.ScoreBatch)
    return batch


def decide(keys: key_service_pb2_grpc.KeyServiceStub, batch: score_pb2.ScoreBatch) -> int:
    request = key_service_pb2.DecideVerificationRequest(score_batches=[batch])
    return keys.DecideVerification(request, timeout=TIMEOUT_S).decision


def refusal(keys: key_service_pb2_grpc.KeyServiceStub, batch: score_pb2.ScoreBatch) -> Reason:
    with pytest.raises(grpc.RpcError) as refused:
        decide(keys, batch)
    return error_from_rpc(refused.value).reason


@pytest.fixture
def template(faces: LabelledFaces, templates: Templates) -> SignedTemplate:
    return templates.references[faces.photographs[0]]


def test_a_genuine_ticket_is_decided_on_once(
    keys: key_service_pb2_grpc.KeyServiceStub, genuine: score_pb2.ScoreBatch
) -> None:
    assert decide(keys, genuine) == key_service_pb2.DECISION_MATCH
    assert refusal(keys, genuine) is Reason.TICKET_REPLAYED


def test_a_template_in_the_place_of_a_score_is_refused(
    keys: key_service_pb2_grpc.KeyServiceStub, template: SignedTemplate
) -> None:
    proto = template_to_proto(template)
    batch = score_pb2.ScoreBatch(statement=proto.statement, ciphertext=proto.ciphertext, signature=proto.signature)
    assert refusal(keys, batch) is Reason.UNTRUSTED_SIGNER


def test_a_template_under_the_ticket_of_a_score_is_refused(
    keys: key_service_pb2_grpc.KeyServiceStub, genuine: score_pb2.ScoreBatch, template: SignedTemplate
) -> None:
    forged = score_pb2.ScoreBatch()
    forged.CopyFrom(genuine)
    forged.ciphertext = template.ciphertext
    assert refusal(keys, forged) is Reason.DIGEST_MISMATCH
    # The ticket itself is still good: it was refused before it was used up.
    assert decide(keys, genuine) == key_service_pb2.DECISION_MATCH


def test_a_template_signed_as_a_score_by_its_maker_is_refused(
    keys: key_service_pb2_grpc.KeyServiceStub, genuine: score_pb2.ScoreBatch, template: SignedTemplate
) -> None:
    forged = score_pb2.ScoreBatch()
    forged.CopyFrom(genuine)
    forged.signature.signer = template.signature.signer
    forged.signature.key_id = template.signature.key_id
    forged.signature.value = template.signature.value
    assert refusal(keys, forged) is Reason.UNTRUSTED_SIGNER


def test_a_changed_ticket_is_refused(keys: key_service_pb2_grpc.KeyServiceStub, genuine: score_pb2.ScoreBatch) -> None:
    statement = score_pb2.ScoreStatement.FromString(genuine.statement)
    statement.subject = "galleries/staff/subjects/ada"
    statement.gallery = "galleries/staff"
    forged = score_pb2.ScoreBatch()
    forged.CopyFrom(genuine)
    forged.statement = statement.SerializeToString()
    assert refusal(keys, forged) is Reason.BAD_SIGNATURE
