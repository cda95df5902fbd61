"""The supervisor: takes jobs, keeps their leases, and brings each one to its end, whatever process dies.

It runs on one asyncio loop without torch.  Its parts are loops (lease, renewal, commit, upkeep), a task for each held
job, and the link to the engine child.  While Redis is away each loop waits with growing pauses, and finished jobs are
kept until they can be committed.
"""

import asyncio
import math
import socket
import time
from dataclasses import dataclass, field
from functools import partial
from uuid import uuid4

import structlog

from jobs.end_tasks import end_tasks
from jobs.record import Failure
from jobs.replication import NO_REPLICATION, Replication
from jobs.shards.urls import is_sharded
from jobs.spec import LANES, Lane
from jobs.tracing.spans import NO_TRACER, Tracer
from models.photo.codec_pool import CodecPool
from models.photo.marking import Provenance
from models.photo.read import Limits
from worker import probes
from worker.announcer import LOADING
from worker.background_tasks import BackgroundTasks
from worker.batch_traces import BatchTraces
from worker.engine_config import EngineConfig
from worker.engine_keeper import EngineKeeper
from worker.engine_link import EngineLink
from worker.held_jobs import HeldJobs
from worker.job_services import MAX_RUNNING_S
from worker.lease_turns import LeaseTurns
from worker.messages import Answer, BatchStepped, Begun, Done, Failed, NotReady, PassProgress, Ready, StepProgress
from worker.metrics import WorkerMetrics
from worker.pace import Pace
from worker.pulse import Pulse
from worker.recycling import NO_RECYCLING, RecycleLimits, Recycling
from worker.redis_retry import RedisRetry
from worker.shard_work import ShardWork, SharedParts, check_access
from worker.shard_works import ShardWorks

log = structlog.get_logger()
DRAIN_POLL_S = 0.02
CLOSE_S = 3.0
"""How long a worker that ends waits for a Redis that does not answer; its leases end by themselves."""


@dataclass(frozen=True, kw_only=True)
class WorkerConfig:
    """The settings of a worker.  It takes the jobs that ask for one of its engine's bundles.

    Attributes:
        ahead: how many jobs to hold at least beyond a full batch; they are decoded while the device works.
        grace_s: how long a worker that drains waits for the jobs that it holds.
        decode_s: how long a file may take to decode.
        max_running_s: how long a job may run.
        recycle: when an engine is replaced by a fresh one.
        provenance: how results are marked.
        replication: the replicas of Redis that must have a result before it counts.
    """

    redis_url: str
    store_url: str
    engine: EngineConfig
    lanes: tuple[Lane, ...] = LANES
    ahead: int = 4
    grace_s: float = 30.0
    metrics_port: int | None = None
    metrics_host: str = "127.0.0.1"
    max_megapixels: float = 50.0
    decode_s: float = 30.0
    provenance: Provenance = field(default_factory=Provenance)
    max_running_s: float = MAX_RUNNING_S
    replication: Replication = NO_REPLICATION
    recycle: RecycleLimits = NO_RECYCLING

    @property
    def bundles(self) -> tuple[str, ...]:
        return tuple(self.engine.bundles)


