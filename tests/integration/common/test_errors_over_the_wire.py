import asyncio
import logging

import grpc
import grpc.aio
import pytest

from veilface.common.channel import open_sync_channel
from veilface.common.errors import (
    AlreadyExistsError,
    ConfigurationError,
    DataLossError,
    FailedPreconditionError,
    InvalidArgumentError,
    InvalidCiphertextError,
    NotFoundError,
    PermissionDeniedError,
    Reason,
    ResourceExhaustedError,
    UnauthenticatedError,
    UnavailableError,
)
from veilface.common.pki import tls_settings
from veilface.common.status import INTERNAL_MESSAGE, error_from_rpc
from veilface.keys.v1 import key_service_pb2, key_service_pb2_grpc

ERRORS = [
    InvalidArgumentError(Reason.NO_FACE, "no face"),
    FailedPreconditionError(Reason.KEY_DISABLED, "disabled"),
    NotFoundError(Reason.KEY_NOT_FOUND, "not found"),
    AlreadyExistsError(Reason.KEY_EXISTS, "exists"),
    UnauthenticatedError(Reason.IDENTITY_MISSING, "who"),
    PermissionDeniedError(Reason.POLICY_DENIED, "no"),
    ResourceExhaustedError(Reason.QUOTA_EXCEEDED, "enough \u2013 \u00e9"),
    DataLossError(Reason.SEAL_BROKEN, "broken"),
]


def raising(error):
    async def action(_):
        raise error

    return action


async def failure(call, channel):
    with pytest.raises(grpc.RpcError) as caught:
        await call(channel)
    return caught.value


async def test_calls_of_every_kind_pass_through_unharmed(kind, running, connect):
    async with running() as server, connect(server) as channel:
        assert len(await kind(channel)) == kind.response_count


async def test_every_error_reaches_the_client_as_it_was_raised(kind, running, connect, script):
    async with running() as server, connect(server) as channel:
        for error in ERRORS:
            script.action = raising(error)
            received = error_from_rpc(await failure(kind, channel))
            assert (type(received), received.reason, received.message) == (type(error), error.reason, error.message)


async def test_a_subclass_arrives_as_the_class_of_its_status_with_its_reason(kind, running, connect, script):
    script.action = raising(InvalidCiphertextError(Reason.WRONG_LEVEL, "level"))
    async with running() as server, connect(server) as channel:
        received = error_from_rpc(await failure(kind, channel))
    assert (type(received), received.reason) == (InvalidArgumentError, Reason.WRONG_LEVEL)


@pytest.mark.parametrize(
    "error", [ValueError("canary-1"), ConfigurationError(Reason.INVALID_SETTING, "canary-1"), AssertionError()]
)
async def test_an_unforeseen_exception_tells_the_client_nothing_and_leaves_the_server_alive(
    kind, running, connect, script, error
):
    async with running() as server, connect(server) as channel:
        script.action = raising(error)
        received = await failure(kind, channel)
        assert (received.code(), received.details()) == (grpc.StatusCode.INTERNAL, INTERNAL_MESSAGE)
        assert "canary" not in str(received.trailing_metadata())
        script.action = None
        assert len(await kind(channel)) == kind.response_count


async def test_a_message_sent_before_the_error_arrives_before_the_error(running, connect, script):
    script.action = raising(NotFoundError(Reason.KEY_NOT_FOUND, "gone"))
    async with running() as server, connect(server) as channel:
        stub = key_service_pb2_grpc.KeyServiceStub(channel)
        stream = aiter(stub.GetPublicKey(key_service_pb2.GetPublicKeyRequest()))
        assert await anext(stream) == key_service_pb2.GetPublicKeyResponse()
        with pytest.raises(grpc.RpcError) as caught:
            await anext(stream)
    assert error_from_rpc(caught.value).reason is Reason.KEY_NOT_FOUND


