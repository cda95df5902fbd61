"""What an API process that nobody asks costs: itself, and each of several servers that it checks."""

import asyncio
import tempfile
from contextlib import AsyncExitStack

from local_valkey import local_valkey
from modeled_worker import BUNDLE
from redis.asyncio import Redis
from scale_api import Cost, Meter, api_process
from scale_queue import load_of_all

from jobs.record import WorkerInfo
from jobs.spec import LANES
from jobs.worker_registry import WorkerRegistry

SETTLE_S = 2.0


async def announce(redis: "Redis", workers: int) -> None:
    """Announce workers, as they do it themselves every few seconds."""
    for number in range(workers):
        info = WorkerInfo(
            name=f"gpu-{number}", host="here", bundle=BUNDLE, family="autodir", bundle_version="1", device="cpu",
            lanes=LANES, degradations=(), max_batch=8, ready=True, started_ms=0,
        )  # fmt: skip
        await WorkerRegistry(redis).announce(info)


async def measure_servers(servers: int, workers: int, seconds: float) -> Cost:
    """Measure an idle API process on so many shards, each with announced workers: CPU time of a second and a server.

    The process's time with one shard is not subtracted: a part of it does not grow with the servers.
    """
    async with AsyncExitStack() as stack:
        urls = [stack.enter_context(local_valkey()) for _ in range(servers)]
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        clients = [await stack.enter_async_context(Redis.from_url(url)) for url in urls]
        for client in clients:
            await announce(client, workers)
        _, process = await stack.enter_async_context(api_process(" ".join(urls), f"file://{folder}/store", folder))
        await asyncio.sleep(SETTLE_S)
        meter = Meter(clients[0], process)
        before, api_s = await load_of_all(clients), meter.api_s()
        await asyncio.sleep(seconds)
        spent, api_s = await load_of_all(clients) - before, meter.api_s() - api_s
    return Cost(what="server second", calls=round(servers * seconds), api_s=api_s, redis_s=spent.cpu_s, wall_s=seconds)
