"""A real supervisor, engine child and Valkey, and a restorer that fails in every way: no job is lost or spun."""

import asyncio
import hashlib
import io
from contextlib import asynccontextmanager
from itertools import count, pairwise
from uuid import uuid4

import faulty_engine
import pytest
from faulty_engine import EXIT_CODE, FAULTS
from PIL import Image
from redis.asyncio import Redis

from cli.embedded_redis import EmbeddedRedis
from jobs.blob_store import open_store
from jobs.queue import Queue
from jobs.spec import JobControls, JobSpec, Source
from jobs.state import State
from worker.engine_config import EngineConfig
from worker.recycling import NO_RECYCLING, RecycleLimits
from worker.supervisor import Supervisor, WorkerConfig

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
PATIENCE_S = 300
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 0.4
OF_THE_ENGINE = {  # the fault: failure of its job, words of /readyz
    "exit": ("poison-suspected", f"exit code {EXIT_CODE}"),
    "leaves": ("poison-suspected", f"exit code {EXIT_CODE}"),
    "segv": ("poison-suspected", "exit code -11 (SIGSEGV)"),
    "kill": ("out-of-memory", "was killed for lack of memory"),
    "assert": ("poison-suspected", "exit code 70 (an error of the device)"),
    "triton": ("poison-suspected", "exit code 70 (an error of the device)"),
}
OF_ONE_IMAGE = {"nan": "not-finite", "inf": "not-finite", "oom": "out-of-memory", "fails": "engine-error"}


class Bench:
    """A worker that runs on this loop; `reasons` is each sentence of its /readyz since the start."""

    def __init__(self, supervisor, queue, store):
        self.supervisor, self.queue, self.store, self.reasons = supervisor, queue, store, []
        file = io.BytesIO()
        Image.new("RGB", (32, 24), (10, 200, 30)).save(file, "PNG")
        self.data = file.getvalue()
        told = supervisor.keeper.on_change

        def on_change():
            self.reasons += supervisor._probes()["/readyz"]()
            told()

        supervisor.keeper.on_change = on_change

    async def submit(self, fault="none"):
        job = uuid4().hex
        source = Source(
            blob=f"{job}/input", bytes=len(self.data), sha256=hashlib.sha256(self.data).hexdigest(), format="png",
            width_px=32, height_px=24,
        )  # fmt: skip
        spec = JobSpec(
            id=job, bundle=faulty_engine.BUNDLE, submitted_ms=1, source=source,
            controls=JobControls(seed=FAULTS.index(fault)),
        )  # fmt: skip
        await self.store.put(source.blob, self.data, 3600)
        await self.queue.submit(spec, 100)
        return job

    async def ended(self, job):
        return await self.until(job, lambda record: record.state.over)

    async def until(self, job, condition):
        async with asyncio.timeout(PATIENCE_S):
            while not condition(record := await self.queue.record(job)):
                await asyncio.sleep(0.02)
        return record

    @property
    def restarts(self):
        return self.supervisor.metrics.restarts._value.get()

    def recycles(self, reason):
        return self.supervisor.metrics.recycles.labels(reason)._value.get()


@pytest.fixture
def working(tmp_path, monkeypatch):
    """Returns a function that starts a worker, as an asynchronous context manager."""
    monkeypatch.setattr("worker.engine_child.main", faulty_engine.main)
    monkeypatch.setattr("worker.engine_keeper.FIRST_PAUSE_S", FIRST_PAUSE_S)
    monkeypatch.setattr("worker.engine_keeper.LONGEST_PAUSE_S", LONGEST_PAUSE_S)

    @asynccontextmanager
    async def start(url, recycle=NO_RECYCLING):
        engine = EngineConfig(bundles={faulty_engine.BUNDLE: tmp_path}, device="cpu")
        config = WorkerConfig(redis_url=url, store_url="redis://", engine=engine, grace_s=5, recycle=recycle)
        supervisor = Supervisor(config)
        async with Redis.from_url(url) as client:
            bench = Bench(supervisor, Queue(client), open_store("redis://", client))
            running = asyncio.create_task(supervisor.run())
            try:
                yield bench
            finally:
                supervisor.drain()
                assert await running is None

    return start


@pytest.fixture
def redis_url(tmp_path):
    with EmbeddedRedis(tmp_path / "redis") as redis:
        yield redis.url


