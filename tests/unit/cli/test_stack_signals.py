import os
import signal
import threading

import pytest

from veilface.cli.local_stack.signals import interrupted_by_signals, uninterrupted

STOP_SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_every_stop_signal_interrupts(number: signal.Signals) -> None:
    with interrupted_by_signals(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_no_stop_signal_cuts_a_clean_up_short(number: signal.Signals) -> None:
    with interrupted_by_signals():
        with uninterrupted():
            os.kill(os.getpid(), number)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)


def test_signals_are_handled_as_before_afterwards() -> None:
    before = [signal.getsignal(number) for number in STOP_SIGNALS]
    with interrupted_by_signals(), uninterrupted():
        pass
    assert [signal.getsignal(number) for number in STOP_SIGNALS] == before


def test_a_thread_that_cannot_be_interrupted_cleans_up_too() -> None:
    cleaned = threading.Event()

    def clean_up() -> None:
        with uninterrupted():
            cleaned.set()

    thread = threading.Thread(target=clean_up)
    thread.start()
    thread.join(10)
    assert cleaned.is_set()
