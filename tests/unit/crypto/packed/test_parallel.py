"""The threads of the kernels: how many, and a setting that says nothing sensible is an error that says so."""

import threading

import pytest

from veilface.common.errors import ConfigurationError, Reason
from veilface.crypto.public.packed.parallel import THREADS_VARIABLE, run_parts, run_urgent_parts, worker_count


def test_the_setting_says_how_many_threads_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(THREADS_VARIABLE, "3")
    assert worker_count() == 3
    monkeypatch.setenv(THREADS_VARIABLE, "")
    assert worker_count() >= 1


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", "\u00b2", " "])
def test_a_setting_that_is_no_number_of_threads_is_an_error_that_names_it(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(THREADS_VARIABLE, value)
    with pytest.raises(ConfigurationError, match=THREADS_VARIABLE) as caught:
        worker_count()
    assert caught.value.reason is Reason.INVALID_SETTING


def test_an_expansion_does_not_wait_behind_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """The urgent parts end while every part of a pass waits for them."""
    monkeypatch.setenv(THREADS_VARIABLE, "2")
    is_expanded, both_wait = threading.Event(), threading.Barrier(3, timeout=30)

    def scoring() -> None:
        both_wait.wait()
        assert is_expanded.wait(30)

    passing = threading.Thread(target=run_parts, args=([scoring, scoring],))
    passing.start()
    both_wait.wait()
    urgent: list[int] = []
    run_urgent_parts([lambda: urgent.append(1), lambda: urgent.append(2)])
    is_expanded.set()
    passing.join(30)
    assert sorted(urgent) == [1, 2]
    assert not passing.is_alive()


def test_the_error_of_a_part_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(THREADS_VARIABLE, "2")

    def failing() -> None:
        raise ValueError("a part")

    with pytest.raises(ValueError, match="a part"):
        run_parts([lambda: None, failing])
