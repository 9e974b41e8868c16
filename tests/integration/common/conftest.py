"""Real servers over real mutual TLS, with servicers that cover the four kinds of calls and do as a test says."""

import asyncio
from contextlib import asynccontextmanager

import grpc.aio
import pytest

from veilface.common.channel import ChannelOptions, open_channel
from veilface.common.health import Readiness
from veilface.common.identities import CLIENT_IDENTITY, MATCHING_IDENTITY, OPERATOR_IDENTITY
from veilface.common.identity import AccessPolicy
from veilface.common.pki import CertificateAuthority, tls_settings
from veilface.common.server import Registration, ServerSettings, start_server
from veilface.embedding.v1 import embedding_service_pb2, embedding_service_pb2_grpc
from veilface.keys.v1 import key_service_pb2, key_service_pb2_grpc

CALL_TIMEOUT_S = 20
EVERYTHING_FOR_EVERYBODY = AccessPolicy(
    {"/veilface.keys.v1.KeyService/*": ["*"], "/veilface.embedding.v1.EmbeddingService/*": ["*"]}
)


class ScriptedKeys(key_service_pb2_grpc.KeyServiceServicer):
    def __init__(self, script):
        self._script = script

    async def GetKey(self, request, context):
        await self._script(context)
        return key_service_pb2.Key(name=request.name)

    async def GetPublicKey(self, request, context):
        yield key_service_pb2.GetPublicKeyResponse()
        await self._script(context)
        yield key_service_pb2.GetPublicKeyResponse()

    async def GetEvaluationKeys(self, request, context):
        await context.write(key_service_pb2.GetEvaluationKeysResponse())
        await self._script(context)
        await context.write(key_service_pb2.GetEvaluationKeysResponse())

    async def DecideIdentification(self, request_iterator, context):
        count = 0
        async for _ in request_iterator:
            count += 1
        await self._script(context)
        return key_service_pb2.DecideIdentificationResponse(score_count=count)


class ScriptedEmbedding(embedding_service_pb2_grpc.EmbeddingServiceServicer):
    def __init__(self, script):
        self._script = script

    async def BatchExtractTemplates(self, request_iterator, context):
        index = 0
        async for _ in request_iterator:
            if index:
                await self._script(context)
            yield embedding_service_pb2.BatchExtractTemplatesResponse(index=index)
            index += 1


class Kind:
    """One of the kinds of calls: makes a call, and says how many responses it gets if all goes well."""

    def __init__(self, response_count, begin, begin_to_be_refused=None):
        self.response_count = response_count
        self.begin = begin
        self._begin_to_be_refused = begin_to_be_refused or begin

    async def __call__(self, channel):
        return await responses(self.begin(channel))

    async def be_refused(self, channel):
        """Make a call that ends before any request is read."""
        return await responses(self._begin_to_be_refused(channel))


async def responses(call):
    return [response async for response in call] if hasattr(call, "__aiter__") else [await call]


def keys(channel):
    return key_service_pb2_grpc.KeyServiceStub(channel)


def embedding(channel):
    return embedding_service_pb2_grpc.EmbeddingServiceStub(channel)


GET_KEY = key_service_pb2.GetKeyRequest(name="keys/a")
TWO_DECISIONS = (key_service_pb2.DecideIdentificationRequest(),) * 2
TWO_IMAGES = (embedding_service_pb2.BatchExtractTemplatesRequest(),) * 2

KINDS = {
    "unary-unary": Kind(1, lambda channel: keys(channel).GetKey(GET_KEY, timeout=CALL_TIMEOUT_S)),
    "unary-stream": Kind(
        2, lambda channel: keys(channel).GetPublicKey(key_service_pb2.GetPublicKeyRequest(), timeout=CALL_TIMEOUT_S)
    ),
    "unary-stream-written": Kind(
        2,
        lambda channel: keys(channel).GetEvaluationKeys(
            key_service_pb2.GetEvaluationKeysRequest(), timeout=CALL_TIMEOUT_S
        ),
    ),
    "stream-unary": Kind(
        1, lambda channel: keys(channel).DecideIdentification(iter(TWO_DECISIONS), timeout=CALL_TIMEOUT_S)
    ),
    "stream-stream": Kind(
        2,
        lambda channel: embedding(channel).BatchExtractTemplates(iter(TWO_IMAGES), timeout=CALL_TIMEOUT_S),
        # The asyncio client puts INTERNAL in the place of the server's status if it is still writing.
        lambda channel: embedding(channel).BatchExtractTemplates(iter(()), timeout=CALL_TIMEOUT_S),
    ),
}


@pytest.fixture(params=KINDS)
def kind(request):
    """Each kind of call in turn."""
    return KINDS[request.param]


@pytest.fixture(scope="session")
def pki(tmp_path_factory):
    """A folder with an authority and a certificate for each party."""
    folder = tmp_path_factory.mktemp("pki")
    authority = CertificateAuthority.load_or_create(folder)
    authority.issue("spiffe://veilface/server").save(folder, "server")
    for identity in (CLIENT_IDENTITY, MATCHING_IDENTITY, OPERATOR_IDENTITY):
        authority.issue(identity).save(folder, identity.rpartition("/")[2])
    return folder


class Script:
    """What the servicers do in the middle of every call; a test replaces `action`."""

    def __init__(self):
        self.action = None

    async def __call__(self, context):
        if self.action is not None:
            await self.action(context)


@pytest.fixture
def script():
    return Script()


@pytest.fixture
def registrations(script):
    return [
        Registration(
            key_service_pb2.DESCRIPTOR.services_by_name["KeyService"],
            ScriptedKeys(script),
            key_service_pb2_grpc.add_KeyServiceServicer_to_server,
        ),
        Registration(
            embedding_service_pb2.DESCRIPTOR.services_by_name["EmbeddingService"],
            ScriptedEmbedding(script),
            embedding_service_pb2_grpc.add_EmbeddingServiceServicer_to_server,
        ),
    ]


@pytest.fixture
def running(pki, registrations):
    """A context manager that runs a server: `async with running() as server`."""

    @asynccontextmanager
    async def run(policy=EVERYTHING_FOR_EVERYBODY, readiness=None, metrics=None, folder=pki, **changes):
        tls = tls_settings(folder, "server")
        settings = ServerSettings(
            **{
                "listen": "127.0.0.1:0",
                "tls_certificate": tls.certificate,
                "tls_private_key": tls.private_key,
                "tls_ca": tls.ca,
                "drain_timeout_s": 5,
            }
            | changes
        )
        server = await start_server(settings, registrations, readiness or Readiness(), policy, metrics=metrics)
        try:
            yield server
        finally:
            async with asyncio.timeout(20):
                await server.drain()

    return run


@pytest.fixture
def connect(pki):
    """A context manager that opens a channel as a party: `async with connect(server, "client") as channel`."""

    @asynccontextmanager
    async def open_one(server, party="client", folder=pki, **options):
        tls = None if party is None else tls_settings(folder, party)
        channel: grpc.aio.Channel = open_channel(server.address, tls, ChannelOptions(**options))
        try:
            yield channel
        finally:
            await channel.close()

    return open_one
