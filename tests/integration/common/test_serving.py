import asyncio
import io
import json
import logging
import sys
import urllib.request

import grpc
import pytest
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

from veilface.common.errors import ConfigurationError, NotFoundError, Reason, UnavailableError
from veilface.common.health import Readiness
from veilface.common.logging import configure_logging
from veilface.common.metrics import ServerMetrics
from veilface.common.status import error_from_rpc
from veilface.keys.v1 import key_service_pb2, key_service_pb2_grpc

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICES = ("veilface.keys.v1.KeyService", "veilface.embedding.v1.EmbeddingService")
GET_KEY = "/veilface.keys.v1.KeyService/GetKey"


async def get_key(channel, **options):
    stub = key_service_pb2_grpc.KeyServiceStub(channel)
    return await stub.GetKey(key_service_pb2.GetKeyRequest(name="keys/a"), timeout=10, **options)


async def failure(call):
    with pytest.raises(grpc.RpcError) as caught:
        await call
    return error_from_rpc(caught.value)


async def health_of(channel, service=""):
    stub = health_pb2_grpc.HealthStub(channel)
    return (await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)).status


async def test_health_follows_readiness_for_the_server_and_each_service(running, connect):
    readiness = Readiness("database")
    async with running(readiness=readiness) as server, connect(server) as channel:
        for service in ("", *SERVICES):
            readiness.fail("database", "no connection")
            assert await health_of(channel, service) == NOT_SERVING
            readiness.hold("database")
            assert await health_of(channel, service) == SERVING


async def test_a_watcher_is_told_every_change(running, connect):
    readiness = Readiness("database")
    async with running(readiness=readiness) as server, connect(server) as channel, asyncio.timeout(20):
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=SERVICES[0]))
        assert (await watch.read()).status == NOT_SERVING
        readiness.hold("database")
        assert (await watch.read()).status == SERVING
        readiness.fail("database", "no connection")
        assert (await watch.read()).status == NOT_SERVING


async def test_the_health_of_an_unknown_service_is_not_found(running, connect):
    async with running() as server, connect(server) as channel:
        assert isinstance(await failure(health_of(channel, "no.Such")), NotFoundError)
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service="no.Such"))
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        watch.cancel()


async def test_health_lists_every_service(running, connect):
    async with running() as server, connect(server) as channel:
        answer = await health_pb2_grpc.HealthStub(channel).List(health_pb2.HealthListRequest(), timeout=10)
    assert set(answer.statuses) == {"", *SERVICES}


async def test_calls_are_refused_with_the_reason_until_the_server_is_ready(running, connect):
    readiness = Readiness("master key")
    readiness.fail("master key", "none was given")
    async with running(readiness=readiness) as server, connect(server) as channel:
        error = await failure(get_key(channel))
        assert (type(error), error.reason) == (UnavailableError, Reason.NOT_READY)
        assert "master key: none was given" in error.message
        readiness.hold("master key")
        await get_key(channel)


async def list_services(channel):
    requests = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    responses = [m async for m in stub.ServerReflectionInfo(requests, timeout=10)]
    return {service.name for service in responses[0].list_services_response.service}


async def test_reflection_lists_the_services_to_every_identity(running, connect):
    async with running() as server, connect(server, "operator") as channel:
        assert {*SERVICES, "grpc.health.v1.Health"} <= await list_services(channel)


async def test_reflection_can_be_switched_off(running, connect):
    async with running(reflection=False) as server, connect(server) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            await list_services(channel)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        await get_key(channel)


async def test_more_calls_than_allowed_at_once_are_refused(running, connect, script):
    release, reached = asyncio.Event(), asyncio.Event()

    async def wait(_):
        reached.set()
        await release.wait()

    script.action = wait
    async with running(max_concurrent_calls=1) as server, connect(server) as channel, asyncio.timeout(20):
        first = asyncio.create_task(get_key(channel))
        await reached.wait()
        with pytest.raises(grpc.RpcError) as caught:
            await get_key(channel)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        release.set()
        await first
        await get_key(channel)


