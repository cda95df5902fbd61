"""Ends an engine child that has done many jobs or has grown, so that a fresh one takes its place.

It happens between jobs: the worker leases no more, finishes what it holds, and only then asks the child to end.  So no
job is interrupted, and none loses an attempt.  An engine whose memory is above the limit as soon as it has loaded would
end for ever: then the limit is ignored, and the log says so.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

log = structlog.get_logger()
CHECK_S = 1.0
"""How often the memory is read, at most."""


@dataclass(frozen=True, kw_only=True)
class RecycleLimits:
    """When an engine is replaced; None: never.

    Attributes:
        max_jobs: jobs that it has ended, at least 1.
        max_rss_gib: its resident memory on the host.
    """

    max_jobs: int | None = None
    max_rss_gib: float | None = None


NO_RECYCLING = RecycleLimits()


class Measured(Protocol):
    """The part of EngineLink that tells the memory of the child in bytes; None where it has ended."""

    def memory_bytes(self) -> int | None: ...


class Recycling:
    """Watches the child of `link`.

    Attributes:
        reason: "jobs" or "memory" once the child should end, else "".
        why: the same as a sentence.
        ending: the child was asked to end, so its end is no death.
    """

    def __init__(
        self, limits: RecycleLimits, link: Measured, clock: Callable[[], float] = time.monotonic
    ) -> None:  # fmt: skip
        self.limits, self.link, self.clock = limits, link, clock
        self.on_ready()

    def on_ready(self) -> None:
        """A fresh child has loaded."""
        self.reason = self.why = ""
        self.ending = False
        self._jobs, self._checked_s = 0, -CHECK_S
        self._loaded_bytes: int | None = None

    def on_job(self) -> None:
        """The child has ended a job."""
        self._jobs += 1

    def due(self) -> bool:
        """Returns whether the child should end as soon as no job is held; once it should, it always should."""
        if self.reason:
            return True
        if self.limits.max_jobs is not None and self._jobs >= self.limits.max_jobs:
            self._decide("jobs", f"it has ended {self._jobs} jobs (UNDEGRADE_MAX_JOBS)")
        elif self.limits.max_rss_gib is not None and self.clock() - self._checked_s >= CHECK_S:
            self._checked_s = self.clock()
            self._check_memory(self.limits.max_rss_gib)
        return bool(self.reason)

    def _check_memory(self, limit_gib: float) -> None:
        held_bytes = self.link.memory_bytes()
        if held_bytes is None:
            return
        if self._loaded_bytes is None:
            self._loaded_bytes = held_bytes
            if held_bytes >= limit_gib * 2**30:
                log.warning("engine.recycle-ignored", memory_gib=_gib(held_bytes), limit_gib=limit_gib)
        if self._jobs and self._loaded_bytes < limit_gib * 2**30 <= held_bytes:
            self._decide("memory", f"it holds {_gib(held_bytes)} GiB of {limit_gib:g} (UNDEGRADE_MAX_RSS_GIB)")

    def _decide(self, reason: str, why: str) -> None:
        self.reason, self.why = reason, why
        log.info("engine.recycles", reason=reason, jobs=self._jobs, why=why)


def _gib(count: int) -> float:
    return round(count / 2**30, 2)