@pytest.mark.parametrize("fault", OF_THE_ENGINE)
def test_a_job_that_ends_its_engine_fails_after_two_and_the_job_beside_it_succeeds(
    fault, working, redis_url, monkeypatch
):
    kernel_kills = count()  # as the kernel counts the kills for lack of memory
    monkeypatch.setattr("worker.engine_keeper.oom_kills", lambda: next(kernel_kills))
    code, words = OF_THE_ENGINE[fault]

    async def scenario():
        async with working(redis_url) as bench:
            jobs = [await bench.submit(fault), await bench.submit()]
            return [await bench.ended(job) for job in jobs], bench

    (bad, good), bench = asyncio.run(scenario())
    assert (bad.state, bad.deaths, bad.outcome.failure.code) == (State.FAILED, 2, code)
    assert bad.outcome.failure.hint
    assert good.state is State.SUCCEEDED
    assert bench.restarts == 2
    assert any(words in reason for reason in bench.reasons), bench.reasons


def test_a_job_that_fails_in_the_engine_fails_alone_and_the_engine_goes_on(working, redis_url):
    async def scenario():
        async with working(redis_url) as bench:
            jobs = {fault: await bench.submit(fault) for fault in [*OF_ONE_IMAGE, "none"]}
            return {fault: await bench.ended(job) for fault, job in jobs.items()}, bench.restarts

    records, restarts = asyncio.run(scenario())
    assert records.pop("none").state is State.SUCCEEDED
    assert {fault: record.outcome.failure.code for fault, record in records.items()} == OF_ONE_IMAGE
    assert restarts == 0


def test_an_engine_that_hangs_is_killed_and_its_job_runs_again(working, redis_url, monkeypatch):
    monkeypatch.setattr("worker.watchdog.IDLE_S", 5.0)

    async def scenario():
        async with working(redis_url) as bench:
            record = await bench.ended(await bench.submit("hang"))
            return record, bench

    record, bench = asyncio.run(scenario())
    assert (record.state, record.deaths) == (State.SUCCEEDED, 1)
    assert any("hung: it neither answered" in reason for reason in bench.reasons), bench.reasons


def test_an_engine_that_dies_at_its_start_is_started_with_growing_pauses_and_no_job_is_lost(
    working, redis_url, tmp_path
):
    (tmp_path / "dies-at-start").touch()

    async def scenario():
        async with working(redis_url) as bench:
            job = await bench.submit()
            async with asyncio.timeout(PATIENCE_S):
                while bench.restarts < 5:
                    await asyncio.sleep(0.02)
            waiting = await bench.queue.record(job)
            (tmp_path / "dies-at-start").unlink()
            return waiting, await bench.ended(job), bench

    waiting, ended, bench = asyncio.run(scenario())
    assert (waiting.state, waiting.attempts) == (State.QUEUED, 0)
    assert (ended.state, ended.attempts, ended.deaths) == (State.SUCCEEDED, 1, 0)
    told = [reason for reason in bench.reasons if " starts in " in reason]
    assert all(f"exit code {EXIT_CODE} while it loaded" in reason for reason in told)
    pauses = [float(reason.rpartition(" starts in ")[2].removesuffix(" s")) for reason in told]
    assert pauses[0] == FIRST_PAUSE_S
    assert all(later == min(2 * earlier, LONGEST_PAUSE_S) for earlier, later in pairwise(pauses))
    starts = len((tmp_path / "starts").read_text().splitlines())
    assert starts <= len(pauses) + 1, "no start without a pause before it"


def test_an_engine_that_leaks_is_replaced_between_jobs_and_no_job_loses_an_attempt(working, redis_url):
    async def scenario():
        async with working(redis_url, RecycleLimits(max_rss_gib=1.2)) as bench:
            jobs = [await bench.submit("leak") for _ in range(3)]
            for job in jobs:
                await bench.ended(job)
            async with asyncio.timeout(PATIENCE_S):
                while not bench.recycles("memory"):
                    jobs.append(await bench.submit("leak"))
                    await bench.ended(jobs[-1])
            return [await bench.ended(job) for job in [*jobs, await bench.submit()]], bench

    records, bench = asyncio.run(scenario())
    assert {(record.state, record.attempts, record.deaths) for record in records} == {(State.SUCCEEDED, 1, 0)}
    assert bench.recycles("memory") == 1 and bench.restarts == 0
    assert any("GiB of 1.2 (UNDEGRADE_MAX_RSS_GIB)" in reason for reason in bench.reasons), bench.reasons


def test_an_engine_is_replaced_after_so_many_jobs_and_none_loses_an_attempt(working, redis_url, tmp_path):
    async def scenario():
        async with working(redis_url, RecycleLimits(max_jobs=2)) as bench:
            jobs = [await bench.submit() for _ in range(20)]
            return [await bench.ended(job) for job in jobs], bench

    records, bench = asyncio.run(scenario())
    assert {(record.state, record.attempts, record.deaths) for record in records} == {(State.SUCCEEDED, 1, 0)}
    assert bench.recycles("jobs") >= 1 and bench.restarts == 0, "20 are more than a worker holds at once"
    starts = len((tmp_path / "starts").read_text().splitlines())
    assert starts <= 1 + 20 // 2, "each engine has done its jobs"
