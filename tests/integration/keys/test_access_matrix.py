"""Every identity against every method, over real mutual TLS."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from veilface.common.errors import Reason
from veilface.common.status import error_from_rpc
from veilface.keys.access import DEFAULT_ACCESS
from veilface.keys.v1 import key_service_pb2 as pb

TIMEOUT_S = 60
SERVICE = pb.DESCRIPTOR.services_by_name["KeyService"]
METHODS = [method.name for method in SERVICE.methods]
IDENTITIES = {
    "client": "spiffe://veilface/client",
    "operator": "spiffe://veilface/operator",
    "embedding": "spiffe://veilface/embedding",
    "matching": "spiffe://veilface/matching",
    "keys": "spiffe://veilface/keys",
    "stranger": "spiffe://elsewhere/client",
}


def call(channel: grpc.Channel, name: str) -> None:
    """Call a method with an empty request and take in all it answers."""
    method = SERVICE.methods_by_name[name]
    request_class, response_class = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
    kinds = {
        (False, False): channel.unary_unary,
        (False, True): channel.unary_stream,
        (True, False): channel.stream_unary,
        (True, True): channel.stream_stream,
    }
    make = kinds[method.client_streaming, method.server_streaming]
    multicallable = make(  # type: ignore[operator]
        f"/{SERVICE.full_name}/{name}",
        request_serializer=request_class.SerializeToString,
        response_deserializer=response_class.FromString,
    )
    request: Message | Iterator[Message] = iter([request_class()]) if method.client_streaming else request_class()
    answer = multicallable(request, timeout=TIMEOUT_S)
    if method.server_streaming:
        list(answer)


def test_every_method_has_a_rule_and_every_rule_a_method() -> None:
    assert set(DEFAULT_ACCESS) == {f"/{SERVICE.full_name}/{name}" for name in METHODS}


@pytest.mark.parametrize("identity", IDENTITIES)
def test_an_identity_reaches_exactly_the_methods_that_list_it(running: Any, identity: str) -> None:
    channel = running.channel(identity)
    reached = set()
    for name in METHODS:
        try:
            call(channel, name)
        except grpc.RpcError as error:
            if error_from_rpc(error).reason is Reason.IDENTITY_DENIED:
                continue
        reached.add(name)
    allowed = {name for name in METHODS if IDENTITIES[identity] in DEFAULT_ACCESS[f"/{SERVICE.full_name}/{name}"]}
    assert reached == allowed


def test_without_a_certificate_nobody_is_let_in(running: Any) -> None:
    root = (running.folder / "ca.crt").read_bytes()
    options = [("grpc.ssl_target_name_override", "localhost")]
    with grpc.secure_channel(running.address, grpc.ssl_channel_credentials(root), options=options) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            call(channel, "ListKeys")
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    call(running.channel("operator"), "ListKeys")
