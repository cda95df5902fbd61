"""The supervisor: takes jobs, keeps their leases, and sees every one to its end, whatever dies beside it.

One asyncio loop, no torch.  Loops: lease, renew, commit, upkeep; one task for each job in hand; the engine child speaks
through `EngineLink`.  While Redis is away every loop waits with backoff, and what is finished is kept until it can be
committed.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import uuid4

import structlog
from redis import Redis as BlockingRedis
from redis.asyncio import Redis
from redis.exceptions import RedisError

from jobs.errors import StoreError
from jobs.queue import Leased, Queue
from jobs.record import Degradation, Failure, Outcome, State, WorkerInfo
from jobs.spec import LANES, Lane, queue_name
from jobs.store import BlobStore, open_store
from models.photo.read import Limits
from worker.codec import Pictures
from worker.engine_child import EngineConfig
from worker.engine_link import EngineLink
from worker.job_run import Abandoned, Ended, EngineAway, JobRun, Room
from worker.messages import Answer, Done, Failed, NotReady, Passed, Ready, Stepped, Turned
from worker.metrics import WorkerMetrics
from worker.rq_worker import UndegradeWorker

log = structlog.get_logger()
RENEW_S = 0.5
"""Far below the lease: the answer also brings cancellations, and those are promised within 2 s."""
BELL_S = 1.0
RECLAIM_S = 1.0
ANNOUNCE_S = 5.0
SWEEP_S = 30.0
BACKOFF_S = (0.1, 5.0)
COMMIT_TOGETHER = 32


@dataclass(frozen=True, kw_only=True)
class WorkerConfig:
    """What a worker is told.  It takes the jobs that ask for one of its engine's bundles."""

    redis_url: str
    store_url: str
    engine: EngineConfig
    lanes: tuple[Lane, ...] = LANES
    ahead: int = 4  # jobs in hand beyond a full batch: decoded while the device works
    grace_s: float = 30.0
    metrics_port: int | None = None
    metrics_host: str = "127.0.0.1"
    most_megapixels: float = 50.0

    @property
    def bundles(self) -> tuple[str, ...]:
        return tuple(self.engine.bundles)