class Supervisor:
    """A worker.  Make it and run it on the same loop, on which its clients live."""

    def __init__(self, config: WorkerConfig, tracer: Tracer = NO_TRACER) -> None:
        self.config = config
        self.host = socket.gethostname()
        self.name = f"{self.host}-{uuid4().hex[:8]}"
        self.heartbeat = probes.Heartbeat()
        self.token = uuid4().hex  # no colon: RQ's registry holds id:execution
        self.metrics = WorkerMetrics(config.bundles)
        limits = Limits(pixels=round(config.max_megapixels * 1e6))
        self.codec = CodecPool(workers=2, limits=limits, decode_s=config.decode_s)
        self.link = EngineLink(config.engine, self._on_answer)
        self.recycling = Recycling(config.recycle, self.link)
        self.held, self.background, self.pace = HeldJobs(), BackgroundTasks(), Pace()
        self._draining, self._ready, self._hurry = asyncio.Event(), asyncio.Event(), False
        self._grace_ends_s = math.inf
        self._silent: set[ShardWork] = set()
        self.keeper = EngineKeeper(self.link, self._draining, self._announce_soon)
        self.retry = RedisRetry(self.metrics, self._draining)
        self.batches = BatchTraces(tracer, self.held)
        shared = SharedParts(
            name=self.name, host=self.host, token=self.token, bundles=config.bundles, lanes=config.lanes,
            ahead=config.ahead, store_url=config.store_url, max_running_s=config.max_running_s,
            provenance=config.provenance, replication=config.replication, tracer=tracer, link=self.link,
            keeper=self.keeper, held=self.held, codec=self.codec, metrics=self.metrics, retry=self.retry,
            background=self.background, pace=self.pace, turns=LeaseTurns(several=is_sharded(config.redis_url)),
            on_drain=self._announce_soon, recycling=self.recycling,
        )  # fmt: skip
        self.works = ShardWorks(shared, config.redis_url)
        self.pulse = Pulse(self.works, self.link, self.held, self.metrics, self.heartbeat)

    def drain(self) -> None:
        """Stop leasing, finish what fits into the grace, and put the rest back.  For signal handlers.

        A second call ends the grace at once.
        """
        self._hurry = self._draining.is_set()
        self._draining.set()
        self.held.freed.set()
        self._ready.set()
        self._announce_soon()

    async def run(self) -> NotReady | None:
        """Work until `drain`, and until all held jobs have ended or are back in the queue.

        Returns:
            Why the engine cannot work; None after a drain.

        Raises:
            RedisRefused: Redis does not accept this worker.
            OSError: no process can be started, or the port of the metrics is taken.
        """
        loops: list[asyncio.Task[None]] = []
        try:
            await check_access(self.works.all)
            self.metrics.serve(self.config.metrics_port, self.config.metrics_host, self._probes())
            if not self._draining.is_set():
                await self.keeper.start()
                self.background.spawn(self.codec.warm_up())
            loops += [asyncio.create_task(part.run()) for part in (self.keeper, self.pulse)] + self.works.start()
            self.heartbeat.watch(loops)
            await self._ready.wait()
            await self._lease_until_drained()
            await self._finish_held()
        finally:
            await end_tasks(*loops)
            await self.works.end()
            await self.background.cancel()
            await self._close()
        return self.keeper.failure

    def _probes(self) -> probes.Checks:
        """Returns the checks of the probes.  A worker without an engine is alive: it starts another one itself."""

        def unready() -> list[str]:
            if self._draining.is_set():
                return ["the worker drains"]
            return [] if self.link.ready is not None else [self.keeper.trouble or LOADING]

        def unstarted() -> list[str]:
            return [] if self._ready.is_set() else [self.keeper.trouble or LOADING]

        return {"/livez": self.heartbeat.reasons, "/readyz": unready, "/startupz": unstarted}

    def _on_answer(self, answer: Answer | None) -> None:
        """The engine child has sent an answer, or has ended (None)."""
        if answer is not None:
            self.keeper.heard(answer)
        if isinstance(answer, Ready):
            self._on_ready(answer)
        elif answer is None:
            self.background.spawn(self._replace_engine())
        elif isinstance(answer, BatchStepped):
            self.metrics.on_batch(answer)
            self.batches.on_batch(answer)
            self.pace.on_batch(answer)
        elif isinstance(answer, Begun | StepProgress | PassProgress | Done | Failed):
            if isinstance(answer, Done | Failed):
                self.recycling.on_job()
            run = self.held.get(answer.id.partition(".")[0])
            if run is not None and run.task_id == answer.id:
                run.answers.put_nowait(answer)

    def _on_ready(self, ready: Ready) -> None:
        budgets = {bundle.name: bundle.budget_mp for bundle in ready.bundles}
        log.info("engine.ready", device=ready.device, why=ready.why, budget_mp=budgets)
        self.metrics.on_loaded(ready)
        self.recycling.on_ready()
        self._ready.set()
        self.held.freed.set()
        self._announce_soon()

    def _announce_soon(self) -> None:
        for work in self.works.all:
            self.background.spawn(work.announce())

    async def _replace_engine(self) -> None:
        """The child has ended: put its jobs back into the queue, to run alone, and start another."""
        if self.keeper.failure is not None:  # a second child could not work either
            log.error("engine.cannot-work", why=self.keeper.failure.sentence)
            self.drain()
            return
        if self._draining.is_set() and not self.held:
            return
        if self.recycling.ending:
            self.metrics.recycles.labels(self.recycling.reason).inc()
            self._take_back("released")  # one that another server handed out late
            await self.keeper.renew(self.recycling.why)
            return
        death = await self.keeper.death()
        if self.keeper.cannot_load is not None:  # the jobs need not wait for an engine
            self._ready.set()
            self.held.freed.set()
        self.metrics.restarts.inc()
        self._take_back("engine-died", death.failure)
        await self.keeper.replace(death)

    def _take_back(self, why: str, failure: Failure | None = None) -> None:
        """Put the jobs in the engine back into the queue; with a failure, they count its death."""
        self.batches.close()
        inside = [run for run in self.held if run.in_engine]
        for run in inside:
            run.abandon(why)
            self.held.remove(run)
        for work in self.works.all:  # without waiting for Redis: jobs that are being decoded need an engine soon
            put_back = partial(work.release, inside, died=why == "engine-died", failure=failure)
            self.background.spawn(self.retry("release", put_back))

    async def _lease_until_drained(self) -> None:
        """Lease until the worker drains, and start the time of grace then, even where Redis does not answer a lease."""
        leasing = asyncio.create_task(self.works.lease(self._draining))
        drained = asyncio.create_task(self._draining.wait())
        try:
            await asyncio.wait((leasing, drained), return_when=asyncio.FIRST_COMPLETED)
            self._grace_ends_s = time.monotonic() + self.config.grace_s
            await asyncio.wait((leasing,), timeout=CLOSE_S)
            if leasing.done():
                leasing.result()
        finally:  # jobs of a lease whose reply never comes are put back at the end
            await end_tasks(leasing, drained)
            await self.works.end_leases()

    async def _finish_held(self) -> None:
        """Wait for the held jobs, for up to the grace, then put the rest back without counting an attempt."""
        while (self.held or self.works.busy) and time.monotonic() < self._grace_ends_s:
            if self.keeper.failure is not None or self._hurry:
                break
            await asyncio.sleep(DRAIN_POLL_S)
        left = list(self.held)
        for run in left:
            run.abandon("released")
            self.held.remove(run)  # the end of the engine is no loss to it, and needs no other engine
        answers = await self.works.on_each(lambda work: work.give_back(left, CLOSE_S))
        self._silent = {work for work, answered in zip(self.works.all, answers, strict=True) if not answered}
        if not self._silent:
            log.info("worker.drained", released=len(left))
        else:
            log.warning("worker.drained", left=len(left), why="Redis does not answer; their leases will run out")

    async def _close(self) -> None:
        self.batches.close()
        await self.link.stop()
        await self.codec.close()
        await self.works.close(CLOSE_S, lambda work: work not in self._silent)
