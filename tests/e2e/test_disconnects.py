"""Clients that go away in the middle: whatever they began is done whole or not at all, and the services live on."""

import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import pytest

from tests.e2e.conftest import Templates
from tests.faces import LabelledFaces
from veilface.cli.local_stack.stack import LocalStack
from veilface.client import VeilfaceClient
from veilface.common.attested import SignedTemplate, template_to_proto
from veilface.common.channel import open_sync_channel
from veilface.common.errors import Reason, VeilfaceError
from veilface.common.pki import tls_settings
from veilface.common.status import error_from_rpc
from veilface.crypto.contract import TemplateUse
from veilface.embedding.v1 import embedding_service_pb2, embedding_service_pb2_grpc
from veilface.keys.v1 import key_service_pb2, key_service_pb2_grpc
from veilface.matching.v1 import (
    gallery_service_pb2,
    gallery_service_pb2_grpc,
    matching_service_pb2,
    matching_service_pb2_grpc,
)
from veilface.types.v1 import template_pb2

TIMEOUT_S = 60
ATTEMPTS = 20


@pytest.fixture
def gallery(client: VeilfaceClient, templates: Templates, request: pytest.FixtureRequest) -> str:
    name = request.node.originalname.replace("_", "-").removeprefix("test-")
    client.galleries.create(name, templates.key)
    return name


@pytest.fixture
def channel(stack: LocalStack, request: pytest.FixtureRequest) -> Iterator[grpc.Channel]:
    address = stack.addresses[request.param]
    with open_sync_channel(address, tls_settings(stack.layout.certificates, "client")) as opened:
        yield opened


def new_references(client: VeilfaceClient, photograph: Path, key: str) -> list[SignedTemplate]:
    """As many templates of one photograph as there are attempts."""
    made = []
    for _, extraction in client.extract_many([photograph] * ATTEMPTS, TemplateUse.REFERENCE, key=key):
        assert not isinstance(extraction, VeilfaceError), extraction
        made.append(extraction.faces[0].template)
    return made


@pytest.mark.parametrize("channel", ["matching"], indirect=True)
def test_an_abandoned_enrollment_is_whole_or_absent(
    channel: grpc.Channel, client: VeilfaceClient, gallery: str, faces: LabelledFaces, templates: Templates
) -> None:
    references = new_references(client, faces.photographs[0], templates.key)
    stub = gallery_service_pb2_grpc.GalleryServiceStub(channel)
    requests = [
        gallery_service_pb2.EnrollRequest(
            gallery=f"galleries/{gallery}",
            subject_id=f"subject-{number}",
            template=template_to_proto(reference),
            request_id=f"request-{number}",
        )
        for number, reference in enumerate(references)
    ]
    for number, request in enumerate(requests):
        # Deadlines from too short to be received to long enough to be done.
        call = stub.Enroll.future(request, timeout=0.0005 * 1.5**number)
        call.exception(timeout=TIMEOUT_S)
    written = {enrollment.subject: enrollment for enrollment in client.enrollments.list(gallery)}
    assert client.galleries.get(gallery).enrollment_count >= len(written)
    retried = {request.subject_id: stub.Enroll(request, timeout=TIMEOUT_S) for request in requests}
    assert {subject: retried[subject].name for subject in written} == {
        subject: enrollment.name for subject, enrollment in written.items()
    }
    found = client.galleries.get(gallery)
    assert (found.enrollment_count, found.subject_count) == (ATTEMPTS, ATTEMPTS)
    assert len(client.enrollments.list(gallery)) == ATTEMPTS
    assert 0 < len(written) < ATTEMPTS, "the deadlines were all too short, or all long enough"