class Supervisor:
    """`run` returns when it was asked to stop and everything in hand is done or handed back."""

    def __init__(self, config: WorkerConfig) -> None:
        self.config = config
        self.name = f"{socket.gethostname()}-{uuid4().hex[:8]}"
        self.token = uuid4().hex  # no colon: RQ's registry holds id:execution
        self.redis: Redis = Redis.from_url(config.redis_url, socket_timeout=10)
        self.queue = Queue(self.redis)
        self.store: BlobStore = open_store(config.store_url, self.redis)
        self.metrics = WorkerMetrics()
        self.runs: dict[str, JobRun] = {}
        self.failure: NotReady | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended: asyncio.Queue[tuple[JobRun, State, Outcome]] = asyncio.Queue()
        self._uncommitted = 0
        self._room_again = asyncio.Event()
        self._draining = asyncio.Event()
        self._ready = asyncio.Event()
        self._started_ms = int(time.time() * 1000)

    def drain(self) -> None:
        """Stop leasing; finish what fits into the grace, hand the rest back.  For signal handlers."""
        self._draining.set()
        self._room_again.set()
        self._ready.set()

    async def run(self) -> NotReady | None:
        """Work until `drain`.  Returns why the engine cannot work, None after a clean end."""
        self.pictures = Pictures(workers=2, limits=Limits(pixels=round(self.config.most_megapixels * 1e6)))
        self.link = EngineLink(self.config.engine, self._heard)
        self.room = Room(queue=self.queue, store=self.store, pictures=self.pictures, engine=self.link, token=self.token)
        await self.link.start()
        self._spawn(self.pictures.warm())
        self._rq: UndegradeWorker | None = None
        self.metrics.serve(self.config.metrics_port, self.config.metrics_host)
        upkeep = [asyncio.create_task(work) for work in (self._renewing(), self._committing(), self._upkeep())]
        try:
            await self._ready.wait()
            await self._leasing()
            await self._finish_up()
        finally:
            for task in (*upkeep, *self._tasks):
                task.cancel()
            await asyncio.gather(*upkeep, *self._tasks, return_exceptions=True)
            await self._close()
        return self.failure

    async def _leasing(self) -> None:
        while not self._draining.is_set():
            ready = self.link.ready
            room = ready.together + self.config.ahead - len(self.runs) if ready else 0
            if room <= 0 or any(run.leased.alone for run in self.runs.values()):
                self._room_again.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._room_again.wait(), 1.0)
                continue
            await self._steadily("lease", lambda room=room: self._lease(room))  # type: ignore[misc]

    async def _lease(self, room: int) -> None:
        leased, refused = await self.queue.lease(
            self.config.bundles, self.config.lanes, room, worker=self.name, token=self.token, in_hand=len(self.runs)
        )
        for planted in refused:
            log.warning("job.refused", job=planted.id, reason=planted.reason)
        for entry in leased:
            self._take(entry)
        if len(leased) + len(refused) < room:  # the lanes are empty: every job from now on rings
            await self.queue.wait_for_work(self.config.bundles, BELL_S)

    def _take(self, leased: Leased) -> None:
        if earlier := self.runs.pop(leased.spec.id, None):  # our own lease ran out while we slept
            earlier.interrupt(Abandoned())
        run = JobRun(leased, self.room)
        self.runs[leased.spec.id] = run
        self.metrics.took(leased)
        task = asyncio.create_task(self._see_through(run))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _see_through(self, run: JobRun) -> None:
        """From lease to the committer's hands; a mistake of ours fails the job, not the worker."""
        try:
            state, outcome = await run.run()
        except Abandoned:
            self._let_go(run)
            await run.discard()
            return
        except (RedisError, StoreError, EngineAway) as error:
            log.warning("job.handed-back", job=run.spec.id, error=str(error))
            if self.runs.get(run.spec.id) is not run:  # leased again meanwhile: what would be released is that lease
                return
            self._let_go(run)
            await self._steadily("release", lambda: self.queue.release(self.token, [run.spec.id], died=False))
            return
        except Exception as error:
            log.exception("job.broken", job=run.spec.id)
            detail = f"{type(error).__name__}: {error}"
            failure = Failure(code="internal-error", detail=detail, hint="report it with the job's id")
            state, outcome = State.FAILED, Outcome(failure=failure)
        self._uncommitted += 1
        self._ended.put_nowait((run, state, outcome))

    def _let_go(self, run: JobRun) -> None:
        if self.runs.get(run.spec.id) is run:
            del self.runs[run.spec.id]
        self._room_again.set()

    async def _committing(self) -> None:
        """Commits go out together, as many as have ended meanwhile."""
        while True:
            batch = [await self._ended.get()]
            while len(batch) < COMMIT_TOGETHER and not self._ended.empty():
                batch.append(self._ended.get_nowait())
            await self._steadily("commit", lambda batch=batch: self._commit(batch))  # type: ignore[misc]
            self._uncommitted -= len(batch)

    async def _commit(self, batch: list[tuple[JobRun, State, Outcome]]) -> None:
        rows = [
            (run.spec.id, state, outcome, run.spec.keep_s, run.spec.source.megapixels if run.spec.source else 0.0)
            for run, state, outcome in batch
        ]
        blobs = {run.spec.id: run.carried for run, _, _ in batch if run.carried}
        for (run, state, outcome), ended in zip(batch, await self.queue.commit(self.token, rows, blobs), strict=True):
            self._let_go(run)
            self.metrics.ended(run, ended or State.CANCELED)
            log.info("job.ended", job=run.spec.id, state=ended, seconds=outcome.seconds)
            if ended is not state:  # lost, or canceled at the last moment: nobody will ask for these pictures
                await run.discard()
            if ended is not None:
                self._spawn(self._dropped(run))

    async def _dropped(self, run: JobRun) -> None:
        with contextlib.suppress(RedisError, StoreError):  # its time to live ends it all the same
            await run.drop_input()

    async def _renewing(self) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            await self._steadily("renew", self._renew)

    async def _renew(self) -> None:
        answers = await self.queue.renew(self.token, list(self.runs))
        now_ms = time.time() * 1000
        for job, answer in answers.items():
            run = self.runs.get(job)
            if run is None:
                continue
            if answer == "lost":
                self.metrics.lost.inc()
                run.interrupt(Abandoned())
            elif answer == "cancel":
                run.interrupt(Ended(State.CANCELED))
            elif run.spec.deadline_ms is not None and now_ms > run.spec.deadline_ms:
                late = Failure(code="deadline", detail="the deadline passed while the job ran")
                run.interrupt(Ended(State.EXPIRED, late))

    async def _upkeep(self) -> None:
        """What is everybody's business: jobs of dead workers, what has expired, being seen to be alive."""
        announced_s = swept_s = 0.0
        while True:
            now_s = time.monotonic()
            await self._steadily("reclaim", self._reclaim)
            if now_s - announced_s >= ANNOUNCE_S:
                announced_s = now_s
                await self._steadily("announce", self._announce)
            if now_s - swept_s >= SWEEP_S:
                swept_s = now_s
                await self._steadily("sweep", self._sweep)
            await asyncio.sleep(RECLAIM_S)

    async def _reclaim(self) -> None:
        for job, answer in (await self.queue.reclaim()).items():
            log.warning("lease.expired", job=job, now=answer)

    async def _sweep(self) -> None:
        await self.queue.forget_expired()
        await self.store.sweep(time.time())

    async def _announce(self) -> None:
        ready = self.link.ready
        if ready is None:
            return
        await self.queue.announce(
            *(
                WorkerInfo(
                    name=self.name, host=socket.gethostname(), bundle=bundle.name, family=bundle.family,
                    bundle_version=bundle.version, license=bundle.license, device=ready.device,
                    lanes=self.config.lanes, degradations=tuple(Degradation(**entry) for entry in bundle.degradations),
                    max_batch=bundle.together, budget_mp=bundle.budget_mp, ready=True,
                    in_hand=sum(run.spec.bundle == bundle.name for run in self.runs.values()),
                    started_ms=self._started_ms,
                )
                for bundle in ready.bundles
            )
        )  # fmt: skip
        await asyncio.to_thread(self._show_rq, bool(self.runs))

    def _show_rq(self, busy: bool) -> None:
        if self._rq is None:
            queues = [queue_name(bundle, lane) for bundle in self.config.bundles for lane in self.config.lanes]
            rq = UndegradeWorker(queues, self.name, BlockingRedis.from_url(self.config.redis_url, socket_timeout=10))
            rq.born()
            self._rq = rq
        self._rq.tick(busy)

    def _heard(self, answer: Answer | None) -> None:
        """The engine child said something, or has ended (None)."""
        if isinstance(answer, Ready):
            budgets = {bundle.name: bundle.budget_mp for bundle in answer.bundles}
            log.info("engine.ready", device=answer.device, why=answer.why, budget_mp=budgets)
            self.metrics.loaded(answer)
            self.failure = None
            self._ready.set()
            self._room_again.set()
            self._spawn(self._steadily("announce", self._announce))
        elif isinstance(answer, NotReady):
            self.failure = answer
        elif answer is None:
            self._spawn(self._replace_engine())
        elif isinstance(answer, Turned):
            self.metrics.turned(answer)
        elif isinstance(answer, Stepped | Passed | Done | Failed):
            run = self.runs.get(answer.id.partition(".")[0])
            if run is not None and run.task_id == answer.id:
                run.answers.put_nowait(answer)

    def _spawn(self, work: Awaitable[object]) -> None:
        async def run() -> None:
            await work

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _replace_engine(self) -> None:
        """The child is gone: its jobs go back into line, to be run singly, and a fresh one is started."""
        if self.failure is not None:  # it said why it cannot work: a second one could not either
            log.error("engine.cannot-work", why=self.failure.sentence)
            self.drain()
            return
        if self._draining.is_set() and not self.runs:
            return
        code = await asyncio.to_thread(self.link.exit_code)
        log.error("engine.died", exit_code=code)
        self.metrics.restarts.inc()
        inside = [run for run in self.runs.values() if run.in_engine]
        for run in inside:
            run.interrupt(Abandoned())
            self._let_go(run)
        await self.link.start()  # before Redis is waited for: what has been decoded meanwhile needs somebody to go to
        jobs = [run.spec.id for run in inside]
        await self._steadily("release", lambda: self.queue.release(self.token, jobs, died=True))

    async def _finish_up(self) -> None:
        """After the last lease: wait for what is in hand, then hand the rest back without spending an attempt."""
        until_s = time.monotonic() + self.config.grace_s
        while (self.runs or self._uncommitted) and time.monotonic() < until_s and self.failure is None:
            await asyncio.sleep(0.02)
        left = list(self.runs.values())
        for run in left:
            run.interrupt(Abandoned())
        with contextlib.suppress(RedisError):
            await self.queue.release(self.token, [run.spec.id for run in left], died=False)
        log.info("worker.drained", handed_back=len(left))

    async def _close(self) -> None:
        await self.link.stop()
        await self.pictures.close()
        with contextlib.suppress(RedisError, OSError):
            await self.queue.withdraw(self.name, self.config.bundles)
            if self._rq is not None:
                await asyncio.to_thread(self._rq.dead)
        await self.store.close()
        await self.redis.aclose()

    async def _steadily(self, what: str, action: Callable[[], Awaitable[object]]) -> None:
        """Again and again while Redis is away: a worker waits, it does not give up."""
        pause_s, longest_s = BACKOFF_S
        while True:
            try:
                await action()
                return
            except (RedisError, OSError) as error:
                self.metrics.redis_errors.inc()
                log.warning("redis.away", during=what, error=str(error), again_in_s=pause_s)
                if self._draining.is_set() and what in ("lease", "announce", "sweep", "reclaim"):
                    return
                await asyncio.sleep(pause_s)
                pause_s = min(longest_s, 2 * pause_s)
