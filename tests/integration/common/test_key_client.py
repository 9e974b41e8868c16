import asyncio
import hashlib

import pytest

from veilface.common.chunks import LARGEST_CHUNK_BYTES, split_into_chunks
from veilface.common.errors import DataLossError, InvalidArgumentError, NotFoundError, Reason, UnavailableError
from veilface.common.identity import AccessPolicy
from veilface.common.key_client import KeyClientLimits, KeyMaterialClient
from veilface.common.names import KeyName, KeyVersionName, parse_key_or_version
from veilface.common.server import Registration
from veilface.crypto.contract import PublicMaterial, Scheme
from veilface.keys.v1 import key_service_pb2, key_service_pb2_grpc
from veilface.types.v1 import template_pb2
from veilface.types.v1.chunk_pb2 import Chunk

EVALUATION_BYTES = 2 * LARGEST_CHUNK_BYTES + 5


def public_key(version):
    return f"public {version}".encode()


def evaluation_keys(version):
    return bytes([version]) * EVALUATION_BYTES


class StreamingKeys(key_service_pb2_grpc.KeyServiceServicer):
    """Serves versions 1 and up of keys/a; `spoil` may change the responses of a stream."""

    def __init__(self):
        self.primary = 1
        self.requests = []
        self.spoil = list

    async def GetPublicKey(self, request, context):
        for response in self._responses(request, key_service_pb2.GetPublicKeyResponse, public_key):
            yield response

    async def GetEvaluationKeys(self, request, context):
        for response in self._responses(request, key_service_pb2.GetEvaluationKeysResponse, evaluation_keys):
            yield response

    def _responses(self, request, message_class, content):
        self.requests.append((message_class.__name__, request.name))
        name = parse_key_or_version(request.name)
        if name.key != "a":
            raise NotFoundError(Reason.KEY_NOT_FOUND, f"there is no {name}")
        version = name.version if isinstance(name, KeyVersionName) else self.primary
        info = key_service_pb2.KeyMaterialInfo(
            key_version=str(KeyVersionName("a", version)),
            scheme=template_pb2.SCHEME_CKKS_PACKED,
            profile="ckks-packed-128",
        )
        responses = [message_class(chunk=chunk) for chunk in split_into_chunks(content(version))]
        responses[0].info.CopyFrom(info)
        return self.spoil(responses)


@pytest.fixture
def service():
    return StreamingKeys()


@pytest.fixture
def registrations(service):
    return [
        Registration(
            key_service_pb2.DESCRIPTOR.services_by_name["KeyService"],
            service,
            key_service_pb2_grpc.add_KeyServiceServicer_to_server,
        )
    ]


@pytest.fixture
def policy():
    return AccessPolicy({"/veilface.keys.v1.KeyService/*": ["spiffe://veilface/matching"]})


@pytest.fixture
async def channel(running, connect, policy):
    async with running(policy=policy) as server, connect(server, "matching") as channel:
        yield channel


def material(version, evaluation=False):
    return PublicMaterial(
        scheme=Scheme.CKKS_PACKED,
        profile="ckks-packed-128",
        key_version=f"keys/a/versions/{version}",
        public_key=public_key(version),
        evaluation_keys=evaluation_keys(version) if evaluation else b"",
    )


@pytest.mark.parametrize("name", ["keys/a", "keys/a/versions/1", KeyName("a"), KeyVersionName("a", 1)])
async def test_public_and_evaluation_keys_arrive_whole(channel, name):
    client = KeyMaterialClient(channel)
    assert await client.fetch_public(name) == material(1)
    assert await client.fetch_evaluation(name) == material(1, evaluation=True)
    assert await client.fetch_public(name) == material(1)


async def test_each_public_key_is_fetched_once_however_many_ask_at_once(channel, service):
    client = KeyMaterialClient(channel)
    async with asyncio.timeout(20):
        await asyncio.gather(*(client.fetch_public("keys/a/versions/1") for _ in range(20)))
        await client.fetch_public("keys/a/versions/1")
    assert service.requests == [("GetPublicKeyResponse", "keys/a/versions/1")]


async def test_evaluation_keys_are_not_kept_but_the_public_key_beside_them_is(channel, service):
    client = KeyMaterialClient(channel)
    for _ in range(2):
        assert await client.fetch_evaluation("keys/a/versions/1") == material(1, evaluation=True)
    assert [message for message, _ in service.requests] == [
        "GetPublicKeyResponse",
        "GetEvaluationKeysResponse",
        "GetEvaluationKeysResponse",
    ]


async def test_a_new_primary_version_is_seen_after_the_agreed_time(channel, service):
    now = [0.0]
    client = KeyMaterialClient(channel, KeyClientLimits(primary_age_s=5.0), clock=lambda: now[0])
    assert (await client.fetch_public("keys/a")).key_version == "keys/a/versions/1"
    service.primary = 2
    now[0] = 4.9
    assert (await client.fetch_public("keys/a")).key_version == "keys/a/versions/1"
    now[0] = 5.0
    assert await client.fetch_evaluation("keys/a") == material(2, evaluation=True)
    assert await client.fetch_evaluation("keys/a/versions/1") == material(1, evaluation=True)


async def test_the_least_recently_used_version_is_dropped(channel, service):
    client = KeyMaterialClient(channel, KeyClientLimits(versions=2))
    for version in (1, 2, 1, 3, 1, 2):
        await client.fetch_public(f"keys/a/versions/{version}")
    assert [name.rpartition("/")[2] for _, name in service.requests] == ["1", "2", "3", "2"]


