"""Ctrl-C and SIGTERM while a network is trained.

An optimizer that is interrupted has updated a part of the weights, and of several processes the others would wait for
this one.  So a step is finished first, and all processes end together.  A validation, which may take a minute, is
abandoned.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Remembers the signal that asked for the end; if not `deferred`, it raises KeyboardInterrupt, too."""

    def __init__(self, *, deferred: bool = False) -> None:
        self.deferred = deferred
        self.received: int | None = None

    @property
    def exit_code(self) -> int:
        """128 and the number of the signal, as shells report it."""
        return 128 + (self.received or signal.SIGINT)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Receive the signals within this block."""
        before = {number: signal.signal(number, self._receive) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Do not defer within this block."""
        before, self.deferred = self.deferred, False
        try:
            if self.received is not None:
                raise KeyboardInterrupt
            yield
        finally:
            self.deferred = before

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        if not self.deferred:
            raise KeyboardInterrupt
