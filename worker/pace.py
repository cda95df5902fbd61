"""How fast the engine works now: denoising steps per second, and the memory that it holds."""

import time
from collections import deque
from collections.abc import Callable

from worker.messages import BatchStepped

WINDOW_S = 10.0


class Pace:
    """Counts the steps of the last WINDOW_S.  A step of four images counts four.

    `memory_bytes`: what the engine holds of a CUDA device, by its last report; 0 before the first, and on a CPU.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock, self.memory_bytes = clock, 0
        self._steps: deque[tuple[float, int]] = deque()

    def on_batch(self, batch: BatchStepped) -> None:
        """The engine has taken a step."""
        self._steps.append((self.clock(), batch.images))
        self.memory_bytes = batch.memory_bytes
        self._drop_old()

    def steps_per_s(self) -> float:
        """Returns the steps per second of the last WINDOW_S."""
        self._drop_old()
        return round(sum(images for _, images in self._steps) / WINDOW_S, 2)

    def _drop_old(self) -> None:
        since_s = self.clock() - WINDOW_S
        while self._steps and self._steps[0][0] <= since_s:
            self._steps.popleft()
