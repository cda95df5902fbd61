"""Signals while a network is trained: a step is finished, a validation is abandoned."""

import signal

import pytest

from models.training.core.stop_request import StopRequest


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_deferred_signal_is_remembered(number, code):
    stop = StopRequest(deferred=True)
    with stop.listening():
        signal.raise_signal(number)
    assert stop.received == number
    assert stop.exit_code == code


def test_within_a_validation_a_signal_interrupts():
    stop = StopRequest(deferred=True)
    with stop.listening():
        with pytest.raises(KeyboardInterrupt), stop.at_once():
            signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt), stop.at_once():
            pytest.fail("a signal that came before begins no validation")
        signal.raise_signal(signal.SIGTERM)


def test_the_signals_have_their_old_meaning_afterwards():
    before = signal.getsignal(signal.SIGINT)
    with StopRequest(deferred=True).listening():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before
