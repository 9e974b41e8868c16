import asyncio

import pytest

from veilface.common.health import Readiness


def test_a_server_with_conditions_is_not_ready_until_all_of_them_hold():
    readiness = Readiness("database", "master key")
    assert not readiness.is_ready
    readiness.hold("database")
    assert readiness.problems == {"master key": "not checked yet"}
    readiness.hold("master key")
    assert readiness.is_ready


def test_a_server_without_conditions_is_ready_at_once():
    assert Readiness().is_ready


def test_a_condition_that_fails_again_makes_the_server_unready_and_says_why():
    readiness = Readiness("database")
    readiness.hold("database")
    readiness.fail("database", "no connection")
    assert not readiness.is_ready
    assert readiness.problems == {"database": "no connection"}


def test_a_draining_server_never_becomes_ready_again():
    readiness = Readiness("database")
    readiness.hold("database")
    readiness.drain()
    readiness.hold("database")
    assert readiness.is_draining
    assert not readiness.is_ready


async def test_whoever_took_the_event_before_looking_misses_no_change():
    readiness = Readiness("database")
    change = readiness.next_change()
    readiness.hold("database")
    await asyncio.wait_for(change.wait(), 5)
    assert not readiness.next_change().is_set()


def test_an_unknown_condition_is_a_programming_error():
    readiness = Readiness("database")
    with pytest.raises(ValueError, match="databse"):
        readiness.hold("databse")
