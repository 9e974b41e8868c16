"""Peers whose answers are not true."""

from dataclasses import replace

import pytest
from tests.unit.matching.fan_out.replicas import asked_of, assert_answer_is_as_alone

from veilface.common.identities import MATCHING_IDENTITY
from veilface.common.signing import Signer
from veilface.matching.domain.fanout.peers import Retry
from veilface.matching.domain.tickets import TicketIssuer


class Forger:
    """Changes the second batch of an answer."""

    def __init__(self, change):
        self._change = change

    def __call__(self, number, part):
        return self._change(part) if number == 1 else [part]


def with_other_scores(part):
    return [replace(part, batch=replace(part.batch, ciphertext=part.batch.ciphertext[::-1]))]


def of_no_segment(part):
    return [replace(part, changed=(999,))]


def twice(part):
    return [part, replace(part, statistics=None)]


def nothing(part):
    return []


FORGERIES = [with_other_scores, of_no_segment, twice, nothing]


@pytest.mark.parametrize("forge", FORGERIES)
async def test_an_answer_that_was_changed_on_the_way_is_refused_and_made_here(packed_replicas, forge):
    await assert_answer_is_as_alone(packed_replicas)
    by_peers = packed_replicas.front.events.by_peers
    packed_replicas.peers[0].change = Forger(forge)
    await assert_answer_is_as_alone(packed_replicas)
    assert packed_replicas.retried.keys() == {Retry.REFUSED}
    assert packed_replicas.given_up == [packed_replicas.peers[0].name]
    assert by_peers < packed_replicas.front.events.by_peers < 2 * by_peers


async def test_more_than_was_asked_for_is_refused(packed_replicas):
    peer = packed_replicas.peers[0]
    last = len(await asked_of(packed_replicas, peer)) - 1
    peer.change = lambda number, part: [part, part] if number == last else [part]
    await assert_answer_is_as_alone(packed_replicas)
    assert packed_replicas.given_up == [peer.name]


class LyingTickets(TicketIssuer):
    """Signs something else than what was asked for."""

    def __init__(self, signer, lie):
        super().__init__(signer, 120)
        self._lie = lie

    def sign_segment(self, answer, batch_index, ciphertext, score_count, place):
        return super().sign_segment(*self._lie(answer, batch_index, ciphertext, score_count, place))


LIES = {
    "another segment": lambda a, i, c, n, p: (a, i, c, n, replace(p, number=p.number + 1)),
    "another gallery": lambda a, i, c, n, p: (a, i, c, n, replace(p, gallery_uid=p.gallery_uid + 1)),
    "another count": lambda a, i, c, n, p: (a, i, c, n + 1, p),
    "another position": lambda a, i, c, n, p: (a, (i + 1) % a.batch_count, c, n, p),
    "another answer": lambda a, i, c, n, p: (replace(a, nonce=b"another answer.."), i, c, n, p),
    "another length": lambda a, i, c, n, p: (replace(a, batch_count=a.batch_count + 1), i, c, n, p),
    "another generation": lambda a, i, c, n, p: (replace(a, gallery=replace(a.gallery, generation=1)), i, c, n, p),
    "another probe": lambda a, i, c, n, p: (
        replace(a, probe=replace(a.probe, ciphertext_sha256=bytes(32))), i, c, n, p
    ),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
async def test_a_ticket_about_something_else_is_refused(packed_replicas, lie):
    peer = packed_replicas.peers[0]
    preparation = peer.world.matching.peer_answers._preparation
    preparation._tickets = LyingTickets(peer.world.signer, lie)
    await assert_answer_is_as_alone(packed_replicas)
    assert packed_replicas.retried.keys() == {Retry.REFUSED}
    # The same one, as soon as it tells the truth.
    packed_replicas.given_up.clear()
    preparation._tickets = LyingTickets(peer.world.signer, lambda *truth: truth)
    await assert_answer_is_as_alone(packed_replicas)
    assert packed_replicas.given_up == []
    assert packed_replicas.retried.total() == len(peer.asked[0].segments)


async def test_scores_signed_by_somebody_else_are_refused(packed_replicas):
    peer = packed_replicas.peers[0]
    preparation = peer.world.matching.peer_answers._preparation
    preparation._tickets = TicketIssuer(Signer.generate(MATCHING_IDENTITY), 120)
    await assert_answer_is_as_alone(packed_replicas)
    assert packed_replicas.retried == {Retry.REFUSED: len(peer.asked[0].segments)}


async def test_a_ticket_that_expired_is_refused(packed_replicas):
    peer = packed_replicas.peers[0]
    preparation = peer.world.matching.peer_answers._preparation
    preparation._tickets = TicketIssuer(peer.world.signer, -1)
    await assert_answer_is_as_alone(packed_replicas)
    assert packed_replicas.retried == {Retry.REFUSED: len(peer.asked[0].segments)}
