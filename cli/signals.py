"""SIGTERM and Ctrl-C end a command by an exception, and are not lost where Python ignores exceptions."""

import os
import signal
import sys
import threading
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

AGAIN_S = 0.02


def end_on_signals() -> None:
    """Let SIGTERM unwind the stack, as Ctrl-C does, so that no partial file is left.

    A signal may arrive in a finalizer or in the callback of a weak reference, of which Python ignores all exceptions.
    Then it is sent again.
    """
    signal.signal(signal.SIGTERM, _exit_on_sigterm)
    ignored = sys.unraisablehook

    def send_again(unraisable: "UnraisableHookArgs") -> None:
        number = _signal_of(unraisable.exc_value)
        if number is None:
            ignored(unraisable)
            return
        # Not at once: the exception would end in this hook, where it is ignored, too
        timer = threading.Timer(AGAIN_S, os.kill, (os.getpid(), number))
        timer.daemon = True
        timer.start()

    sys.unraisablehook = send_again


def _exit_on_sigterm(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


def _signal_of(error: BaseException | None) -> signal.Signals | None:
    """Returns the signal that raised this exception, if one did."""
    if isinstance(error, KeyboardInterrupt):
        return signal.SIGINT
    if isinstance(error, SystemExit) and error.code == 128 + signal.SIGTERM:
        return signal.SIGTERM
    return None