async def test_two_servers_cannot_share_a_port(running):
    async with running() as server:
        with pytest.raises(ConfigurationError, match="VEILFACE_LISTEN") as caught:
            async with running(listen=server.address):
                pass
    assert caught.value.reason is Reason.INVALID_SETTING


def samples(text, name):
    return {
        (sample.labels["method"], sample.labels["code"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    }


async def test_calls_are_counted_by_method_and_status_and_served_over_http(running, connect, script):
    async with running(metrics=ServerMetrics(), metrics_port=0) as server, connect(server) as channel:
        await get_key(channel)

        async def fail(_):
            raise NotFoundError(Reason.KEY_NOT_FOUND, "canary-3")

        script.action = fail
        await failure(get_key(channel))
        url = f"http://127.0.0.1:{server.metrics_port}/metrics"
        text = await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=10).read().decode())
    assert samples(text, "veilface_calls_total") == {(GET_KEY, "OK"): 1.0, (GET_KEY, "NOT_FOUND"): 1.0}
    assert set(samples(text, "veilface_call_duration_seconds_count")) == {(GET_KEY, "OK"), (GET_KEY, "NOT_FOUND")}
    assert "canary" not in text


async def test_a_taken_metrics_port_stops_the_start(running):
    async with running(metrics_port=0) as server:
        with pytest.raises(ConfigurationError, match="VEILFACE_METRICS_PORT"):
            async with running(metrics_port=server.metrics_port):
                pass


@pytest.fixture
def log_lines(monkeypatch):
    """Configures JSON logs and answers a function that reads the lines written so far."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    configure_logging("info", "json")
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers = handlers
    root.setLevel(level)
    logging.getLogger("veilface").setLevel(logging.NOTSET)
    structlog.reset_defaults()


async def test_every_call_is_logged_with_who_what_and_how_but_without_its_content(
    kind, running, connect, script, log_lines
):
    async def fail(_):
        raise NotFoundError(Reason.KEY_NOT_FOUND, "told to the caller only")

    async with running() as server, connect(server) as channel:
        await kind(channel)
        script.action = fail
        await failure(kind(channel))
    calls = [line for line in log_lines() if line["event"] == "call"]
    assert [line["code"] for line in calls] == ["OK", "NOT_FOUND"]
    assert [line.get("reason") for line in calls] == [None, "KEY_NOT_FOUND"]
    assert {line["caller"] for line in calls} == {"spiffe://veilface/client"}
    assert all(line["duration_ms"] >= 0 and line["method"].startswith("/veilface.") for line in calls)
    assert len({line["request_id"] for line in calls}) == 2
    assert "keys/a" not in json.dumps(calls)


async def test_an_unforeseen_exception_is_logged_by_type_and_place_with_the_request_id(
    running, connect, script, log_lines
):
    async def fail(_):
        raise ValueError("canary-4")

    script.action = fail
    async with running() as server, connect(server) as channel:
        await failure(get_key(channel, metadata=(("x-request-id", "ticket-77"),)))
    lines = log_lines()
    (error,) = [line for line in lines if line["event"] == "internal_error"]
    assert (error["exception"], error["request_id"]) == ("ValueError", "ticket-77")
    assert any("test_serving.py" in frame for frame in error["frames"])
    assert "canary-4" not in json.dumps(lines)


@pytest.mark.parametrize(("sent", "kept"), [("ticket-77", True), ("a b", False), ("x" * 65, False), ("", False)])
async def test_a_request_id_comes_back_and_is_the_callers_if_it_is_well_formed(running, connect, sent, kept):
    async with running() as server, connect(server) as channel:
        stub = key_service_pb2_grpc.KeyServiceStub(channel)
        call = stub.GetKey(key_service_pb2.GetKeyRequest(name="keys/a"), metadata=(("x-request-id", sent),))
        await call
        returned = dict(await call.trailing_metadata())["x-request-id"]
    assert (returned == sent) is kept
    assert returned
