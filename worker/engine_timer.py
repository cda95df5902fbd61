"""Measures steps: the seconds of a call where the device works during the call, or of CUDA's own events.

A step on CUDA only queues its work, so a host clock would measure the queuing.
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol

import torch

Learn = Callable[[float], None]
"""Takes the seconds of a step, once they are known."""


class StepTimer(Protocol):
    """Measures steps one after another."""

    def measure(self, step: Callable[[], None], learn: Learn) -> None:
        """Run a step and pass its seconds on, now or during a later step; an error passes, and nothing is learned."""
        ...


class HostTimer:
    """For a CPU: the step is over when the call returns."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock

    def measure(self, step: Callable[[], None], learn: Learn) -> None:
        start_s = self._clock()
        step()
        learn(self._clock() - start_s)


class CudaTimer:
    """For CUDA: the seconds between two events on the device.

    It also keeps the host at most one step ahead: the device never waits for the host, and a new image or a
    cancellation waits for one queued step and not for many.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._open: deque[tuple[torch.cuda.Event, torch.cuda.Event, Learn]] = deque()

    def measure(self, step: Callable[[], None], learn: Learn) -> None:
        stream = torch.cuda.current_stream(self._device)
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        start.record(stream)
        step()
        end.record(stream)
        self._open.append((start, end, learn))
        while len(self._open) > 1:
            before, after, learn_seconds = self._open.popleft()
            after.synchronize()
            learn_seconds(before.elapsed_time(after) / 1000)
