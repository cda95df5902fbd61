"""Leases jobs while there is room, and runs each one in a task of its own."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from functools import partial

import structlog
from redis.exceptions import RedisError

from jobs.errors import StoreError, WorkerDrained
from jobs.lease import Leased
from jobs.record import Failure
from jobs.spec import Lane
from worker.background_tasks import BackgroundTasks
from worker.committer import Committer, clean_up
from worker.engine_keeper import EngineKeeper
from worker.engine_link import EngineLink
from worker.held_jobs import HeldJobs
from worker.job_end import Abandoned, EngineAway
from worker.job_run import JobRun
from worker.job_services import JobServices
from worker.lease_turns import NOBODY, LeaseTurns
from worker.messages import Stop
from worker.metrics import WorkerMetrics
from worker.recycling import NO_RECYCLING, Recycling
from worker.redis_retry import RedisRetry
from worker.releases import release

log = structlog.get_logger()
WAIT_FOR_ROOM_S = 1.0
WAIT_FOR_WORK_S = 1.0
LET_OTHERS_S = 0.1
"""How long a worker with a full batch leaves new jobs to workers that are idle."""
MAX_REFUSED_AT_ONCE = 32


class LeaseLoop:
    """Leases jobs of these bundles and lanes for the worker `worker`, at least `ahead` beyond a full batch.

    `drained`: an operator drains the worker or its host; `on_drain` is called when that changes, and when the last job
    that it holds is gone.

    While its memory does not suffice for an engine, it fails the jobs that no other worker could take.  An engine that
    should be replaced (`recycling`) gets no more jobs, and is asked to end when none is held.
    """

    def __init__(
        self, *, worker: str, bundles: Sequence[str], lanes: Sequence[Lane], ahead: int, services: JobServices,
        link: EngineLink, keeper: EngineKeeper, held: HeldJobs, committer: Committer, metrics: WorkerMetrics,
        retry: RedisRetry, background: BackgroundTasks, host: str | None = None,
        on_drain: Callable[[], None] = lambda: None, turns: LeaseTurns | None = None,
        recycling: Recycling | None = None,
    ) -> None:  # fmt: skip
        self.recycling = recycling or Recycling(NO_RECYCLING, link)
        self.host, self.on_drain, self.turns = host, on_drain, turns or LeaseTurns()
        self._freed_event = held.freed.listen()
        self.worker, self.bundles, self.lanes, self.ahead = worker, bundles, lanes, ahead
        self.services, self.link, self.keeper, self.held, self.committer = services, link, keeper, held, committer
        self.metrics, self.retry, self.background = metrics, retry, background
        self._reply_lost = False
        self._leased_s: tuple[float, float] | None = None
        self.drained = self._said_drained = False

    async def run(self, draining: asyncio.Event) -> None:
        """Lease until the worker drains."""
        try:
            while not draining.is_set():
                await self._turn()
        finally:
            self.turns.leaves(self)

    async def _turn(self) -> None:
        ready = self.link.ready
        if ready is None and (failure := self.keeper.cannot_load):
            await self.retry("refuse", partial(self._refuse, failure), until_drain=True)
        if ready is not None and self.recycling.due():
            self._recycle()
        elif ready is not None and self._room() > 0:
            full = len(self.held) >= ready.max_batch
            if full:
                await self._freed(LET_OTHERS_S)
            await self.retry("lease", partial(self._lease_share, wait=not full), until_drain=True)
            return
        await self._freed(WAIT_FOR_ROOM_S)

    def _recycle(self) -> None:
        """Ask the engine to end once no job is held, and none is on its way to a loop of another server."""
        self.turns.rests(self)
        if not self.held and not self.turns.in_flight(self) and not self.recycling.ending:
            self.recycling.ending = True
            self.link.send(Stop())

    def _room(self) -> int:
        """Returns how many jobs to lease now."""
        ready = self.link.ready
        alone = self.held.one_runs_alone or (self.turns.alone is self and self.held)
        if ready is None or alone or self.recycling.reason:
            return 0
        return self.turns.share(self, self.held.room(ready.max_batch, self.ahead))

    async def _freed(self, timeout_s: float) -> None:
        """Return when a held job has ended, or after `timeout_s`."""
        self._freed_event.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._freed_event.wait(), timeout_s)

    async def _lease_share(self, *, wait: bool) -> None:
        """Lease jobs and start them; where the lanes are empty and `wait` is set, wait for a new job.

        An arrival wakes one worker only, so a worker with a full batch, or one that is drained, must not wait for it.
        """
        if (room := self._room()) <= 0:  # it was taken while Redis was away
            return
        leased: Sequence[Leased] = ()
        refused, taken = 0, False
        if self.turns.alone is self:
            self.turns.alone = NOBODY  # the answer says so again
        self.turns.asks(self, room)
        try:
            leased, refused = await self._lease(self.bundles, self.lanes, room)
            taken = not self.drained and (self.turns.alone is self or len(leased) + refused >= room)
        finally:
            others_wait = self.turns.answered(self, len(leased), more=taken)
            if others_wait and len(leased) < room:  # only then: loops without work would wake each other for ever
                self.held.freed.set()
        if self.drained:
            await self._freed(WAIT_FOR_ROOM_S)
            return
        if await self._gave_back(leased):
            return
        for entry in leased:
            self.background.spawn(self._run(self._hold(entry)))
        if wait and len(leased) + refused < room and self.turns.alone is not self:
            await self.services.queue.wait_for_work(self.bundles, WAIT_FOR_WORK_S)

    async def _gave_back(self, leased: Sequence[Leased]) -> bool:
        """Give jobs back that must not run beside what another server has handed out at the same time."""
        alone = any(entry.run_alone for entry in leased)
        if not leased or not (self.held.one_runs_alone or (alone and self.held)):
            return False
        numbers = {entry.spec.id: entry.number for entry in leased if entry.number is not None}
        await self.services.queue.release(self.services.token, list(numbers), died=False, numbers=numbers)
        return True

    def _next_runs_alone(self) -> None:
        """The next job of this server must run alone, and the worker holds others: nobody leases until it is empty."""
        self.turns.alone = self

    def _set_drained(self, drained: bool) -> None:
        """Tell everybody when a drain begins or ends, and when the last held job is gone."""
        if drained and not self.drained:
            log.info("drain.begun", worker=self.worker)
        elif self.drained and not drained:
            log.info("drain.ended", worker=self.worker)
        before, self.drained = (self.drained, self._said_drained), drained
        self._said_drained = drained and not self.held
        if before != (self.drained, self._said_drained):
            self.on_drain()

    async def _refuse(self, failure: Failure) -> None:
        """Fail queued jobs, unless another worker is alive that might load its engine."""
        workers = await self.services.queue.workers.alive()
        others = [worker for worker in workers if worker.name != self.worker and not worker.cannot_load]
        for bundle in self.bundles:
            served = {lane for worker in others if worker.bundle == bundle for lane in worker.lanes}
            lanes = [lane for lane in self.lanes if lane not in served]
            leased, _ = await self._lease([bundle], lanes, MAX_REFUSED_AT_ONCE) if lanes else ((), 0)
            for entry in leased:
                run = self._hold(entry)
                self.committer.add(run, run.refused(failure))

    async def _lease(self, bundles: Sequence[str], lanes: Sequence[Lane], room: int) -> tuple[Sequence[Leased], int]:
        """Returns the jobs that are leased now, and how many others were no jobs of ours.  Sets `drained`."""
        queue = self.services.queue
        if self._reply_lost:
            orphans = await queue.release_unheld(self.services.token, self.held.ids, self.held.numbers)
            self._reply_lost = False
            for orphan in orphans:
                log.warning("job.released", job=orphan, error="the reply to its lease was lost")
        self._reply_lost = True  # until it has arrived
        begin_s = time.time()
        try:
            leased, refused = await queue.lease(
                bundles, lanes, room, worker=self.worker, token=self.services.token, host=self.host,
                held=len(self.held) + self.turns.in_flight(self),
                on_alone=self._next_runs_alone if self.turns.several else None,
            )  # fmt: skip
        except WorkerDrained:
            self._reply_lost = False
            self._set_drained(True)
            return [], 0
        self._reply_lost, self._leased_s = False, (begin_s, time.time())
        self._set_drained(False)
        for job in refused:
            log.warning("job.refused", job=job.id, reason=job.reason)
        return leased, len(refused)

    def _hold(self, leased: Leased) -> JobRun:
        run = JobRun(leased, self.services, leased_s=self._leased_s)
        self.held.add(run)
        self.metrics.on_leased(leased)
        return run

    async def _run(self, run: JobRun) -> None:
        """Run a job and pass it to the committer.  An error in our own code fails the job, and not the worker."""
        try:
            finished = await run.run()
        except Abandoned as why:
            self.held.remove(run)
            run.trace.end(str(why))
            await clean_up(run, discard=True)
            return
        except (RedisError, StoreError, EngineAway) as error:
            log.warning("job.released", job=run.spec.id, error=str(error))
            await self._release(run)
            return
        except Exception as error:
            log.exception("job.broken", job=run.spec.id)
            finished = run.broken(error)
        self.committer.add(run, finished)

    async def _release(self, run: JobRun) -> None:
        run.trace.end("released")
        if not self.held.holds(run):  # leased again meanwhile: a release would end that lease
            return
        self.held.remove(run)
        await self.retry("release", partial(release, self.services.queue, self.services.token, [run]))
