import asyncio
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from veilface.common.channel import open_channel
from veilface.common.pki import tls_settings
from veilface.keys.v1 import key_service_pb2, key_service_pb2_grpc

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
def server_process(pki):
    @asynccontextmanager
    async def start(drain_timeout_s):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(Path(__file__).with_name("draining_server.py")),
            str(pki),
            str(drain_timeout_s),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

        async def line():
            async with asyncio.timeout(30):
                return (await process.stdout.readline()).decode().strip()

        try:
            yield SimpleNamespace(process=process, line=line, address=await line())
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    return start


def get_key(channel, seconds):
    stub = key_service_pb2_grpc.KeyServiceStub(channel)
    return stub.GetKey(key_service_pb2.GetKeyRequest(name=f"keys/a{seconds}"), timeout=60)


@pytest.mark.parametrize("stop_signal", [signal.SIGTERM, signal.SIGINT])
async def test_a_stopped_server_finishes_the_running_call_refuses_new_ones_and_exits_cleanly(
    server_process, pki, stop_signal
):
    async with server_process(drain_timeout_s=30) as server, asyncio.timeout(60):
        tls = tls_settings(pki, "client")
        async with open_channel(server.address, tls) as channel:
            watch = aiter(health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest()))
            assert (await anext(watch)).status == SERVING
            running = asyncio.ensure_future(get_key(channel, 1.5))
            assert await server.line() == "called"
            server.process.send_signal(stop_signal)
            assert (await anext(watch)).status == NOT_SERVING
            async with open_channel(server.address, tls) as late_channel:
                with pytest.raises(grpc.RpcError) as caught:
                    await get_key(late_channel, 0)
                assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            assert (await running).name == "keys/a1.5"
        assert await server.line() == "returned"
        assert await server.process.wait() == 0


async def test_a_call_that_outlasts_the_drain_timeout_is_canceled(server_process, pki):
    async with server_process(drain_timeout_s=0.2) as server, asyncio.timeout(60):
        async with open_channel(server.address, tls_settings(pki, "client")) as channel:
            running = asyncio.ensure_future(get_key(channel, 3600))
            assert await server.line() == "called"
            server.process.send_signal(signal.SIGTERM)
            with pytest.raises(grpc.RpcError) as caught:
                await running
            assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
        assert await server.process.wait() == 0


async def test_an_open_health_watch_does_not_hold_up_the_stop(server_process, pki):
    async with (
        server_process(drain_timeout_s=3600) as server,
        asyncio.timeout(60),
        open_channel(server.address, tls_settings(pki, "client")) as channel,
    ):
        watch = aiter(health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest()))
        assert (await anext(watch)).status == SERVING
        server.process.send_signal(signal.SIGTERM)
        assert (await anext(watch)).status == NOT_SERVING
        assert [response async for response in watch] == []
        assert await server.process.wait() == 0


async def test_a_second_signal_ends_the_process_at_once(server_process, pki):
    async with server_process(drain_timeout_s=3600) as server, asyncio.timeout(60):
        async with open_channel(server.address, tls_settings(pki, "client")) as channel:
            watch = aiter(health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest()))
            assert (await anext(watch)).status == SERVING
            running = asyncio.ensure_future(get_key(channel, 3600))
            assert await server.line() == "called"
            server.process.send_signal(signal.SIGTERM)
            assert (await anext(watch)).status == NOT_SERVING
            server.process.send_signal(signal.SIGTERM)
            with pytest.raises(grpc.RpcError):
                await running
        assert await server.process.wait() == -signal.SIGTERM


async def test_a_missing_certificate_is_one_plain_line_and_exit_code_78(tmp_path):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("draining_server.py")),
        str(tmp_path),
        "1",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        output, errors = await process.communicate()
    assert (process.returncode, output) == (78, b"")
    assert errors.decode().startswith("veilface: INVALID_SETTING: cannot read")
    assert len(errors.decode().splitlines()) == 1
