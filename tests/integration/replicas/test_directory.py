"""How a replica knows its peers, and what it makes of what they send: real servers in this process."""

import asyncio
import socket
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from types import SimpleNamespace

import pytest

from veilface.common.attested import SignedScores, SignedTemplate
from veilface.common.channel import ChannelOptions, open_channel
from veilface.common.errors import Reason, ResourceExhaustedError, UnavailableError
from veilface.common.health import Readiness
from veilface.common.identities import CLIENT_IDENTITY, KEYS_IDENTITY, MATCHING_IDENTITY
from veilface.common.identity import AccessPolicy
from veilface.common.names import GalleryName
from veilface.common.pki import CertificateAuthority, tls_settings
from veilface.common.server import Registration, ServerSettings, start_server
from veilface.common.signing import SignatureValue
from veilface.matching.access import DEFAULT_ACCESS
from veilface.matching.domain.fanout.peers import PeerAnswer, PeerQuestion, RefusedAnswerError, SegmentRevision
from veilface.matching.domain.search.statistics import SearchStatistics
from veilface.matching.domain.segments.cache import Origin
from veilface.matching.peers.addresses import PeerAddresses
from veilface.matching.peers.directory import PeerDirectory
from veilface.matching.peers.servicer import PeerServicer
from veilface.matching.v1 import peer_service_pb2, peer_service_pb2_grpc

NAME = "matching-peers.test"
SIGNATURE = SignatureValue("spiffe://veilface/somebody", bytes(8), bytes(64))
QUESTION = PeerQuestion(
    gallery=GalleryName("staff"),
    probe=SignedTemplate(b"statement", b"ciphertext", SIGNATURE),
    segments=(SegmentRevision(4, 0, bytes(32)), SegmentRevision(9, 3, bytes(32))),
    gallery_uid=7,
    generation=12,
    batch_count=5,
    nonce=bytes(16),
)
BATCH = SignedScores(b"statement", b"scores", SIGNATURE)


class Answers:
    """Stands for the rules of a replica.

    Attributes:
        answer: Made anew for each question.
        asked: The questions.
        ended: How many of them are over.
    """

    def __init__(self):
        self.answer = None
        self.asked = []
        self.ended = 0

    async def score(self, question):
        self.asked.append(question)
        try:
            async for part in self.answer():
                yield part
        finally:
            self.ended += 1


class Replica:
    """A server of PeerService alone."""

    def __init__(self, replica_id):
        self.replica_id = replica_id
        self.readiness = Readiness("database")
        self.readiness.hold("database")
        self.answers = Answers()

    async def start(self, settings):
        registration = Registration(
            peer_service_pb2.DESCRIPTOR.services_by_name["PeerService"],
            PeerServicer(lambda: SimpleNamespace(peer_answers=self.answers), self.replica_id),
            peer_service_pb2_grpc.add_PeerServiceServicer_to_server,
        )
        rules = {method: who for method, who in DEFAULT_ACCESS.items() if "PeerService" in method}
        self.server = await start_server(settings, [registration], self.readiness, AccessPolicy(rules))
        self.address = self.server.address


class Counted:
    """Remembers how many peers there were."""

    count = None

    def peers_live(self, count):
        self.count = count


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    authority = CertificateAuthority.create()
    authority.save(folder)
    authority.issue(MATCHING_IDENTITY, dns_names=[NAME]).save(folder, "matching")
    authority.issue(MATCHING_IDENTITY).save(folder, "nameless")
    authority.issue(CLIENT_IDENTITY).save(folder, "client")
    authority.issue(KEYS_IDENTITY).save(folder, "keys")
    return folder


@pytest.fixture
async def run_replica(certificates):
    async with AsyncExitStack() as running:

        async def run(replica_id, certificate="matching", listen="127.0.0.1:0"):
            tls = tls_settings(certificates, certificate)
            settings = ServerSettings(
                listen=listen,
                tls_certificate=tls.certificate,
                tls_private_key=tls.private_key,
                tls_ca=tls.ca,
                drain_timeout_s=0.2,
            )
            replica = Replica(replica_id)
            await replica.start(settings)
            running.push_async_callback(replica.server.drain)
            return replica

        yield run