async def test_public_keys_are_dropped_before_they_take_more_bytes_than_allowed(channel, service):
    client = KeyMaterialClient(channel, KeyClientLimits(kept_bytes=2 * len(public_key(1))))
    for version in (1, 2, 1, 3, 1, 2):
        await client.fetch_public(f"keys/a/versions/{version}")
    assert [name.rpartition("/")[2] for _, name in service.requests] == ["1", "2", "3", "2"]


async def test_one_public_key_is_kept_however_large(channel, service):
    client = KeyMaterialClient(channel, KeyClientLimits(kept_bytes=1))
    for _ in range(2):
        assert await client.fetch_public("keys/a/versions/1") == material(1)
    assert len(service.requests) == 1


async def test_what_a_keys_policy_says_is_seen_after_the_agreed_time(channel, service):
    now = [0.0]
    client = KeyMaterialClient(channel, KeyClientLimits(primary_age_s=5.0), clock=lambda: now[0])
    before = await client.fetch_public("keys/a")
    assert (before.plaintext_probe_allowed, before.importers) == (False, None)

    def change_policy(responses):
        responses[0].info.plaintext_probe_allowed = True
        responses[0].info.import_grant.identities.append("spiffe://veilface/operator")
        return responses

    service.spoil = change_policy
    assert await client.fetch_public("keys/a") == before
    now[0] = 5.0
    after = await client.fetch_public("keys/a")
    assert (after.plaintext_probe_allowed, after.importers) == (True, ("spiffe://veilface/operator",))


async def test_a_forgotten_key_is_fetched_again(channel, service):
    client = KeyMaterialClient(channel)
    await client.fetch_public("keys/a")
    client.forget(KeyName("a"))
    await client.fetch_public("keys/a")
    assert len(service.requests) == 2


async def test_an_unknown_key_is_not_found_and_is_asked_for_again(channel, service):
    client = KeyMaterialClient(channel)
    for _ in range(2):
        with pytest.raises(NotFoundError) as caught:
            await client.fetch_public("keys/b")
        assert caught.value.reason is Reason.KEY_NOT_FOUND
    assert len(service.requests) == 2
    assert await client.fetch_public("keys/a") == material(1)


async def test_a_malformed_name_never_leaves(channel, service):
    with pytest.raises(InvalidArgumentError):
        await KeyMaterialClient(channel).fetch_public("keys/A")
    assert service.requests == []


async def test_a_denied_identity_is_this_services_trouble_and_not_the_callers(running, connect, policy):
    async with running(policy=policy) as server, connect(server, "client") as channel:
        with pytest.raises(UnavailableError) as caught:
            await KeyMaterialClient(channel).fetch_public("keys/a")
    assert caught.value.reason is Reason.DEPENDENCY_UNAVAILABLE
    assert "IDENTITY_DENIED" in caught.value.message


async def test_a_key_service_that_is_away_is_unavailable(running, connect, policy):
    async with running(policy=policy) as server:
        address = server
    async with connect(address, "matching") as channel:
        with pytest.raises(UnavailableError) as caught:
            await KeyMaterialClient(channel).fetch_public("keys/a")
    assert caught.value.reason is Reason.DEPENDENCY_UNAVAILABLE


def flip_a_byte(responses):
    responses[-1].chunk.data = b"\xff" + responses[-1].chunk.data[1:]
    return responses


def leave_out_the_end(responses):
    return responses[:-1]


def leave_out_the_info(responses):
    responses[0].ClearField("info")
    return responses


def name_another_version(responses):
    responses[0].info.key_version = "keys/a/versions/7"
    return responses


def name_another_key(responses):
    responses[0].info.key_version = "keys/b/versions/1"
    return responses


def leave_out_the_scheme(responses):
    responses[0].info.scheme = template_pb2.SCHEME_UNSPECIFIED
    return responses


def leave_out_the_profile(responses):
    responses[0].info.profile = ""
    return responses


def announce_too_much(responses):
    responses[0].chunk.CopyFrom(Chunk(total_bytes=2**40, sha256=hashlib.sha256(b"").digest()))
    return responses


@pytest.mark.parametrize(
    ("spoil", "error_class", "reason"),
    [
        (flip_a_byte, DataLossError, Reason.DIGEST_MISMATCH),
        (leave_out_the_end, UnavailableError, Reason.DEPENDENCY_UNAVAILABLE),
        (leave_out_the_info, UnavailableError, Reason.DEPENDENCY_UNAVAILABLE),
        (name_another_version, UnavailableError, Reason.DEPENDENCY_UNAVAILABLE),
        (name_another_key, UnavailableError, Reason.DEPENDENCY_UNAVAILABLE),
        (leave_out_the_scheme, UnavailableError, Reason.DEPENDENCY_UNAVAILABLE),
        (leave_out_the_profile, UnavailableError, Reason.DEPENDENCY_UNAVAILABLE),
        (announce_too_much, UnavailableError, Reason.DEPENDENCY_UNAVAILABLE),
    ],
)
async def test_spoiled_key_material_is_refused_and_not_kept(channel, service, spoil, error_class, reason):
    client = KeyMaterialClient(channel)
    for fetch in (client.fetch_public, client.fetch_evaluation):
        service.spoil = spoil
        with pytest.raises(error_class) as caught:
            await fetch("keys/a/versions/1")
        assert caught.value.reason is reason
        service.spoil = list
        assert (await fetch("keys/a/versions/1")).public_key == public_key(1)


async def test_a_canceled_fetch_leaves_the_client_usable(channel, service):
    client = KeyMaterialClient(channel)
    task = asyncio.create_task(client.fetch_evaluation("keys/a"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(20):
        assert await client.fetch_evaluation("keys/a") == material(1, evaluation=True)
