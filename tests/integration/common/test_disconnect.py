import asyncio

import grpc
import pytest

from veilface.common.metrics import ServerMetrics
from veilface.keys.v1 import key_service_pb2, key_service_pb2_grpc

TIMEOUT_S = 20


class Traced:
    """A script action that waits forever, and notes that it was reached and that it was canceled."""

    def __init__(self):
        self.reached = asyncio.Event()
        self.canceled = asyncio.Event()

    async def __call__(self, _):
        self.reached.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.canceled.set()
            raise


async def test_a_client_that_cancels_frees_the_handler_and_the_server_goes_on(kind, running, connect, script):
    metrics = ServerMetrics()
    async with running(metrics=metrics) as server, connect(server) as channel, asyncio.timeout(TIMEOUT_S):
        script.action = traced = Traced()
        call = kind.begin(channel)
        await traced.reached.wait()
        call.cancel()
        await traced.canceled.wait()
        script.action = None
        assert len(await kind(channel)) == kind.response_count
    assert sum(sample.value for metric in metrics.calls_running.collect() for sample in metric.samples) == 0


async def test_a_client_that_vanishes_frees_the_handler_and_the_server_goes_on(kind, running, connect, script):
    async with running() as server, asyncio.timeout(TIMEOUT_S):
        script.action = traced = Traced()
        async with connect(server) as channel:
            kind.begin(channel)
            await traced.reached.wait()
        await traced.canceled.wait()
        script.action = None
        async with connect(server) as channel:
            assert len(await kind(channel)) == kind.response_count


async def test_an_expired_deadline_frees_the_handler_and_is_counted_as_such(running, connect, script):
    metrics = ServerMetrics()
    script.action = traced = Traced()
    async with running(metrics=metrics) as server, connect(server) as channel, asyncio.timeout(TIMEOUT_S):
        stub = key_service_pb2_grpc.KeyServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            await stub.GetKey(key_service_pb2.GetKeyRequest(name="keys/a"), timeout=0.5)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await traced.canceled.wait()
        await asyncio.sleep(0)
    counted = metrics.calls.labels("/veilface.keys.v1.KeyService/GetKey", "DEADLINE_EXCEEDED")
    assert sum(sample.value for sample in counted._child_samples()) >= 1


async def test_a_reader_that_stops_reading_does_not_stop_the_others(running, connect, script):
    async with running() as server, connect(server) as slow, connect(server) as quick, asyncio.timeout(TIMEOUT_S):
        stream = key_service_pb2_grpc.KeyServiceStub(slow).GetPublicKey(key_service_pb2.GetPublicKeyRequest())
        await stream.read()
        stub = key_service_pb2_grpc.KeyServiceStub(quick)
        assert (await stub.GetKey(key_service_pb2.GetKeyRequest(name="keys/a"), timeout=10)).name == "keys/a"
        stream.cancel()
