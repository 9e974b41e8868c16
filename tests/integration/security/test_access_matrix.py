"""Every identity against every method of the embedding and the matching service, over real mutual TLS."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

from veilface.cli.local_stack.stack import LocalStack
from veilface.common.channel import open_sync_channel
from veilface.common.errors import Reason
from veilface.common.pki import CertificateAuthority, tls_settings
from veilface.common.status import error_from_rpc
from veilface.embedding.access import DEFAULT_ACCESS as EMBEDDING_ACCESS
from veilface.embedding.v1 import embedding_service_pb2
from veilface.matching.access import DEFAULT_ACCESS as MATCHING_ACCESS
from veilface.matching.v1 import gallery_service_pb2, matching_service_pb2, peer_service_pb2

TIMEOUT_S = 60
IDENTITIES = {
    "client": "spiffe://veilface/client",
    "operator": "spiffe://veilface/operator",
    "embedding": "spiffe://veilface/embedding",
    "keys": "spiffe://veilface/keys",
    "matching": "spiffe://veilface/matching",
    # Of the same authority; the second differs from one that is let in by its trailing slash and word only.
    "stranger": "spiffe://elsewhere/client",
    "imitator": "spiffe://veilface/client/operator",
}
SERVICES: dict[str, tuple[ServiceDescriptor, ...]] = {
    "embedding": (embedding_service_pb2.DESCRIPTOR.services_by_name["EmbeddingService"],),
    "matching": (
        gallery_service_pb2.DESCRIPTOR.services_by_name["GalleryService"],
        matching_service_pb2.DESCRIPTOR.services_by_name["MatchingService"],
        peer_service_pb2.DESCRIPTOR.services_by_name["PeerService"],
    ),
}
ACCESS = {"embedding": EMBEDDING_ACCESS, "matching": MATCHING_ACCESS}
CELLS = [
    pytest.param(process, method, identity, id=f"{identity}-{method.name}")
    for process, services in SERVICES.items()
    for service in services
    for method in service.methods
    for identity in IDENTITIES
]

FROM_THE_METHOD = (Reason.INVALID_FIELD, Reason.INVALID_NAME, Reason.MISSING_FIELD, Reason.STREAM_PROTOCOL)

OpenChannel = Callable[[str, str], grpc.Channel]


@pytest.fixture(scope="module")
def channel(stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenChannel]:
    """Opens a channel to a process as an identity, with a certificate of the stack's own authority."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = CertificateAuthority.load(stack.layout.certificates)
    (folder / "ca.crt").write_bytes(authority.certificate_pem)
    for name, identity in IDENTITIES.items():
        authority.issue(identity).save(folder, name)
    opened: dict[tuple[str, str], grpc.Channel] = {}

    def open_as(process: str, identity: str) -> grpc.Channel:
        if (process, identity) not in opened:
            opened[process, identity] = open_sync_channel(stack.addresses[process], tls_settings(folder, identity))
        return opened[process, identity]

    yield open_as
    for each in opened.values():
        each.close()


def call(channel: grpc.Channel, method: MethodDescriptor) -> None:
    """Call a method with an empty request and take in all it answers."""
    request_class, response_class = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
    kinds: dict[tuple[bool, bool], Any] = {
        (False, False): channel.unary_unary,
        (False, True): channel.unary_stream,
        (True, False): channel.stream_unary,
        (True, True): channel.stream_stream,
    }
    multicallable = kinds[method.client_streaming, method.server_streaming](
        full_name(method),
        request_serializer=request_class.SerializeToString,
        response_deserializer=response_class.FromString,
    )
    answer = multicallable(iter([request_class()]) if method.client_streaming else request_class(), timeout=TIMEOUT_S)
    if method.server_streaming:
        list(answer)


def refusal_of(channel: grpc.Channel, method: MethodDescriptor) -> Reason | None:
    """Why a call with an empty request was refused; None if it was answered."""
    try:
        call(channel, method)
    except grpc.RpcError as error:
        return error_from_rpc(error).reason
    return None


def full_name(method: MethodDescriptor) -> str:
    return f"/{method.containing_service.full_name}/{method.name}"


@pytest.mark.parametrize("process", SERVICES)
def test_every_method_has_a_rule_and_every_rule_a_method(process: str) -> None:
    assert set(ACCESS[process]) == {full_name(method) for service in SERVICES[process] for method in service.methods}


@pytest.mark.parametrize(("process", "method", "identity"), CELLS)
def test_an_identity_reaches_a_method_exactly_if_the_rules_list_it(
    channel: OpenChannel, process: str, method: MethodDescriptor, identity: str
) -> None:
    refusal = refusal_of(channel(process, identity), method)
    assert (refusal is not Reason.IDENTITY_DENIED) == (IDENTITIES[identity] in ACCESS[process][full_name(method)])
    # Whoever is let in hears from the method itself: most take no empty request.
    assert refusal in (None, Reason.IDENTITY_DENIED, *FROM_THE_METHOD)


@pytest.mark.parametrize("process", SERVICES)
def test_a_certificate_of_another_authority_lets_nobody_in(
    stack: LocalStack, channel: OpenChannel, tmp_path: Path, process: str
) -> None:
    CertificateAuthority.create().issue(IDENTITIES["client"]).save(tmp_path, "client")
    (tmp_path / "ca.crt").write_bytes((stack.layout.certificates / "ca.crt").read_bytes())
    method = SERVICES[process][0].methods[0]
    with open_sync_channel(stack.addresses[process], tls_settings(tmp_path, "client")) as foreign:
        with pytest.raises(grpc.RpcError) as caught:
            call(foreign, method)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    with pytest.raises(grpc.RpcError) as answered:
        call(channel(process, "client"), method)
    assert answered.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("process", SERVICES)
def test_without_a_certificate_nobody_is_let_in(stack: LocalStack, process: str) -> None:
    root = (stack.layout.certificates / "ca.crt").read_bytes()
    with grpc.secure_channel(stack.addresses[process], grpc.ssl_channel_credentials(root)) as nameless:
        with pytest.raises(grpc.RpcError) as caught:
            call(nameless, SERVICES[process][0].methods[0])
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
