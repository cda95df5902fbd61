"""When a device was idle between two steps, from the profiler's timeline of its kernels.

Host clocks cannot tell: a step only queues its work.  Events can tell when a step began and ended, but not whether the
device worked in between, for what the engine does there (decoding, blending, assessing) is work, too.  So a marker, a
kernel that does nothing else, is queued before and after each step, and the profiler says when each kernel ran.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch

from models.restorer import Restorer, Track

MARKER = "spin_kernel"
"""The name of the kernel of torch.cuda._sleep, which nothing else here uses."""


@dataclass(frozen=True)
class Kernel:
    """A kernel, copy or fill on the device; times in microseconds."""

    name: str
    start_us: float
    end_us: float


@dataclass(frozen=True)
class Idle:
    """Milliseconds without work, of each pause between two steps and of each step; and the share of idle time."""

    between_ms: list[float]
    within_ms: list[float]
    share: float


class Marked:
    """A restorer that queues a marker before and after each step."""

    def __init__(self, restorer: Restorer) -> None:
        self._restorer = restorer

    def __getattr__(self, name: str) -> object:
        return getattr(self._restorer, name)

    def step(self, tracks: Sequence[Track]) -> None:
        torch.cuda._sleep(1)
        self._restorer.step(tracks)
        torch.cuda._sleep(1)


def kernels_of(profile: torch.profiler.profile) -> list[Kernel]:
    """Returns what ran on the device; ranges that the profiler itself draws there are left out."""
    return [
        Kernel(event.name, event.time_range.start, event.time_range.end)
        for event in profile.events()
        if event.device_type == torch.autograd.DeviceType.CUDA and not getattr(event, "is_user_annotation", False)
    ]


def idle_of(kernels: Sequence[Kernel]) -> Idle | None:
    """Returns when the device was idle from the first marker to the last; None without two steps.

    The markers come in pairs: before a step, after it.
    """
    ordered = sorted(kernels, key=lambda kernel: kernel.start_us)
    markers = [kernel for kernel in ordered if MARKER in kernel.name]
    markers = markers[: len(markers) // 2 * 2]
    if len(markers) < 4:
        return None
    pauses = [_idle_ms(ordered, before.end_us, after.start_us) for before, after in pairwise(markers)]
    whole_ms = (markers[-1].end_us - markers[0].start_us) / 1000
    return Idle(between_ms=pauses[1::2], within_ms=pauses[::2], share=sum(pauses) / whole_ms)


def _idle_ms(ordered: Sequence[Kernel], start_us: float, end_us: float) -> float:
    """Returns the time between two moments in which no kernel of any stream ran."""
    idle_us, busy_until_us = 0.0, start_us
    for kernel in ordered:
        if kernel.start_us >= end_us:
            break
        if kernel.end_us <= busy_until_us:
            continue
        idle_us += max(0.0, kernel.start_us - busy_until_us)
        busy_until_us = max(busy_until_us, kernel.end_us)
    return (idle_us + max(0.0, end_us - busy_until_us)) / 1000
