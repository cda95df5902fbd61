"""Real Valkey servers, and modeled workers in few processes: what Redis does for a job and for a worker."""

import asyncio
import multiprocessing
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any
from uuid import uuid4

from local_valkey import local_valkey
from modeled_worker import BUNDLE, Pace, worker_process
from redis.asyncio import Redis
from redis_load import NO_LOAD, Load, load_of

from jobs.blob_store import open_store
from jobs.queue import Queue
from jobs.shards.numbers import numbered
from jobs.spec import JobSpec, Source
from jobs.storage_limits import StorageLimits

LIMITS = StorageLimits(max_bytes=10**12, max_owner_bytes=10**12, in_redis=False)
PROCESSES = 2
"""Of workers: more than a machine has cores would only take turns."""
START_S, DRAIN_S, WARM_UP_S = 180.0, 120.0, 1.0
SUBMITTERS = 8


@dataclass(frozen=True, kw_only=True)
class QueueRow:
    """What some servers have done while some workers were idle, and then while jobs came as fast as they ended.

    Each worker leases from all servers; the loads are of all servers together.

    Attributes:
        idle: during `idle_s`; busy: from the first submission to the end of the last job, `busy_s` later.
        warm_jobs: before, so that scripts were loaded and connections open.
        requests: of workers and submissions to the store, for these and for `jobs`.
    """

    servers: int
    workers: int
    jobs: int
    idle: Load
    idle_s: float
    busy: Load
    busy_s: float
    warm_jobs: int
    requests: dict[str, int]


@asynccontextmanager
async def workers_on(urls: Sequence[str], store_url: str, workers: int, pace: Pace) -> AsyncIterator[Counter[str]]:
    """Run so many workers, each of which leases from all servers.  Yields a counter of their store's requests, full at
    the end.
    """
    context, counted = multiprocessing.get_context("spawn"), Counter[str]()
    places = [" ".join(urls)] * workers
    children = []
    for number in range(min(PROCESSES, workers)):
        ours, theirs = context.Pipe()
        words = (places[number::PROCESSES], store_url, pace, theirs)
        child = context.Process(target=worker_process, args=words, daemon=True)
        child.start()
        theirs.close()
        children.append((child, ours))
    try:
        async with AsyncExitStack() as stack:
            queues = [Queue(await stack.enter_async_context(Redis.from_url(url))) for url in urls]
            until_s = time.monotonic() + START_S
            while sum([len(await queue.workers.alive()) for queue in queues]) < workers * len(urls):
                if time.monotonic() > until_s or not all(child.is_alive() for child, _ in children):
                    raise RuntimeError(f"not all of {workers} modeled workers have started within {START_S:g} s")
                await asyncio.sleep(0.2)
        yield counted
        for _, ours in children:
            ours.send("end")
        for _, ours in children:
            counted.update(await asyncio.to_thread(ours.recv))
    finally:
        for child, _ in children:
            child.join(10)
            child.kill()


async def submit(queue: Queue, store: Any, data: bytes, shard: int) -> None:  # noqa: ANN401
    """Submit a photo, with the calls of the API."""
    job = numbered(uuid4().hex, shard)
    source = Source(blob=f"{job}/input", bytes=len(data), sha256="", format="jpeg", width_px=8, height_px=8)
    now_ms = time.time_ns() // 10**6
    spec = JobSpec(id=job, bundle=BUNDLE, source=source, submitted_ms=now_ms, keep_s=3600)
    await queue.reserve(spec)
    await store.put(source.blob, data, 3600)
    await queue.submit(spec, 10**7)


async def load_of_all(clients: Sequence[Any]) -> Load:
    return sum([await load_of(client) for client in clients], NO_LOAD)


async def ended_jobs(clients: Sequence[Any]) -> int:
    key, field = "undegrade:counters", f"ended:{BUNDLE}:succeeded"
    return sum([int(await client.hget(key, field) or 0) for client in clients])


async def measure(servers: int, workers: int, seconds: float, pace: Pace, photo: bytes) -> QueueRow:
    """Measure one combination.

    Args:
        seconds: of submissions; half as many without a job before.
        photo: the bytes of an input, and of a result.

    Raises:
        RuntimeError: workers did not start, or jobs did not end.
    """
    async with AsyncExitStack() as stack:
        urls = [stack.enter_context(local_valkey()) for _ in range(servers)]
        store_url = f"file://{stack.enter_context(tempfile.TemporaryDirectory())}"
        clients = [await stack.enter_async_context(Redis.from_url(url)) for url in urls]
        queues = [Queue(client, LIMITS) for client in clients]
        stores = [open_store(store_url, client) for client in clients]
        async with workers_on(urls, store_url, workers, pace) as requests:
            most = workers * pace.together * 3
            warm = await feed(queues, stores, photo, clients, most, time.monotonic() + WARM_UP_S)
            await wait_for_ends(clients, warm)
            start, start_s = await load_of_all(clients), time.monotonic()
            await asyncio.sleep(seconds / 2)
            begun, begun_s = await load_of_all(clients), time.monotonic()
            jobs = await feed(queues, stores, photo, clients, most, begun_s + seconds)
            await wait_for_ends(clients, warm + jobs)
            ended, ended_s = await load_of_all(clients), time.monotonic()
        return QueueRow(
            servers=servers, workers=workers, jobs=jobs, idle=begun - start, idle_s=begun_s - start_s,
            busy=ended - begun, busy_s=ended_s - begun_s, warm_jobs=warm,
            requests={**requests, "put": requests["put"] + warm + jobs},
        )  # fmt: skip


async def wait_for_ends(clients: Sequence[Any], jobs: int) -> None:
    """Return when so many jobs have ended.  Raises RuntimeError after DRAIN_S."""
    until_s = time.monotonic() + DRAIN_S
    while (ended := await ended_jobs(clients)) < jobs:
        if time.monotonic() > until_s:
            raise RuntimeError(f"{jobs - ended} of {jobs} jobs have not ended after {DRAIN_S:g} s")
        await asyncio.sleep(0.1)


async def feed(
    queues: Sequence[Queue], stores: Sequence[Any], photo: bytes, clients: Sequence[Any], most: int, until_s: float
) -> int:  # fmt: skip
    """Keep up to about `most` jobs in the system, until a moment.  Returns how many have been submitted."""
    numbers, before = count(), await ended_jobs(clients)
    submitted = ended = 0

    async def submitter() -> None:
        nonlocal submitted
        while time.monotonic() < until_s:
            if submitted - ended >= most:
                await asyncio.sleep(0.05)
                continue
            submitted += 1
            at = next(numbers) % len(queues)
            await submit(queues[at], stores[at], photo, at)

    async def watch() -> None:
        nonlocal ended
        while time.monotonic() < until_s:
            ended = await ended_jobs(clients) - before
            await asyncio.sleep(0.2)

    await asyncio.gather(watch(), *(submitter() for _ in range(SUBMITTERS)))
    return submitted
