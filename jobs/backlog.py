"""How much work there is for a bundle."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """How many jobs of a bundle are queued and running, and how fast jobs have ended lately."""

    queued: dict[str, int]  # lane -> jobs
    running: int
    seconds_per_job: float | None  # while at least one job runs; None before a job has ended

    @property
    def total(self) -> int:
        return sum(self.queued.values())
