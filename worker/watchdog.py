"""Decides whether the engine child hangs.  It has no clock and no process: time and measurements come in as numbers.

Any message of the child shows that it lives; it also answers a Ping between two turns.  A turn may be long, above all
on a CPU, so silence alone proves nothing for minutes.  A child that is stopped, or that uses no processor time
while it is silent, is given up sooner.
"""

from dataclasses import dataclass

from worker.messages import Answer, BatchStepped, Ready

POLL_S = 1.0
STOPPED_S = 5.0
"""A process that was stopped (SIGSTOP) for this long is given up."""
IDLE_S, IDLE_WHILE_LOADING_S = 20.0, 180.0
"""Silent, and without processor time.  A slow disk can hold up the loading of weights."""
SILENT_S = {"cuda": 120.0, "cpu": 900.0}
SILENT_WHILE_LOADING_S = 1800.0
TURNS = 20.0
"""Silence may always last for this many of the slowest turns that were seen."""


@dataclass(frozen=True)
class Vitals:
    """What the operating system says of the child: its seconds of processor time, and whether it is stopped."""

    cpu_s: float
    stopped: bool


class Watchdog:
    """Watches one child, from its start."""

    def __init__(self) -> None:
        self.silent_s = self.idle_s = self.stopped_s = self.slowest_turn_s = 0.0
        self.device: str | None = None  # None while it loads
        self._cpu_s = 0.0

    def heard(self, answer: Answer) -> None:
        """The child has sent an answer."""
        self.silent_s = self.idle_s = 0.0
        if isinstance(answer, Ready):
            self.device = answer.device.partition(":")[0]
        elif isinstance(answer, BatchStepped):
            self.slowest_turn_s = max(self.slowest_turn_s, answer.seconds)

    def tick(self, passed_s: float, vitals: Vitals) -> str | None:
        """Returns why the child hangs, None while it may still be well.

        Args:
            passed_s: since the last tick.  More than two polls mean that this process did not run either.
        """
        passed_s = min(passed_s, 2 * POLL_S)
        self.silent_s += passed_s
        self.idle_s = self.idle_s + passed_s if vitals.cpu_s == self._cpu_s else 0.0
        self.stopped_s = self.stopped_s + passed_s if vitals.stopped else 0.0
        self._cpu_s = vitals.cpu_s
        if self.stopped_s >= STOPPED_S:
            return f"its process has been stopped for {self.stopped_s:.0f} s"
        if min(self.idle_s, self.silent_s) >= max(self._idle_limit_s, 3 * self.slowest_turn_s):
            return f"it neither answered nor used the processor for {min(self.idle_s, self.silent_s):.0f} s"
        if self.silent_s >= max(self._silent_limit_s, TURNS * self.slowest_turn_s):
            return f"it did not answer for {self.silent_s:.0f} s"
        return None

    @property
    def _idle_limit_s(self) -> float:
        return IDLE_WHILE_LOADING_S if self.device is None else IDLE_S

    @property
    def _silent_limit_s(self) -> float:
        return SILENT_WHILE_LOADING_S if self.device is None else SILENT_S.get(self.device, SILENT_S["cpu"])
