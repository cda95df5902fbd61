"""The jobs that this worker holds, by id."""

import asyncio
from collections.abc import Iterable, Iterator
from weakref import WeakSet

from worker.job_run import JobRun

BATCHES = 3
"""How many batches of jobs to hold: images of one shape share a step, and more of them are alike among 24 than 12."""
MOST_AHEAD_MP = 100.0
"""Megapixels of all held images from which on no more are held than needed: decoded images lie in memory."""


class Freed:
    """Tells every loop that there may be room: each has an event of its own, so none misses what another has seen."""

    def __init__(self) -> None:
        self._events: WeakSet[asyncio.Event] = WeakSet()

    def listen(self) -> asyncio.Event:
        """Returns an event for one loop, which clears it."""
        event = asyncio.Event()
        self._events.add(event)
        return event

    def set(self) -> None:
        for event in self._events:
            event.set()


class HeldJobs:
    """Runs from their lease until they are committed or put back.  `freed` is set when there may be room for more."""

    def __init__(self) -> None:
        self.freed = Freed()
        self._runs: dict[str, JobRun] = {}

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[JobRun]:
        """Iterates over a copy: the caller may remove runs."""
        return iter(list(self._runs.values()))

    def room(self, batch: int, ahead: int) -> int:
        """Returns how many more jobs to lease: up to `ahead` beyond a full batch, or up to three batches.

        Args:
            batch: the images that a step takes.
            ahead: jobs to hold beyond them, so that some are decoded when others end.
        """
        room = batch + ahead - len(self)
        held_mp = sum(run.spec.held_megapixels for run in self)
        if held_mp < MOST_AHEAD_MP:
            room = max(room, min(batch, BATCHES * batch - len(self)))  # not all at once: their sizes count next time
        return room

    @property
    def ids(self) -> list[str]:
        return list(self._runs)

    @property
    def numbers(self) -> dict[str, int]:
        """The number of each held job's lease."""
        return lease_numbers(self._runs.values())

    @property
    def one_runs_alone(self) -> bool:
        """A job that must run alone is held, so no other may be leased."""
        return any(run.leased.run_alone for run in self)

    def get(self, job: str) -> JobRun | None:
        return self._runs.get(job)

    def holds(self, run: JobRun) -> bool:
        """False for an earlier attempt of a job that has been leased again."""
        return self._runs.get(run.spec.id) is run

    def add(self, run: JobRun) -> None:
        """Hold a run.  An earlier attempt of the same job, whose lease has ended unnoticed, is abandoned."""
        if earlier := self._runs.pop(run.spec.id, None):
            earlier.abandon()
        self._runs[run.spec.id] = run

    def remove(self, run: JobRun) -> None:
        """Hold a run no longer; a later attempt of the same job stays."""
        if self.holds(run):
            del self._runs[run.spec.id]
        self.freed.set()


def lease_numbers(runs: Iterable[JobRun]) -> dict[str, int]:
    """Returns the number of the lease of each run, by its job."""
    return {run.spec.id: run.leased.number for run in runs if run.leased.number is not None}