async def test_the_synchronous_api_sees_the_same_error(running, script, pki):
    script.action = raising(NotFoundError(Reason.KEY_NOT_FOUND, "gone"))

    def call(address):
        with open_sync_channel(address, tls_settings(pki, "client")) as channel:
            stub = key_service_pb2_grpc.KeyServiceStub(channel)
            with pytest.raises(grpc.RpcError) as unary:
                stub.GetKey(key_service_pb2.GetKeyRequest(), timeout=20)
            with pytest.raises(grpc.RpcError) as stream:
                list(stub.GetPublicKey(key_service_pb2.GetPublicKeyRequest(), timeout=20))
            return [error_from_rpc(unary.value), error_from_rpc(stream.value)]

    async with running() as server:
        errors = await asyncio.to_thread(call, server.address)
    assert [(type(error), error.reason) for error in errors] == [(NotFoundError, Reason.KEY_NOT_FOUND)] * 2


async def test_a_read_is_retried_while_the_server_is_unavailable(running, connect, script):
    attempts = []

    async def fail_twice(_):
        attempts.append(1)
        if len(attempts) < 3:
            raise UnavailableError(Reason.NOT_READY, "wait")

    script.action = fail_twice
    async with running() as server, connect(server) as channel:
        stub = key_service_pb2_grpc.KeyServiceStub(channel)
        assert (await stub.GetKey(key_service_pb2.GetKeyRequest(name="keys/a"), timeout=20)).name == "keys/a"
    assert len(attempts) == 3


async def test_a_decision_is_not_retried(running, connect, script):
    attempts = []

    async def fail(_):
        attempts.append(1)
        raise UnavailableError(Reason.NOT_READY, "wait")

    script.action = fail
    async with running() as server, connect(server) as channel:
        stub = key_service_pb2_grpc.KeyServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            await stub.DecideIdentification(iter([key_service_pb2.DecideIdentificationRequest()]), timeout=20)
    assert (len(attempts), error_from_rpc(caught.value).reason) == (1, Reason.NOT_READY)


RAW_METHODS = [
    ("unary_unary", "/veilface.keys.v1.KeyService/GetKey"),
    ("unary_stream", "/veilface.keys.v1.KeyService/GetPublicKey"),
    ("stream_unary", "/veilface.keys.v1.KeyService/DecideIdentification"),
    ("stream_stream", "/veilface.embedding.v1.EmbeddingService/BatchExtractTemplates"),
]


@pytest.mark.parametrize(("kind_name", "method"), RAW_METHODS)
async def test_bytes_that_are_no_message_are_an_invalid_argument(running, connect, kind_name, method):
    async def call(channel, request):
        make_call = getattr(channel, kind_name)(method)
        result = make_call(iter([request]) if kind_name.startswith("stream") else request, timeout=20)
        return [m async for m in result] if kind_name.endswith("stream") else await result

    async with running() as server, connect(server) as channel:
        await call(channel, b"")
        with pytest.raises(grpc.RpcError) as caught:
            await call(channel, b"\xff\xff\xff")
        error = error_from_rpc(caught.value)
        assert (type(error), error.reason) == (InvalidArgumentError, Reason.INVALID_FIELD)
        await call(channel, b"")


async def test_an_unknown_method_is_unimplemented(running, connect):
    async with running() as server, connect(server) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            await channel.unary_unary("/veilface.keys.v1.KeyService/Decrypt")(b"", timeout=20)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_request_above_the_limit_is_refused_and_one_below_is_served(running, connect):
    async with running(max_receive_bytes=2048) as server, connect(server) as channel:
        stub = key_service_pb2_grpc.KeyServiceStub(channel)
        small = key_service_pb2.GetKeyRequest(name="k" * 1024)
        assert len((await stub.GetKey(small, timeout=20)).name) == 1024
        with pytest.raises(grpc.RpcError) as caught:
            await stub.GetKey(key_service_pb2.GetKeyRequest(name="k" * 4096), timeout=20)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert len((await stub.GetKey(small, timeout=20)).name) == 1024


async def test_a_message_of_many_mebibytes_passes_with_the_default_limits(running, connect):
    async with running() as server, connect(server) as channel:
        stub = key_service_pb2_grpc.KeyServiceStub(channel)
        large = key_service_pb2.GetKeyRequest(name="k" * (16 << 20))
        assert len((await stub.GetKey(large, timeout=20)).name) == 16 << 20


async def test_grpc_itself_logs_nothing_about_errors_that_were_mapped(kind, running, connect, script, caplog):
    script.action = raising(ValueError("canary-2"))
    with caplog.at_level(logging.DEBUG):
        async with running() as server, connect(server) as channel:
            await failure(kind, channel)
    assert "canary-2" not in caplog.text
