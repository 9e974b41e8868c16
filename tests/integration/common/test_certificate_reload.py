import asyncio
import ssl
from datetime import timedelta

import grpc
import pytest
from cryptography import x509

from veilface.common.errors import ConfigurationError, Reason
from veilface.common.identities import CLIENT_IDENTITY, OPERATOR_IDENTITY
from veilface.common.identity import caller_identity
from veilface.common.pki import CertificateAuthority, load_certificate
from veilface.keys.v1 import key_service_pb2, key_service_pb2_grpc

SERVER_IDENTITY = "spiffe://veilface/server"


def fill(folder):
    authority = CertificateAuthority.load_or_create(folder)
    authority.issue(SERVER_IDENTITY).save(folder, "server")
    authority.issue(CLIENT_IDENTITY).save(folder, "client")
    return authority


def serial_number_on_disk(folder):
    return load_certificate(folder / "server.crt").serial_number


async def serial_number_on_the_wire(server):
    """The serial number of the certificate that a new connection is shown."""
    host, _, port = server.address.rpartition(":")
    pem = await asyncio.to_thread(ssl.get_server_certificate, (host, int(port)), timeout=10)
    return x509.load_pem_x509_certificate(pem.encode()).serial_number


async def get_key(channel):
    stub = key_service_pb2_grpc.KeyServiceStub(channel)
    return await stub.GetKey(key_service_pb2.GetKeyRequest(name="keys/a"), timeout=10)


async def test_new_connections_get_the_new_certificate_while_old_ones_live_on(running, connect, tmp_path):
    authority = fill(tmp_path)
    before = serial_number_on_disk(tmp_path)
    async with running(folder=tmp_path) as server, connect(server, folder=tmp_path) as old_channel:
        await get_key(old_channel)
        assert await serial_number_on_the_wire(server) == before
        authority.issue(SERVER_IDENTITY).save(tmp_path, "server")
        after = serial_number_on_disk(tmp_path)
        assert await serial_number_on_the_wire(server) == after != before
        await get_key(old_channel)
        async with connect(server, folder=tmp_path) as new_channel:
            await get_key(new_channel)


async def test_a_half_replaced_certificate_is_not_used_until_it_is_whole(running, connect, tmp_path):
    authority = fill(tmp_path)
    before = serial_number_on_disk(tmp_path)
    async with running(folder=tmp_path) as server:
        issued = authority.issue(SERVER_IDENTITY)
        (tmp_path / "server.key").write_bytes(issued.private_key_pem)
        assert await serial_number_on_the_wire(server) == before
        (tmp_path / "server.crt").write_bytes(b"")
        assert await serial_number_on_the_wire(server) == before
        (tmp_path / "server.crt").unlink()
        assert await serial_number_on_the_wire(server) == before
        async with connect(server, folder=tmp_path) as channel:
            await get_key(channel)
        (tmp_path / "server.crt").write_bytes(issued.certificate_pem)
        assert await serial_number_on_the_wire(server) == serial_number_on_disk(tmp_path) != before


async def test_a_replaced_authority_lets_its_own_clients_in_and_the_former_ones_no_longer(running, connect, tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    fill(old)
    fill(new)
    async with running(folder=old) as server:
        async with connect(server, folder=old) as channel:
            await get_key(channel)
        (old / "both").mkdir()
        for name in ("client.crt", "client.key", "ca.crt"):
            (old / "both" / name).write_bytes((old / name).read_bytes())
        for name in ("ca.crt", "server.key", "server.crt"):
            (old / name).write_bytes((new / name).read_bytes())
        async with connect(server, folder=new) as channel:
            await get_key(channel)
        # It trusts the server's new authority, but has a certificate of the old one.
        (old / "both" / "ca.crt").write_bytes((new / "ca.crt").read_bytes())
        async with connect(server, folder=old / "both") as channel:
            with pytest.raises(grpc.RpcError) as caught:
                await get_key(channel)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def spoil_key(folder, authority):
    (folder / "server.key").write_bytes(authority.issue(SERVER_IDENTITY).private_key_pem)


def spoil_certificate(folder, authority):
    (folder / "server.crt").write_bytes(b"not a certificate")


def spoil_authority(folder, authority):
    (folder / "ca.crt").write_bytes(b"not a certificate")


def let_expire(folder, authority):
    authority.issue(SERVER_IDENTITY, validity=timedelta(seconds=-1)).save(folder, "server")


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (spoil_key, "is not the key of"),
        (spoil_certificate, "not all PEM files"),
        (spoil_authority, "not all PEM files"),
        (let_expire, "expired at"),
    ],
)
async def test_a_server_does_not_start_with_files_that_cannot_work(running, tmp_path, spoil, problem):
    authority = fill(tmp_path)
    async with running(folder=tmp_path):
        pass
    spoil(tmp_path, authority)
    with pytest.raises(ConfigurationError, match=problem) as caught:
        async with running(folder=tmp_path):
            pass
    assert caught.value.reason is Reason.INVALID_SETTING


async def test_a_channel_shows_its_new_certificate_to_new_calls_while_running_calls_go_on(
    running, connect, tmp_path, script
):
    authority = fill(tmp_path)
    callers = asyncio.Queue()
    release = asyncio.Event()

    async def note_caller(_):
        callers.put_nowait(caller_identity())
        await release.wait()

    script.action = note_caller
    async with running(folder=tmp_path) as server, connect(server, folder=tmp_path) as channel, asyncio.timeout(20):
        stub = key_service_pb2_grpc.KeyServiceStub(channel)
        before = asyncio.ensure_future(stub.GetKey(key_service_pb2.GetKeyRequest(name="keys/a")))
        assert await callers.get() == CLIENT_IDENTITY
        authority.issue(OPERATOR_IDENTITY).save(tmp_path, "client")
        after = asyncio.ensure_future(stub.GetKey(key_service_pb2.GetKeyRequest(name="keys/b")))
        assert await callers.get() == OPERATOR_IDENTITY
        release.set()
        assert [(await before).name, (await after).name] == ["keys/a", "keys/b"]


async def test_a_channel_goes_on_with_its_certificate_while_the_files_make_no_sense(running, connect, tmp_path):
    fill(tmp_path)
    async with running(folder=tmp_path) as server, connect(server, folder=tmp_path) as channel:
        await get_key(channel)
        (tmp_path / "client.key").write_bytes(b"half a key")
        await get_key(channel)


async def test_a_channel_is_not_opened_with_an_expired_certificate(running, connect, tmp_path):
    authority = fill(tmp_path)
    async with running(folder=tmp_path) as server:
        authority.issue(CLIENT_IDENTITY, validity=timedelta(seconds=-1)).save(tmp_path, "client")
        with pytest.raises(ConfigurationError, match="expired at"):
            async with connect(server, folder=tmp_path):
                pass
