"""The registry of workers."""

from queue_bench import BUNDLE

from jobs import redis_keys
from jobs.record import WorkerInfo
from jobs.spec import LANES


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