@pytest.fixture
def open_directory(certificates):
    @asynccontextmanager
    async def opened(*addresses, replica_id="a", identity="matching", server_name=None):
        tls = tls_settings(certificates, identity)
        directory = PeerDirectory(
            PeerAddresses.parse(",".join(addresses)),
            lambda address: open_channel(address, tls, ChannelOptions(server_name=server_name)),
            replica_id=replica_id,
            events=Counted(),
            check_s=600,
        )
        try:
            yield directory
        finally:
            await directory.close()

    return opened


@pytest.fixture
async def peer(run_replica, open_directory):
    """The peer of a replica, and the replica behind it."""
    behind = await run_replica("b")
    async with open_directory(behind.address) as directory:
        await directory.refresh()
        (live,) = directory.live()
        yield live, behind.answers


def names_of(directory):
    return [peer.name for peer in directory.live()]


async def test_a_replica_finds_itself_and_its_peers(run_replica, open_directory):
    own, *others = [await run_replica(name) for name in ("a", "b", "c")]
    async with open_directory(*(replica.address for replica in (own, *others))) as directory:
        assert (directory.own_name, directory.live()) == (None, [])
        await directory.refresh()
        assert directory.own_name == own.address
        assert names_of(directory) == sorted(replica.address for replica in others)
        assert directory._events.count == 2


async def test_a_replica_that_is_not_ready_is_left_out_until_it_is(run_replica, open_directory):
    other = await run_replica("b")
    other.readiness.fail("database", "away")
    async with open_directory(other.address) as directory:
        await directory.refresh()
        assert names_of(directory) == []
        other.readiness.hold("database")
        await directory.refresh()
        assert names_of(directory) == [other.address]


async def test_a_replica_that_was_given_up_is_left_out_until_it_is_found_to_be_well(run_replica, open_directory):
    other = await run_replica("b")
    async with open_directory(other.address) as directory:
        await directory.refresh()
        directory.give_up(directory.live()[0], "it said nothing")
        assert (names_of(directory), directory._events.count) == ([], 0)
        await directory.refresh()
        assert (names_of(directory), directory._events.count) == ([other.address], 1)


async def test_a_process_that_takes_the_place_of_another_is_asked_who_it_is(run_replica, open_directory):
    first = await run_replica("b")
    async with open_directory(first.address, replica_id="c") as directory:
        await directory.refresh()
        assert names_of(directory) == [first.address]
        await first.server.drain()
        await directory.refresh()
        assert names_of(directory) == []
        await run_replica("c", listen=first.address)
        async with asyncio.timeout(30):
            while directory.own_name != first.address:
                await directory.refresh()
                await asyncio.sleep(0.1)
        assert names_of(directory) == []


async def test_a_replica_with_two_addresses_counts_once(run_replica, open_directory):
    other = await run_replica("b")
    second = other.address.replace("127.0.0.1", "localhost")
    async with open_directory(second, other.address) as directory:
        await directory.refresh()
        assert len(directory._known) == 2
        assert names_of(directory) == [other.address]


async def test_a_server_that_is_no_replica_is_none(run_replica, open_directory, certificates):
    tls = tls_settings(certificates, "matching")
    settings = ServerSettings(
        listen="127.0.0.1:0", tls_certificate=tls.certificate, tls_private_key=tls.private_key, tls_ca=tls.ca
    )
    older = await start_server(settings, [], Readiness(), AccessPolicy({}))
    replica = await run_replica("b")
    try:
        async with open_directory(older.address, replica.address) as directory:
            await directory.refresh()
            assert names_of(directory) == [replica.address]
    finally:
        await older.drain()


async def test_who_is_no_matcher_gets_no_peers(run_replica, open_directory):
    other = await run_replica("b")
    for identity, expected in (("client", []), ("keys", []), ("matching", [other.address])):
        async with open_directory(other.address, identity=identity) as directory:
            await directory.refresh()
            assert names_of(directory) == expected


