import asyncio
from datetime import UTC, datetime, timedelta

import grpc
import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from grpc_health.v1 import health_pb2, health_pb2_grpc

from veilface.common.errors import ConfigurationError, PermissionDeniedError, Reason, UnauthenticatedError
from veilface.common.identities import CLIENT_IDENTITY, MATCHING_IDENTITY, OPERATOR_IDENTITY
from veilface.common.identity import AccessPolicy, caller_identity
from veilface.common.pki import CertificateAuthority
from veilface.common.status import error_from_rpc
from veilface.keys.v1 import key_service_pb2, key_service_pb2_grpc

KEYS = "/veilface.keys.v1.KeyService"
EMBEDDING = "/veilface.embedding.v1.EmbeddingService"
POLICY = AccessPolicy(
    {
        f"{KEYS}/GetKey": [CLIENT_IDENTITY, OPERATOR_IDENTITY],
        f"{KEYS}/GetPublicKey": [MATCHING_IDENTITY],
        f"{KEYS}/DecideIdentification": [CLIENT_IDENTITY],
        f"{EMBEDDING}/*": [CLIENT_IDENTITY],
    }
)
# GetEvaluationKeys, the call of kind unary-stream-written, has no rule at all.
ALLOWED = {
    "unary-unary": {"client", "operator"},
    "unary-stream": {"matching"},
    "unary-stream-written": set(),
    "stream-unary": {"client"},
    "stream-stream": {"client"},
}


@pytest.mark.parametrize("party", ["client", "matching", "operator"])
async def test_every_identity_may_call_what_the_policy_lists_and_nothing_else(
    kind, party, running, connect, script, request
):
    reached = []

    async def note_caller(_):
        reached.append(caller_identity())

    script.action = note_caller
    async with running(policy=POLICY) as server, connect(server, party) as channel:
        if party in ALLOWED[request.node.callspec.params["kind"]]:
            assert len(await kind(channel)) == kind.response_count
            assert reached == [f"spiffe://veilface/{party}"]
        else:
            with pytest.raises(grpc.RpcError) as caught:
                await kind.be_refused(channel)
            error = error_from_rpc(caught.value)
            assert (type(error), error.reason) == (PermissionDeniedError, Reason.IDENTITY_DENIED)
            assert reached == []


async def get_key(channel):
    return await key_service_pb2_grpc.KeyServiceStub(channel).GetKey(
        key_service_pb2.GetKeyRequest(name="keys/a"), timeout=10
    )


async def failure(channel):
    with pytest.raises(grpc.RpcError) as caught:
        await get_key(channel)
    return caught.value


async def test_a_client_without_a_certificate_gets_no_connection(running, connect, pki):
    async with running() as server:
        credentials = grpc.ssl_channel_credentials((pki / "ca.crt").read_bytes())
        async with grpc.aio.secure_channel(server.address, credentials) as channel:
            assert (await failure(channel)).code() is grpc.StatusCode.UNAVAILABLE
        async with grpc.aio.insecure_channel(server.address) as channel:
            assert (await failure(channel)).code() is grpc.StatusCode.UNAVAILABLE
        async with connect(server) as channel:
            await get_key(channel)


async def test_a_client_of_another_authority_gets_no_connection(running, connect, pki, tmp_path):
    CertificateAuthority.create().issue(CLIENT_IDENTITY).save(tmp_path, "client")
    (tmp_path / "ca.crt").write_bytes((pki / "ca.crt").read_bytes())
    async with running() as server:
        async with connect(server, folder=tmp_path) as channel:
            assert (await failure(channel)).code() is grpc.StatusCode.UNAVAILABLE
        async with connect(server) as channel:
            await get_key(channel)


async def test_a_client_does_not_talk_to_a_server_of_another_authority(running, connect, pki, tmp_path):
    CertificateAuthority.create().save(tmp_path)
    for name in ("client.crt", "client.key"):
        (tmp_path / name).write_bytes((pki / name).read_bytes())
    async with running() as server, connect(server, folder=tmp_path) as channel:
        assert (await failure(channel)).code() is grpc.StatusCode.UNAVAILABLE


