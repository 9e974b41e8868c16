"""Clients that go away in the middle: whatever they began is done whole or not at all, and the services live on."""

from collections.abc import Iterator

import grpc
import pytest

from tests.e2e.conftest import Templates
from tests.faces import LabelledFaces
from veilface.cli.local_stack.stack import LocalStack
from veilface.client import VeilfaceClient
from veilface.common.attested import template_to_proto
from veilface.common.channel import open_sync_channel
from veilface.common.pki import tls_settings
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


@pytest.mark.parametrize("channel", ["matching"], indirect=True)
def test_an_abandoned_enrollment_is_whole_or_absent(
    channel: grpc.Channel, client: VeilfaceClient, gallery: str, faces: LabelledFaces, templates: Templates
) -> None:
    stub = gallery_service_pb2_grpc.GalleryServiceStub(channel)
    requests = [
        gallery_service_pb2.EnrollRequest(
            gallery=f"galleries/{gallery}",
            subject_id=f"subject-{number}",
            template=template_to_proto(templates.fresh(faces.photographs[0])),
            request_id=f"request-{number}",
        )
        for number in range(ATTEMPTS)
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
    client.enrollments.create(gallery, templates.fresh(photograph), "ada", request_id="ada")
    stub = matching_service_pb2_grpc.MatchingServiceStub(channel)
    request = matching_service_pb2.SearchGalleryRequest(
        gallery=f"galleries/{gallery}", probe=template_to_proto(templates.probes[photograph])
    )
    for _ in range(ATTEMPTS):
        stub.SearchGallery(request, timeout=TIMEOUT_S).cancel()
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
def test_an_abandoned_decision_disturbs_nobody(
    channel: grpc.Channel, client: VeilfaceClient, faces: LabelledFaces, templates: Templates
) -> None:
    stub = key_service_pb2_grpc.KeyServiceStub(channel)

    def endless() -> Iterator[key_service_pb2.DecideIdentificationRequest]:
        yield key_service_pb2.DecideIdentificationRequest(options=key_service_pb2.IdentificationOptions(top_k=1))
        raise RuntimeError("the client went away")

    for _ in range(5):
        with pytest.raises(grpc.RpcError):
            stub.DecideIdentification(endless(), timeout=TIMEOUT_S)
    photograph = faces.people[-1][0]
    assert client.compare_templates(templates.references[photograph], templates.probes[photograph]).is_match