async def test_all_addresses_of_a_name_are_replicas_and_carry_the_name_in_their_certificates(
    run_replica, open_directory, monkeypatch
):
    replicas = [await run_replica("a")]
    port = replicas[0].address.rpartition(":")[2]
    replicas.append(await run_replica("b", listen=f"127.0.0.2:{port}"))
    replicas.append(await run_replica("c", certificate="nameless", listen=f"127.0.0.3:{port}"))
    known = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]

    async def getaddrinfo(host, number, **_):
        assert host == NAME
        if not known:
            raise socket.gaierror(socket.EAI_AGAIN, "try again")
        # Every address comes twice, as it does for stream and datagram sockets.
        return [(socket.AF_INET, kind, 0, "", (address, number)) for kind in (1, 2) for address in known]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    addresses = PeerAddresses.parse(f"dns:///{NAME}:{port}")
    async with open_directory(f"dns:///{NAME}:{port}", server_name=addresses.server_name) as directory:
        await directory.refresh()
        assert directory.own_name == replicas[0].address
        assert names_of(directory) == [replicas[1].address]
        # While the name is not found, those that were are kept.
        known.clear()
        await directory.refresh()
        assert names_of(directory) == [replicas[1].address]
        known.append("127.0.0.1")
        await directory.refresh()
        assert (names_of(directory), directory.own_name) == ([], replicas[0].address)


async def test_questions_and_answers_arrive_as_they_were_sent(peer):
    asked, answers = peer
    statistics = SearchStatistics(score_time_s=0.25, gallery_bytes=4096)
    statistics.origins.update({Origin.DISK: 1, Origin.REDIS: 2})

    async def answer():
        yield PeerAnswer(changed=(9,))
        yield PeerAnswer(BATCH)
        yield PeerAnswer(BATCH, statistics=statistics)

    answers.answer = answer
    changed, one, other = [part async for part in asked.score(QUESTION, None)]
    assert answers.asked == [QUESTION]
    assert (changed, one) == (PeerAnswer(changed=(9,)), PeerAnswer(BATCH))
    assert other.batch == BATCH
    assert (other.statistics.score_time_s, other.statistics.gallery_bytes) == (0.25, 4096)
    assert +other.statistics.origins == statistics.origins


async def test_the_peers_own_error_is_told(peer):
    asked, answers = peer

    async def answer():
        yield PeerAnswer(BATCH)
        raise ResourceExhaustedError(Reason.OVERLOADED, "full")

    answers.answer = answer
    parts = asked.score(QUESTION, None)
    assert await anext(parts) == PeerAnswer(BATCH)
    with pytest.raises(ResourceExhaustedError) as caught:
        await anext(parts)
    assert caught.value.reason is Reason.OVERLOADED


async def endless():
    yield PeerAnswer(BATCH)
    await asyncio.Event().wait()


async def until_ended(answers, count):
    async with asyncio.timeout(10):
        while answers.ended < count:
            await asyncio.sleep(0.01)


async def test_a_question_that_is_given_up_ends_at_the_peer(peer):
    asked, answers = peer
    answers.answer = endless
    async with aclosing(asked.score(QUESTION, None)) as parts:
        assert await anext(parts) == PeerAnswer(BATCH)
        assert answers.ended == 0
    await until_ended(answers, 1)


async def test_a_question_ends_on_both_sides_when_its_time_is_over(peer):
    asked, answers = peer
    answers.answer = endless
    parts = asked.score(QUESTION, 0.3)
    assert await anext(parts) == PeerAnswer(BATCH)
    with pytest.raises(UnavailableError) as caught:
        await anext(parts)
    assert caught.value.reason is Reason.DEADLINE_EXCEEDED
    await until_ended(answers, 1)


async def test_a_question_to_an_address_that_goes_is_an_error_and_no_cancellation(run_replica, open_directory):
    behind = await run_replica("b")
    behind.answers.answer = endless
    async with open_directory(behind.address) as directory:
        await directory.refresh()
        (asked,) = directory.live()
        async with aclosing(asked.score(QUESTION, None)) as parts:
            await anext(parts)
            await directory.close()
            with pytest.raises(UnavailableError):
                await anext(parts)
        with pytest.raises(UnavailableError):
            await anext(asked.score(QUESTION, None))


async def test_an_answer_that_cannot_be_read_is_refused(peer):
    asked, answers = peer

    async def answer():
        yield PeerAnswer(SignedScores(b"statement", b"", SIGNATURE))

    answers.answer = answer
    with pytest.raises(RefusedAnswerError):
        await anext(asked.score(QUESTION, None))
