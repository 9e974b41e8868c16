"""Rotation without enrolling again, with real ciphertexts."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import grpc
import numpy as np
import pytest

from veilface.common.attested import (
    Circuit,
    SignedTemplate,
    TemplateStatement,
    sign_template,
    template_from_proto,
    template_to_proto,
    verify_template,
)
from veilface.common.chunks import ChunkAssembler, split_into_chunks
from veilface.common.errors import Reason
from veilface.common.identities import KEYS_IDENTITY
from veilface.common.signing import Signer, TrustStore
from veilface.common.status import error_from_rpc
from veilface.crypto.contract import Scheme, TemplateSpace, TemplateUse
from veilface.keys.v1 import key_service_pb2 as pb
from veilface.keys.v1 import reencryption_pb2
from veilface.types.v1 import template_pb2

TIMEOUT_S = 60
SPACE = TemplateSpace(128)
Request = reencryption_pb2.ReencryptTemplatesRequest
OPTIONS = Request(
    options=reencryption_pb2.ReencryptionOptions(source="keys/office/versions/1", target="keys/office/versions/2")
)


class Rotated:
    """A key with two versions, and what embedding and matching do under each."""

    def __init__(self, service: Any, make_comparing: Any) -> None:
        service.start()
        service.create_key("office")
        self.service = service
        self.old = make_comparing(service, service.material("keys/office"), 1)
        service.stub("operator").RotateKey(pb.RotateKeyRequest(name="keys/office"), timeout=TIMEOUT_S)
        self.new = make_comparing(service, service.material("keys/office"), 2)

    def template(self, embedding: np.ndarray, use: TemplateUse = TemplateUse.REFERENCE) -> SignedTemplate:
        ciphertext = self.old.template(embedding, use)
        statement = TemplateStatement(
            key_version="keys/office/versions/1",
            scheme=Scheme.CKKS_PACKED,
            profile=self.old.material.profile,
            space=SPACE,
            model="dlib-resnet/hog/chip",
            use=use,
            ciphertext_sha256=hashlib.sha256(ciphertext).digest(),
            create_time=datetime.now(UTC),
        )
        return sign_template(self.service.embedding, statement, ciphertext)

    def move(self, identity: str, *requests: Request) -> list[reencryption_pb2.ReencryptTemplatesResponse]:
        return list(self.service.stub(identity).ReencryptTemplates(iter(requests), timeout=TIMEOUT_S))

    def verify(self, reference: bytes, probe: np.ndarray) -> int:
        ciphertext = self.new.comparer.compare(reference, self.new.template(probe, TemplateUse.PROBE), SPACE)
        batches = self.new.tickets([ciphertext], [1], circuit=Circuit.VERIFY)
        request = pb.DecideVerificationRequest(score_batches=batches)
        decision: int = self.service.stub("client").DecideVerification(request, timeout=TIMEOUT_S).decision
        return decision


@pytest.fixture(scope="module")
def rotated(module_service: Any, make_comparing: Any) -> Rotated:
    return Rotated(module_service, make_comparing)


def segment_requests(serialized: bytes, slots: list[int]) -> Iterator[Request]:
    description: reencryption_pb2.SegmentDescription | None = reencryption_pb2.SegmentDescription(
        dimension=128, metric=template_pb2.METRIC_COSINE, slots=slots
    )
    for chunk in split_into_chunks(serialized):
        yield Request(segment=reencryption_pb2.SegmentPiece(description=description, chunk=chunk))
        description = None


def test_a_moved_template_is_compared_under_the_new_version(rotated: Rotated) -> None:
    reference, probe = rotated.old.pair(0.95)
    _, other = rotated.old.pair(0.5)
    responses = rotated.move("matching", OPTIONS, Request(template=template_to_proto(rotated.template(reference))))
    moved = template_from_proto(responses[0].template)
    signing_key = Signer.from_file(rotated.service.folder / "signing.pem", KEYS_IDENTITY)
    trust = TrustStore({KEYS_IDENTITY: [signing_key.public_key_bytes]})
    statement = verify_template(trust, moved, (KEYS_IDENTITY,))
    assert (statement.key_version, statement.model) == ("keys/office/versions/2", "dlib-resnet/hog/chip")
    assert rotated.verify(moved.ciphertext, probe) == pb.DECISION_MATCH
    assert rotated.verify(moved.ciphertext, other) == pb.DECISION_NO_MATCH


def test_items_are_answered_in_order_and_a_bad_one_does_not_end_the_stream(rotated: Rotated) -> None:
    embeddings = [rotated.old.pair(0.5)[0] for _ in range(3)]
    good = [template_to_proto(rotated.template(embedding)) for embedding in embeddings]
    forged = template_pb2.Template()
    forged.CopyFrom(good[1])
    forged.ciphertext = bytes(len(forged.ciphertext))
    probe = template_to_proto(rotated.template(embeddings[0], TemplateUse.PROBE))
    items = [good[0], forged, good[1], probe, good[2]]
    responses = rotated.move("matching", OPTIONS, *(Request(template=item) for item in items))
    assert [response.index for response in responses] == [0, 1, 2, 3, 4]
    reasons = [response.error.reason if response.HasField("error") else "" for response in responses]
    assert reasons == ["", "DIGEST_MISMATCH", "", "WRONG_USE", ""]


def test_a_moved_segment_is_searched_under_the_new_version_without_its_deleted_slots(rotated: Rotated) -> None:
    people = [rotated.old.pair(0.0)[0] for _ in range(6)]
    segment = rotated.old.comparer.new_segment(SPACE)
    for slot, embedding in enumerate(people):
        segment.add(rotated.old.template(embedding, TemplateUse.REFERENCE), slot)
    kept = [0, 2, 5]
    responses = rotated.move("matching", OPTIONS, *segment_requests(segment.to_bytes(), kept))
    assembler = ChunkAssembler("a segment", 1 << 30)
    for response in responses:
        assembler.add(response.segment)
    moved = rotated.new.comparer.segment_from_bytes(assembler.finish(), SPACE)
    for place, person in enumerate(kept):
        probe = rotated.new.comparer.prepare_probe(rotated.new.template(people[person], TemplateUse.PROBE), SPACE)
        (ciphertext,) = rotated.new.comparer.search(probe, [moved], [np.arange(3)])
        batches = rotated.new.tickets([ciphertext], [3], circuit=Circuit.SEARCH, subject="")
        requests = [pb.DecideIdentificationRequest(options=pb.IdentificationOptions(top_k=3), score_batch=batches[0])]
        decision = rotated.service.stub("client").DecideIdentification(iter(requests), timeout=TIMEOUT_S)
        assert [(each.batch_index, each.score_index) for each in decision.candidates] == [(0, place)]


def test_an_operator_may_not_have_anything_moved(rotated: Rotated) -> None:
    segment = rotated.old.comparer.new_segment(SPACE)
    segment.add(rotated.old.template(rotated.old.pair(0.0)[0], TemplateUse.REFERENCE), 0)
    requests = list(segment_requests(segment.to_bytes(), [0]))
    with pytest.raises(grpc.RpcError) as caught:
        rotated.move("operator", OPTIONS, *requests)
    assert error_from_rpc(caught.value).reason is Reason.IDENTITY_DENIED
    template = Request(template=template_to_proto(rotated.template(rotated.old.pair(0.0)[0])))
    with pytest.raises(grpc.RpcError) as caught:
        rotated.move("operator", OPTIONS, template)
    assert error_from_rpc(caught.value).reason is Reason.IDENTITY_DENIED
    assert rotated.move("matching", OPTIONS, *requests)[0].HasField("segment")


def test_a_score_in_place_of_a_segment_is_refused(rotated: Rotated) -> None:
    batch = rotated.old.verification(0.5)[0]
    responses = rotated.move("matching", OPTIONS, *segment_requests(batch.ciphertext, [0]))
    assert responses[0].error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]


@pytest.mark.parametrize("break_", ["no options", "options twice", "item with options", "empty", "half a segment"])
def test_a_stream_that_breaks_the_protocol_is_refused(rotated: Rotated, break_: str) -> None:
    template = Request(template=template_to_proto(rotated.template(rotated.old.pair(0.0)[0])))
    both = Request(options=OPTIONS.options, template=template.template)
    segment = rotated.old.comparer.new_segment(SPACE)
    segment.add(rotated.old.template(rotated.old.pair(0.0)[0], TemplateUse.REFERENCE), 0)
    pieces = list(segment_requests(segment.to_bytes(), [0]))
    streams = {
        "no options": [template],
        "options twice": [OPTIONS, OPTIONS],
        "item with options": [both],
        "empty": [],
        "half a segment": [OPTIONS, *pieces[:-1]],
    }
    with pytest.raises(grpc.RpcError) as caught:
        rotated.move("matching", *streams[break_])
    assert error_from_rpc(caught.value).reason is Reason.STREAM_PROTOCOL