@pytest.mark.parametrize("channel", ["matching"], indirect=True)
def test_an_abandoned_search_disturbs_nobody(
    channel: grpc.Channel, client: VeilfaceClient, gallery: str, faces: LabelledFaces, templates: Templates
) -> None:
    photograph = faces.people[-1][0]
    client.enroll(gallery, photograph, subject="ada")
    stub = matching_service_pb2_grpc.MatchingServiceStub(channel)
    request = matching_service_pb2.SearchGalleryRequest(
        gallery=f"galleries/{gallery}", probe=template_to_proto(templates.probes[photograph])
    )
    finished = 0
    for number in range(ATTEMPTS):
        # Deadlines from too short to be received to long enough to be done.
        call = stub.SearchGallery(request, timeout=0.001 * 1.5**number)
        with suppress(grpc.RpcError):
            finished += bool(list(call))
        assert call.code() in (grpc.StatusCode.OK, grpc.StatusCode.DEADLINE_EXCEEDED)
    assert 0 < finished < ATTEMPTS, "the deadlines were all too short, or all long enough"
    answer = client.identify_template(gallery, templates.probes[photograph])
    assert [candidate.subject for candidate in answer.candidates] == ["ada"]


@pytest.mark.parametrize("channel", ["embedding"], indirect=True)
def test_an_abandoned_stream_of_images_disturbs_nobody(
    channel: grpc.Channel, client: VeilfaceClient, faces: LabelledFaces
) -> None:
    stub = embedding_service_pb2_grpc.EmbeddingServiceStub(channel)
    request = embedding_service_pb2.BatchExtractTemplatesRequest(
        request=embedding_service_pb2.ExtractTemplatesRequest(
            image=faces.photographs[0].read_bytes(), use=template_pb2.TEMPLATE_USE_PROBE, key="keys/photographs"
        )
    )
    for _ in range(3):
        stream = stub.BatchExtractTemplates(iter([request] * 8))
        assert next(stream).WhichOneof("outcome") == "response"
        stream.cancel()
    assert client.compare(faces.photographs[0], faces.photographs[0], key="photographs").is_match


@pytest.mark.parametrize("channel", ["keys"], indirect=True)
def test_an_abandoned_decision_is_made_at_most_once_and_disturbs_nobody(
    channel: grpc.Channel,
    stack: LocalStack,
    client: VeilfaceClient,
    gallery: str,
    faces: LabelledFaces,
    templates: Templates,
) -> None:
    photograph = faces.people[-1][0]
    client.enroll(gallery, photograph, subject="ada")
    search = matching_service_pb2.SearchGalleryRequest(
        gallery=f"galleries/{gallery}", probe=template_to_proto(templates.probes[photograph])
    )
    with open_sync_channel(stack.addresses["matching"], tls_settings(stack.layout.certificates, "client")) as matching:
        matcher = matching_service_pb2_grpc.MatchingServiceStub(matching)
        scored = [
            answer for answer in matcher.SearchGallery(search, timeout=TIMEOUT_S) if answer.HasField("score_batch")
        ]
    (asked,) = [
        key_service_pb2.DecideIdentificationRequest(
            options=key_service_pb2.IdentificationOptions(top_k=1), score_batch=answer.score_batch
        )
        for answer in scored
    ]
    stub = key_service_pb2_grpc.KeyServiceStub(channel)
    for _ in range(3):
        sent, abandoned = threading.Event(), threading.Event()

        def stopping(
            sent: threading.Event = sent, abandoned: threading.Event = abandoned
        ) -> Iterator[key_service_pb2.DecideIdentificationRequest]:
            yield asked
            # Asked for the next message, so the one with the whole search is on its way.
            sent.set()
            abandoned.wait(TIMEOUT_S)

        call = stub.DecideIdentification.future(stopping(), timeout=TIMEOUT_S)
        assert sent.wait(TIMEOUT_S)
        assert call.cancel()
        abandoned.set()
    # Whoever gives up ends the stream as well, and the service may see that first: then the ticket is spent.
    outcomes = []
    for _ in range(2):
        try:
            decided = stub.DecideIdentification(iter([asked]), timeout=TIMEOUT_S)
            outcomes.append([candidate.rank for candidate in decided.candidates])
        except grpc.RpcError as error:
            outcomes.append(error_from_rpc(error).reason)
    assert outcomes in ([[1], Reason.TICKET_REPLAYED], [Reason.TICKET_REPLAYED, Reason.TICKET_REPLAYED])
    answer = client.identify_template(gallery, templates.probes[photograph])
    assert [candidate.subject for candidate in answer.candidates] == ["ada"]
