"""A stream of images has no time limit as a whole, but nobody waits for one answer for ever."""

import threading
import time
from collections.abc import Callable, Iterator

import grpc
import pytest

from veilface.client.calls import ServiceCalls
from veilface.client.steps import Service
from veilface.common.errors import Reason, UnavailableError


class CanceledError(grpc.RpcError):
    pass


class Stream:
    """Answers what `next_answer` does, and raises as gRPC does once it is canceled."""

    def __init__(self, next_answer: Callable[["Stream"], str]) -> None:
        self.canceled = threading.Event()
        self._next_answer = next_answer

    def __next__(self) -> str:
        return self._next_answer(self)

    def cancel(self) -> None:
        self.canceled.set()


def wait_for_ever(stream: Stream) -> str:
    assert stream.canceled.wait(60)
    raise CanceledError


def calls(timeout_s: float) -> ServiceCalls:
    return ServiceCalls(Service.EMBEDDING, "somewhere", timeout_s)


def test_an_answer_that_is_owed_for_too_long_ends_the_stream() -> None:
    stream = Stream(wait_for_ever)
    with pytest.raises(UnavailableError, match="the embedding service at somewhere") as late:
        next(calls(0.05).answers(stream, lambda: 2))
    assert late.value.reason is Reason.DEADLINE_EXCEEDED
    assert stream.canceled.is_set()


def test_while_nothing_is_owed_there_is_no_hurry() -> None:
    asked = threading.Event()

    def asked_count() -> int:
        asked.set()
        return 0

    def answer_after_the_question(stream: Stream) -> str:
        assert asked.wait(60)
        return "late"

    stream = Stream(answer_after_the_question)
    assert next(calls(0.05).answers(stream, asked_count)) == "late"
    assert not stream.canceled.is_set()


def test_the_time_that_the_caller_takes_does_not_count() -> None:
    caller_is_busy = threading.Event()
    asked_meanwhile = threading.Event()

    def asked_count() -> int:
        if caller_is_busy.is_set():
            asked_meanwhile.set()
        return 0

    answers: Iterator[str] = iter(["one", "two"])
    for _ in calls(0.05).answers(Stream(lambda _: next(answers)), asked_count):
        caller_is_busy.set()
        time.sleep(0.3)
        caller_is_busy.clear()
    assert not asked_meanwhile.is_set()


def test_another_failure_is_passed_on() -> None:
    def fail(stream: Stream) -> str:
        raise CanceledError

    with pytest.raises(CanceledError):
        next(calls(60).answers(Stream(fail), lambda: 1))
