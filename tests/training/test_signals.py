"""What asks a process to end asks it to commit first; impatience breaks no commit off."""

from __future__ import annotations

import os
import signal

import pytest

from dtvg.training import signals
from dtvg.training.signals import SIGNALS, stop_on_signals


@pytest.mark.parametrize("number", SIGNALS, ids=lambda n: n.name)
def test_a_signal_is_a_wish(number: signal.Signals) -> None:
    outside = signal.signal(number, signal.SIG_DFL)  # `nohup` ignores one of them
    try:
        with stop_on_signals() as stop:
            assert not stop
            os.kill(os.getpid(), number)
            assert stop and not stop.interrupted
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, outside)


def test_what_was_to_be_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_on_signals() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop
    finally:
        signal.signal(signal.SIGHUP, before)


def test_two_signals_at_once_are_one_wish_and_said_to_be_an_interruption() -> None:
    with stop_on_signals() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        assert stop and stop.interrupted


def test_a_late_signal_interrupts_but_not_a_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "PATIENCE_SECONDS", 0.0)
    with stop_on_signals() as stop:
        stop.ask()
        stop.committing = True
        stop.signalled()
        stop.committing = False
        with pytest.raises(KeyboardInterrupt):
            stop.signalled()


def test_a_file_can_ask_as_well() -> None:
    with stop_on_signals() as stop:
        stop.watch = lambda: True
        stop.look()
        assert stop
