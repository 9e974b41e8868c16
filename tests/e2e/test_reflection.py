"""Whoever has a certificate can ask each service for its contract, as command-line clients without the protos do."""

import grpc
import pytest
from google.protobuf import descriptor_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from veilface.cli.local_stack.stack import LocalStack
from veilface.common.channel import open_sync_channel
from veilface.common.pki import tls_settings

TIMEOUT_S = 30
INFRASTRUCTURE = {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
SERVICES = {
    "embedding": {"veilface.embedding.v1.EmbeddingService": "ExtractTemplates"},
    "keys": {"veilface.keys.v1.KeyService": "DecideVerification"},
    "matching": {
        "veilface.matching.v1.MatchingService": "SearchGallery",
        "veilface.matching.v1.GalleryService": "Enroll",
        "veilface.matching.v1.PeerService": "SearchSegments",
    },
}


def ask(channel: grpc.Channel, **question: str) -> reflection_pb2.ServerReflectionResponse:
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    (answer,) = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(**question)]), timeout=TIMEOUT_S)
    assert isinstance(answer, reflection_pb2.ServerReflectionResponse)
    return answer


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_tells_its_contract(stack: LocalStack, name: str) -> None:
    with open_sync_channel(stack.addresses[name], tls_settings(stack.layout.certificates, "client")) as channel:
        listed = {each.name for each in ask(channel, list_services="").list_services_response.service}
        assert listed == INFRASTRUCTURE | set(SERVICES[name])
        for service, method in SERVICES[name].items():
            answer = ask(channel, file_containing_symbol=service).file_descriptor_response
            files = [descriptor_pb2.FileDescriptorProto.FromString(data) for data in answer.file_descriptor_proto]
            described = {f"{file.package}.{each.name}": each for file in files for each in file.service}
            assert method in {each.name for each in described[service].method}
