"""What a worker leases: nothing without an engine, except jobs that nobody could work on, which it fails."""

import asyncio
from types import SimpleNamespace

import pytest

from jobs.errors import WorkerDrained
from jobs.lease import Leased
from jobs.record import Failure, WorkerInfo
from jobs.spec import LANES, JobSpec
from jobs.state import State
from jobs.tracing.spans import NO_TRACER
from worker.background_tasks import BackgroundTasks
from worker.held_jobs import HeldJobs
from worker.job_run import JobRun
from worker.lease_loop import LeaseLoop
from worker.metrics import WorkerMetrics
from worker.redis_retry import RedisRetry

NO_MEMORY = Failure(code="out-of-memory", detail="the engine was killed each time", hint="give it more memory")


def worker(name="other", bundle="b", lanes=LANES, **fields) -> WorkerInfo:
    return WorkerInfo(
        name=name, host="h", bundle=bundle, family="", bundle_version="", device="", lanes=lanes, max_batch=1,
        started_ms=1, **fields,
    )  # fmt: skip


class FakeQueue:
    """Holds one job of each lane of the bundles `b` and `c`; `others` are the workers in the registry."""

    def __init__(self, *others):
        self.workers, self.others = self, others
        self.jobs = [
            JobSpec(id=f"{number:032x}", bundle=bundle, lane=lane, kind="detect", submitted_ms=1)
            for number, (bundle, lane) in enumerate((b, lane) for b in "bc" for lane in LANES)
        ]

    async def alive(self):
        return [worker("me", cannot_load=True), *self.others]

    async def lease(self, bundles, lanes, room, **_):
        taken = [job for job in self.jobs if job.bundle in bundles and job.lane in lanes][:room]
        self.jobs = [job for job in self.jobs if job not in taken]
        return [Leased(spec=job, attempts=1, deaths=0, run_alone=False, cancel=False) for job in taken], []


def ended_by_one_look(queue, cannot_load):
    """Returns (bundle, lane, state, failure) of each job that the loop ends before it waits for the first time."""
    ended = []

    async def scenario():
        held, metrics, draining = HeldJobs(), WorkerMetrics(), asyncio.Event()

        def commit(run, finished):
            ended.append((run.spec.bundle, run.spec.lane, finished.state, finished.outcome.failure))
            held.remove(run)

        services = SimpleNamespace(queue=queue, token="t", store=None, tracer=NO_TRACER, worker="w")
        loop = LeaseLoop(
            worker="me", bundles=("b", "c"), lanes=LANES, ahead=4, services=services, link=SimpleNamespace(ready=None),
            keeper=SimpleNamespace(cannot_load=cannot_load), held=held, committer=SimpleNamespace(add=commit),
            metrics=metrics, retry=RedisRetry(metrics, draining), background=BackgroundTasks(),
        )  # fmt: skip
        running = asyncio.create_task(loop.run(draining))
        await asyncio.sleep(0.05)
        draining.set()
        held.freed.set()
        await asyncio.wait_for(running, 30)

    asyncio.run(scenario())
    return ended


@pytest.mark.parametrize(("held_jobs", "waits"), [(3, True), (4, False), (9, False)])
def test_a_worker_with_a_full_batch_leaves_the_next_arrival_to_idle_workers(held_jobs, waits):
    """An arrival wakes the worker that waits for it, so one that has enough to do must ask again instead."""
    asked, waited = [], []

    class EmptyQueue:
        async def lease(self, *_, **__):
            asked.append(1)
            return [], []

        async def wait_for_work(self, *_):
            waited.append(1)
            await asyncio.sleep(0.01)

    async def scenario():
        held, metrics, draining = HeldJobs(), WorkerMetrics(), asyncio.Event()
        for number in range(held_jobs):
            held.add(
                SimpleNamespace(
                    spec=SimpleNamespace(id=str(number), held_megapixels=0.0),
                    leased=Leased(spec=None, attempts=1, deaths=0, run_alone=False, cancel=False),
                )
            )
        loop = LeaseLoop(
            worker="me", bundles=("b",), lanes=LANES, ahead=8, link=SimpleNamespace(ready=SimpleNamespace(max_batch=4)),
            services=SimpleNamespace(queue=EmptyQueue(), token="t", store=None), keeper=None, held=held,
            committer=None, metrics=metrics, retry=RedisRetry(metrics, draining), background=BackgroundTasks(),
        )  # fmt: skip
        running = asyncio.create_task(loop.run(draining))
        while len(asked) < 2:
            await asyncio.sleep(0.01)
        draining.set()
        held.freed.set()
        await asyncio.wait_for(running, 30)

    asyncio.run(asyncio.wait_for(scenario(), 30))
    assert bool(waited) is waits