async def test_a_client_does_not_talk_to_a_server_of_another_name(running, connect):
    async with running() as server:
        async with connect(server, server_name="keys.example.org") as channel:
            assert (await failure(channel)).code() is grpc.StatusCode.UNAVAILABLE
        async with connect(server, server_name="localhost") as channel:
            await get_key(channel)


def issue_with_names(pki, folder, names):
    """A certificate of the right authority with alternative names that it would not issue."""
    authority_key = serialization.load_pem_private_key((pki / "ca.key").read_bytes(), password=None)
    authority = x509.load_pem_x509_certificate((pki / "ca.crt").read_bytes())
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, CLIENT_IDENTITY)]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(minutes=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    (folder / "client.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "client.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (folder / "ca.crt").write_bytes((pki / "ca.crt").read_bytes())


@pytest.mark.parametrize(
    ("names", "accepted"),
    [
        ([x509.UniformResourceIdentifier(CLIENT_IDENTITY)], True),
        ([x509.DNSName("localhost")], False),
        ([x509.DNSName(CLIENT_IDENTITY)], False),
        ([x509.UniformResourceIdentifier(CLIENT_IDENTITY), x509.UniformResourceIdentifier(OPERATOR_IDENTITY)], False),
    ],
)
async def test_only_a_certificate_with_exactly_one_uri_proves_an_identity(
    running, connect, pki, tmp_path, names, accepted
):
    issue_with_names(pki, tmp_path, names)
    async with running(policy=POLICY) as server, connect(server, folder=tmp_path) as channel:
        if accepted:
            await get_key(channel)
        else:
            error = error_from_rpc(await failure(channel))
            assert (type(error), error.reason) == (UnauthenticatedError, Reason.IDENTITY_MISSING)
        health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert health.status == health_pb2.HealthCheckResponse.SERVING


async def test_health_answers_identities_that_no_rule_names(running, connect):
    async with running(policy=AccessPolicy({})) as server, connect(server) as channel:
        health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert health.status == health_pb2.HealthCheckResponse.SERVING
        assert error_from_rpc(await failure(channel)).reason is Reason.IDENTITY_DENIED


async def test_concurrent_calls_do_not_mix_up_their_callers(running, connect, script):
    callers = []

    async def note_caller(context):
        before = caller_identity()
        callers.append(before)
        while len(set(callers)) < 2:
            await asyncio.sleep(0.001)
        assert caller_identity() == before

    script.action = note_caller
    async with running() as server, connect(server, "client") as one, connect(server, "operator") as two:
        async with asyncio.timeout(20):
            await asyncio.gather(get_key(one), get_key(two))
    assert set(callers) == {CLIENT_IDENTITY, OPERATOR_IDENTITY}


async def test_a_rule_for_a_method_that_does_not_exist_stops_the_start(running):
    with pytest.raises(ConfigurationError, match="GetKeyy"):
        async with running(policy=AccessPolicy({f"{KEYS}/GetKeyy": [CLIENT_IDENTITY]})):
            pass


INSECURE = {"tls_certificate": None, "tls_private_key": None, "tls_ca": None, "insecure": True}


async def test_an_insecure_server_refuses_callers_unless_it_was_told_who_they_are(running, connect, tmp_path):
    async with (
        running(policy=POLICY, listen=f"unix:{tmp_path}/a", **INSECURE) as server,
        connect(server, party=None) as channel,
    ):
        assert error_from_rpc(await failure(channel)).reason is Reason.IDENTITY_MISSING
    async with (
        running(policy=POLICY, listen=f"unix:{tmp_path}/b", insecure_identity=CLIENT_IDENTITY, **INSECURE) as server,
        connect(server, party=None) as channel,
    ):
        await get_key(channel)


async def test_mutual_tls_works_over_a_unix_socket(running, connect, tmp_path):
    async with (
        running(policy=POLICY, listen=f"unix:{tmp_path}/a") as server,
        connect(server, server_name="localhost") as channel,
    ):
        await get_key(channel)
