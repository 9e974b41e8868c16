"""Health checks without TLS, on a port of their own, as Kubernetes and Docker make them."""

import asyncio
import os
import socket
import sys

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from veilface.common.errors import ConfigurationError
from veilface.common.health import LIVENESS, Readiness
from veilface.keys.v1 import key_service_pb2, key_service_pb2_grpc

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def plain_channel(server):
    return grpc.aio.insecure_channel(f"127.0.0.1:{server.health_port}")


async def health_of(channel, service=""):
    stub = health_pb2_grpc.HealthStub(channel)
    return (await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)).status


async def probe(port):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "veilface.common.probe",
        env=os.environ | {"VEILFACE_HEALTH_PORT": str(port)},
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        _, written = await process.communicate()
    return process.returncode, written.decode()


async def test_without_a_certificate_health_is_answered_on_its_own_port_only(running):
    readiness = Readiness("database")
    async with running(readiness=readiness, health_port=0) as server:
        async with plain_channel(server) as channel:
            for service in ("", "veilface.keys.v1.KeyService"):
                readiness.fail("database", "no connection")
                assert await health_of(channel, service) == NOT_SERVING
                readiness.hold("database")
                assert await health_of(channel, service) == SERVING
            with pytest.raises(grpc.RpcError) as unknown:
                await health_of(channel, "no.Such")
            assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
        async with grpc.aio.insecure_channel(server.address) as channel:
            with pytest.raises(grpc.RpcError) as refused:
                await health_of(channel)
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_the_port_answers_nothing_but_health(running, connect):
    request = key_service_pb2.GetKeyRequest(name="keys/a")
    async with running(health_port=0) as server:
        async with plain_channel(server) as channel:
            with pytest.raises(grpc.RpcError) as refused:
                await key_service_pb2_grpc.KeyServiceStub(channel).GetKey(request, timeout=10)
            assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
        async with connect(server) as channel:
            assert (await key_service_pb2_grpc.KeyServiceStub(channel).GetKey(request, timeout=10)).name == "keys/a"


async def test_a_server_that_waits_or_drains_is_alive_but_not_ready(running, connect, script):
    release, reached = asyncio.Event(), asyncio.Event()

    async def wait(_):
        reached.set()
        await release.wait()

    script.action = wait
    readiness = Readiness("database")
    async with running(readiness=readiness, health_port=0) as server, plain_channel(server) as probes:
        assert (await health_of(probes), await health_of(probes, LIVENESS)) == (NOT_SERVING, SERVING)
        readiness.hold("database")
        assert (await health_of(probes), await health_of(probes, LIVENESS)) == (SERVING, SERVING)
        async with connect(server) as channel, asyncio.timeout(20):
            stub = key_service_pb2_grpc.KeyServiceStub(channel)
            call = asyncio.ensure_future(stub.GetKey(key_service_pb2.GetKeyRequest(name="keys/a"), timeout=20))
            await reached.wait()
            draining = asyncio.ensure_future(server.drain())
            while readiness.is_ready:
                await asyncio.sleep(0.01)
            assert (await health_of(probes), await health_of(probes, LIVENESS)) == (NOT_SERVING, SERVING)
            release.set()
            assert (await call).name == "keys/a"
            await draining
        with pytest.raises(grpc.RpcError) as gone:
            await health_of(probes, LIVENESS)
        assert gone.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_without_a_port_there_is_no_plain_health(running):
    async with running() as server:
        assert server.health_port is None


async def test_a_port_that_is_taken_is_named_with_its_settings(running):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigurationError, match=r"VEILFACE_HEALTH_HOST or VEILFACE_HEALTH_PORT"):
            async with running(health_port=taken.getsockname()[1]):
                pass


async def test_the_probe_exits_with_what_the_service_says(running):
    readiness = Readiness("database")
    async with running(readiness=readiness, health_port=0) as server:
        assert await probe(server.health_port) == (1, "veilface: NOT_SERVING\n")
        readiness.hold("database")
        assert await probe(server.health_port) == (0, "veilface: SERVING\n")
        port = server.health_port
    assert await probe(port) == (1, f"veilface: no answer on port {port}: UNAVAILABLE\n")


@pytest.mark.parametrize("port", ["", "0", "65536", "eight"])
async def test_a_probe_without_a_port_says_which_setting_is_missing(port):
    code, written = await probe(port)
    assert code == 78
    assert "VEILFACE_HEALTH_PORT" in written