def test_a_worker_whose_engine_loads_leaves_the_jobs_in_the_queue():
    queue = FakeQueue()
    assert ended_by_one_look(queue, None) == [] and len(queue.jobs) == 6


def test_jobs_that_no_worker_has_the_memory_for_fail_and_say_so():
    queue = FakeQueue(worker("also short", cannot_load=True))
    ended = ended_by_one_look(queue, NO_MEMORY)
    assert ended == [(bundle, lane, State.FAILED, NO_MEMORY) for bundle in "bc" for lane in LANES]


@pytest.mark.parametrize("ready", [True, False])
def test_jobs_that_another_worker_may_take_stay_in_the_queue(ready):
    queue = FakeQueue(worker(lanes=("standard",), ready=ready))
    ended = ended_by_one_look(queue, NO_MEMORY)
    assert [(job.bundle, job.lane) for job in queue.jobs] == [("b", "standard")]
    assert len(ended) == 5


class DrainedQueue(FakeQueue):
    """Refuses leases while `drained`, and counts who waits for work."""

    def __init__(self):
        super().__init__()
        self.drained, self.waits, self.tries = True, 0, 0

    async def lease(self, bundles, lanes, room, **words):
        self.tries += 1
        if self.drained:
            raise WorkerDrained("drained")
        return await super().lease(bundles, lanes, room, **words)

    async def release_unheld(self, token, held, numbers):
        raise AssertionError("the reply has arrived")

    async def wait_for_work(self, bundles, timeout_s):
        self.waits += 1
        await asyncio.sleep(0)


def drained_loop(queue, held, told, spawn):
    """A loop with an engine and room for many jobs."""
    ready, metrics = SimpleNamespace(max_batch=8), WorkerMetrics()
    services = SimpleNamespace(queue=queue, token="t", store=None, tracer=NO_TRACER, worker="me")
    loop = LeaseLoop(
        worker="me", bundles=("b", "c"), lanes=LANES, ahead=4, services=services,
        link=SimpleNamespace(ready=ready), keeper=SimpleNamespace(cannot_load=None), held=held, committer=None,
        metrics=metrics, retry=RedisRetry(metrics, asyncio.Event()), background=SimpleNamespace(spawn=spawn), host="h",
        on_drain=lambda: told.append((loop.drained, len(held))),
    )  # fmt: skip
    return loop


def close(work):
    """Drop a job's run: this test is about leases."""
    work.close()


def test_a_drained_worker_tells_so_when_it_begins_when_its_last_job_is_gone_and_when_it_ends(monkeypatch):
    """It never waits on the list that wakes workers: it would take the wake-up from another one."""
    monkeypatch.setattr("worker.lease_loop.WAIT_FOR_ROOM_S", 0.01)
    queue, held, told, draining = DrainedQueue(), HeldJobs(), [], asyncio.Event()

    async def until(condition):
        async with asyncio.timeout(30):
            while not condition():
                await asyncio.sleep(0.002)

    async def scenario():
        job = Leased(spec=queue.jobs[0], attempts=1, deaths=0, run_alone=False, cancel=False)
        run = JobRun(job, SimpleNamespace(store=None, tracer=NO_TRACER, worker="w"))
        held.add(run)
        loop = drained_loop(queue, held, told, close)
        running = asyncio.create_task(loop.run(draining))
        await until(lambda: queue.tries >= 3)
        assert told == [(True, 1)], "once, although it asked several times"
        held.remove(run)
        await until(lambda: len(told) == 2)
        assert told[-1] == (True, 0) and queue.waits == 0
        queue.drained = False
        await until(lambda: len(held) == 6)
        assert told[2:] == [(False, 0)]
        draining.set()
        held.freed.set()
        await asyncio.wait_for(running, 30)

    asyncio.run(scenario())
