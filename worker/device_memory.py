"""How much memory of its device the engine holds, and how much it could hold: for the metrics.

On a CPU these are the engine's resident memory and what is free within the limits of its control groups; on CUDA the
memory that torch's allocator has reserved and what is free on the device, within UNDEGRADE_DEVICE_MEMORY_GIB.
"""

import time
from collections.abc import Callable
from contextlib import suppress

import psutil
import torch

from models.device import free_bytes
from processes.memory_limits import memory

FRESH_S = 1.0
"""Reading takes some 100 microseconds, and the engine asks at each step."""


class DeviceMemory:
    """The memory of the process that makes it."""

    def __init__(
        self, device: torch.device | None = None, gib: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._device, self._gib, self._clock = device or torch.device("cpu"), gib, clock
        self._known, self._until_s = (0, 0), float("-inf")

    def read(self) -> tuple[int, int]:
        """Returns (used, limit) in bytes, at most FRESH_S old."""
        if self._clock() >= self._until_s:
            with suppress(RuntimeError, psutil.Error):  # a device that fails says so at the next step
                self._known = self._cuda() if self._device.type == "cuda" else self._host()
            self._until_s = self._clock() + FRESH_S
        return self._known

    def _cuda(self) -> tuple[int, int]:
        allocated = torch.cuda.memory_allocated(self._device)
        return torch.cuda.memory_reserved(self._device), allocated + free_bytes(self._device, self._gib)

    def _host(self) -> tuple[int, int]:
        used = psutil.Process().memory_info().rss
        return used, used + memory().available_bytes
