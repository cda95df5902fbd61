"""The registry of workers, and their drains."""

import asyncio
import json

import pytest
from queue_bench import BUNDLE

from jobs import redis_keys
from jobs.errors import UnknownName, WorkerDrained
from jobs.record import WorkerInfo
from jobs.spec import LANES
from jobs.state import State


def test_workers_are_alive_for_as_long_as_they_announce_themselves(run):
    async def scenario(bench):
        infos = [
            WorkerInfo(name=name, host="h", bundle=BUNDLE, family="autodir", bundle_version="1", device="cpu",
                       lanes=LANES, max_batch=1, started_ms=1, ready=True)
            for name in ("w1", "w2", "w3")
        ]  # fmt: skip
        assert await bench.queue.workers.alive() == []
        for info in infos:
            await bench.queue.workers.announce(info)
        assert await bench.queue.workers.alive() == infos
        assert 0 < await bench.redis.ttl(redis_keys.WORKER + f"w1/{BUNDLE}") <= redis_keys.WORKER_TTL_S
        await bench.queue.workers.withdraw("w1", [BUNDLE])
        await bench.redis.delete(redis_keys.WORKER + f"w2/{BUNDLE}")  # as its TTL does
        assert await bench.queue.workers.alive() == infos[2:]
        assert await bench.redis.smembers(redis_keys.WORKERS) == {f"w3/{BUNDLE}".encode()}

    run(scenario)


def test_a_worker_has_an_entry_for_each_of_its_bundles(run):
    async def scenario(bench):
        infos = [
            WorkerInfo(name="w", host="h", bundle=bundle, family="f", bundle_version="1", device="cpu", lanes=LANES,
                       max_batch=1, started_ms=1, ready=True)
            for bundle in ("a", "b")
        ]  # fmt: skip
        await bench.queue.workers.announce(*infos)
        assert await bench.queue.workers.alive() == infos
        await bench.queue.workers.withdraw("w", ["a", "b"])
        assert await bench.queue.workers.alive() == []

    run(scenario)


def info(name="gpu-7-1a2b3c4d", host="gpu-7", **fields) -> WorkerInfo:
    return WorkerInfo(
        name=name, host=host, bundle=BUNDLE, family="f", bundle_version="1", device="cpu", lanes=LANES, max_batch=1,
        started_ms=1, **{"ready": True, **fields},
    )  # fmt: skip


async def lease_as(bench, worker, held=0):
    leased, _ = await bench.queue.lease(
        [BUNDLE], LANES, 5, worker=worker.name, host=worker.host, token=worker.name, held=held
    )
    return [job.spec.id for job in leased]


@pytest.mark.parametrize("by_host", [False, True])
def test_a_drained_worker_gets_nothing_more_and_others_do(run, by_host):
    async def scenario(bench):
        worker, other = info(), info("gpu-8-1", "gpu-8")
        await bench.queue.workers.announce(worker)
        await bench.queue.workers.announce(other)
        (job,) = await bench.submit("standard")
        name = worker.host if by_host else worker.name
        (entry,) = await bench.queue.workers.drain(name, "ada")
        assert (entry.name, entry.state, entry.drain.by) == (worker.name, "draining", "ada")
        with pytest.raises(WorkerDrained):
            await lease_as(bench, worker)
        assert await bench.state(job) is State.QUEUED
        assert await lease_as(bench, other) == [job.id]
        (entry,) = await bench.queue.workers.resume(name)
        assert entry.state == "idle"
        (job,) = await bench.submit("standard")
        assert await lease_as(bench, worker) == [job.id]

    run(scenario)


def test_a_worker_counts_as_drained_only_once_it_has_said_so_itself(run):
    async def scenario(bench):
        await bench.queue.workers.announce(info(in_hand=0))  # it may have leased since
        (entry,) = await bench.queue.workers.drain("gpu-7", "")
        assert entry.state == "draining" and not entry.takes_jobs
        await bench.queue.workers.announce(info(drained=True))
        assert (await bench.queue.workers.alive())[0].state == "drained"

    run(scenario)


def test_the_drain_of_a_host_outlives_its_workers_and_that_of_a_worker_ends_with_it(run):
    async def scenario(bench):
        registry = bench.queue.workers
        await registry.announce(info())
        await registry.drain("gpu-7-1a2b3c4d", "")
        await registry.drain("gpu-7", "")
        await registry.withdraw("gpu-7-1a2b3c4d", [BUNDLE])
        assert set(await registry.drains()) == {"gpu-7"}
        await registry.announce(info("gpu-7-again"))
        assert (await registry.alive())[0].state == "draining"
        with pytest.raises(WorkerDrained):
            await lease_as(bench, info("gpu-7-again"))
        await registry.withdraw("gpu-7-again", [BUNDLE])
        assert await registry.resume("gpu-7") == [], "also while no worker of the host is there"

    run(scenario)


def test_an_unknown_worker_is_an_error_with_the_nearest_name(run):
    async def scenario(bench):
        registry = bench.queue.workers
        with pytest.raises(UnknownName, match="none at all"):
            await registry.drain("gpu-7", "")
        await registry.announce(info())
        for action in (registry.drain("gpu-7-1a2b3c4e", ""), registry.resume("gpu-7-1a2b3c4e")):
            with pytest.raises(UnknownName, match="did you mean gpu-7-1a2b3c4d"):
                await action
        assert await registry.drains() == {}

    run(scenario)


def test_of_two_admins_the_first_is_named(run):
    async def scenario(bench):
        registry = bench.queue.workers
        await registry.announce(info())
        answers = await asyncio.gather(*(registry.drain("gpu-7", by) for by in ("ada", "bob")))
        assert len({entry.drain.by for (entry,) in answers}) == 1

    run(scenario)


def test_the_entry_of_a_worker_of_a_later_version_is_read(run):
    async def scenario(bench):
        later = {"name": "x", "prompt": "", "color": "red"}
        text = {**json.loads(info().model_dump_json()), "temperature_c": 71, "degradations": [later]}
        await bench.redis.sadd(redis_keys.WORKERS, f"gpu-7-1a2b3c4d/{BUNDLE}")
        await bench.redis.set(redis_keys.WORKER + f"gpu-7-1a2b3c4d/{BUNDLE}", json.dumps(text))
        (entry,) = await bench.queue.workers.alive()
        assert entry.name == "gpu-7-1a2b3c4d" and entry.degradations[0].name == "x"

    run(scenario)
