"""A real API process: what a submission, a look at a job, a result, a change and an open event stream cost it."""

import asyncio
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from local_valkey import local_valkey
from modeled_worker import BUNDLE, Pace
from PIL import Image
from redis.asyncio import Redis
from redis_load import Load, load_of
from scale_queue import ended_jobs, workers_on
from served import free_port

from jobs import redis_keys
from jobs.queue import Event, Queue
from jobs.record import Progress
from jobs.spec import LANES

CLIENTS = 8
PUBLISHED = 2 if hasattr(redis_keys, "END_OF_JOB") else 1
"""Messages of a change: also one for processes of earlier versions, and in those one alone."""
START_S, END_S, OPENING_S = 120.0, 120.0, 1.5
SETTINGS = {"UNDEGRADE_MAX_QUEUED": "1000000", "UNDEGRADE_QUOTA_WAITS": "100000", "UNDEGRADE_ACCESS_LOG": "off"}


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of `calls` requests, or whatever `what` names: CPU seconds of the API and of Redis, seconds by a clock."""

    what: str
    calls: int
    api_s: float
    redis_s: float
    wall_s: float


@dataclass(frozen=True, kw_only=True)
class ApiRows:
    """`stream_bytes`: memory of the API for an open event stream; `job_bytes`: of Redis for a job that has ended."""

    costs: list[Cost]
    streams: int
    stream_bytes: float
    job_bytes: float
    submission: Load


def small_photo(side_px: int = 128) -> bytes:
    """Returns a JPEG of a part of a sample photo."""
    data = io.BytesIO()
    path = Path(__file__).parents[1] / "examples" / "raccoon-noisy.jpg"
    with Image.open(path) as photo:
        photo.convert("RGB").crop((0, 0, side_px, side_px)).save(data, "JPEG", quality=90)
    return data.getvalue()


class Connection:
    """A connection to the API that stays open."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def open(self) -> None:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Returns the status and the body of the answer."""
        headers = f"Host: localhost\r\nContent-Type: image/jpeg\r\nContent-Length: {len(body)}\r\n\r\n"
        self.writer.write(f"{method} {path} HTTP/1.1\r\n{headers}".encode() + body)
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        size = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        return int(head.split()[1]), await self.reader.readexactly(size)

    async def listen(self, path: str) -> None:
        """Begin to read an event stream; returns with its first event."""
        self.writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n".encode())
        await self.reader.readuntil(b"event:")

    async def drop(self) -> None:
        """Read what comes, and forget it."""
        while await self.reader.read(65536):
            pass


@asynccontextmanager
async def api_process(redis_url: str, store_url: str, folder: str) -> AsyncIterator[tuple[int, psutil.Process]]:
    """Yields the port and the process of `undegrade api`, which answers."""
    port = free_port()
    words = [
        sys.executable,
        "-m",
        "cli",
        "api",
        "--port",
        str(port),
        "--redis-url",
        redis_url,
        "--store-url",
        store_url,
    ]
    environment = {**os.environ, **SETTINGS, "XDG_STATE_HOME": folder}
    log = Path(folder) / "api.log"
    with log.open("wb") as output:
        child = subprocess.Popen(words, env=environment, stdout=output, stderr=output)
    try:
        until_s = time.monotonic() + START_S
        while True:
            try:
                connection = Connection(port)
                await connection.open()
                if (await connection.ask("GET", "/livez"))[0] == 200:
                    break
            except (OSError, asyncio.IncompleteReadError):
                pass
            if child.poll() is not None or time.monotonic() > until_s:
                raise RuntimeError(f"the API does not answer: {log.read_text()[-2000:]}")
            await asyncio.sleep(0.3)
        yield port, psutil.Process(child.pid)
    finally:
        child.terminate()
        child.wait(30)


class Meter:
    """Measures what both processes spend."""

    def __init__(self, redis: Any, api: psutil.Process) -> None:  # noqa: ANN401
        self.redis, self.api, self.costs = redis, api, list[Cost]()
        self.idle_s = 0.0

    def api_s(self) -> float:
        """Returns the CPU time of the API's threads; `cpu_times` counts in hundredths of a second."""
        tasks = Path(f"/proc/{self.api.pid}/task")
        if not (tasks / str(self.api.pid) / "schedstat").exists():  # no Linux
            times = self.api.cpu_times()
            return float(times.user + times.system)
        return sum(int(task.read_text().split()[0]) for task in tasks.glob("*/schedstat")) / 1e9

    async def rest(self, seconds: float) -> None:
        """Measure what the API spends while nobody asks: `measure` can leave it out."""
        await self.measure("idle second", lambda: asyncio.sleep(seconds, round(seconds)))
        self.idle_s = self.costs[-1].api_s / self.costs[-1].wall_s

    async def measure(self, what: str, work: Callable[[], Awaitable[int]], net: bool = False) -> Load:
        """Measure some work, which returns how many calls it has made.  Returns what Redis did.

        `net`: without what the API spends in the same time while nobody asks.
        """
        before, api_s, start_s = await load_of(self.redis), self.api_s(), time.monotonic()
        calls = await work()
        spent, wall_s = await load_of(self.redis) - before, time.monotonic() - start_s
        api_s = self.api_s() - api_s - (self.idle_s * wall_s if net else 0.0)
        cost = Cost(what=what, calls=calls, api_s=api_s, redis_s=spent.cpu_s, wall_s=wall_s)
        self.costs.append(cost)
        return spent


async def ask_all(connections: Sequence[Connection], requests: Sequence[tuple[str, str, bytes]]) -> list[bytes]:
    """Send requests over all connections, each connection one after the other.  Returns the bodies, in order.

    Raises:
        RuntimeError: an answer is not 2xx.
    """
    bodies = [b""] * len(requests)

    async def client(number: int) -> None:
        for index in range(number, len(requests), len(connections)):
            status, bodies[index] = await connections[number].ask(*requests[index])
            if status >= 300:
                raise RuntimeError(f"{requests[index][:2]}: {status} {bodies[index][:500]!r}")

    await asyncio.gather(*(client(number) for number in range(len(connections))))
    return bodies


async def measure_api(requests: int, streams: int, idle_s: float) -> ApiRows:
    """Measure one API process with so many requests of each kind, and so many open event streams."""
    async with AsyncExitStack() as stack:
        url, folder = stack.enter_context(local_valkey()), stack.enter_context(tempfile.TemporaryDirectory())
        store_url = f"file://{folder}/store"
        redis = await stack.enter_async_context(Redis.from_url(url))
        port, process = await stack.enter_async_context(api_process(url, store_url, folder))
        meter = Meter(redis, process)
        connections = [Connection(port) for _ in range(CLIENTS)]
        for connection in connections:
            await connection.open()
        submission, jobs = await ask_for_photos(meter, connections, requests)
        await meter.rest(idle_s)
        await run_to_end(meter, url, store_url, len(jobs) + CLIENTS)

        async def results() -> int:
            return len(await ask_all(connections, [("GET", f"/jobs/{job}/result", b"") for job in jobs]))

        await meter.measure("result", results)
        job_bytes = await memory_of(redis, jobs[: min(20, len(jobs))])
        await measure_waits(meter, port, url, store_url, requests)
        stream_bytes = await open_streams(meter, connections[0], port, streams, idle_s)
        return ApiRows(
            costs=meter.costs, streams=streams, stream_bytes=stream_bytes, job_bytes=job_bytes, submission=submission
        )


async def ask_for_photos(
    meter: Meter, connections: Sequence[Connection], requests: int
) -> tuple[Load, list[str]]:  # fmt: skip
    """Measure submissions and looks at the queued jobs.  Returns what Redis did for the first, and their ids."""
    photo, bodies = small_photo(), list[bytes]()
    await ask_all(connections, [("POST", "/restore", photo)] * CLIENTS)  # warm-up

    async def submissions() -> int:
        bodies.extend(await ask_all(connections, [("POST", "/restore", photo)] * requests))
        return requests

    submission = await meter.measure("submission", submissions)
    jobs = [json.loads(body)["id"] for body in bodies]

    async def looks() -> int:
        return len(await ask_all(connections, [("GET", f"/jobs/{job}", b"") for job in jobs]))

    await meter.measure("look", looks)
    return submission, jobs


async def run_to_end(meter: Meter, url: str, store_url: str, jobs: int) -> None:
    """Let a worker end all jobs, and measure what their changes cost the API, which nobody waits for."""
    async with workers_on([url], store_url, 1, Pace(0.05, 8)):

        async def changes() -> int:
            return (await load_of(meter.redis)).calls.get("publish", 0) // PUBLISHED

        async def ends() -> int:
            before, until_s = await changes(), time.monotonic() + END_S
            while await ended_jobs([meter.redis]) < jobs:
                if time.monotonic() > until_s:
                    raise RuntimeError(f"{jobs} jobs have not ended after {END_S:g} s")
                await asyncio.sleep(0.05)
            return await changes() - before

        await meter.measure("change", ends, net=True)


async def measure_waits(meter: Meter, port: int, url: str, store_url: str, waits: int) -> None:
    """Measure waits for the ends of jobs, from their beginning to their answers.

    Of Redis, only the beginning can be told from the work of jobs; the end is taken to cost the same.
    """
    async with workers_on([url], store_url, 1, Pace(0.05, 8)):
        queue, readers = Queue(meter.redis), [Connection(port) for _ in range(waits)]
        await queue.pauses.pause("standard", "a benchmark")
        for reader in readers:
            await reader.open()
        bodies = await ask_all(readers, [("POST", "/restore", small_photo())] * waits)
        asking: list[asyncio.Task[tuple[int, bytes]]] = []

        async def opening() -> int:
            for reader, body in zip(readers, bodies, strict=True):
                words = reader.ask("GET", f"/jobs/{json.loads(body)['id']}?wait=60")
                asking.append(asyncio.create_task(words))
            await asyncio.sleep(OPENING_S)
            return waits

        async def ending() -> int:
            await queue.pauses.resume("standard")
            answers = await asyncio.gather(*asking)
            assert all(json.loads(body)["status"] == "succeeded" for _, body in answers)
            return waits

        await meter.measure("wait begun", opening, net=True)
        begun = meter.costs[-1]
        await meter.measure("wait ended", ending, net=True)
        ended = meter.costs.pop()
    meter.costs[-1] = Cost(
        what="wait", calls=waits, api_s=begun.api_s + ended.api_s, redis_s=2 * begun.redis_s,
        wall_s=begun.wall_s + ended.wall_s,
    )  # fmt: skip
    for reader in readers:
        reader.writer.close()


async def memory_of(redis: Any, jobs: Sequence[str]) -> float:  # noqa: ANN401
    """Returns the bytes of the Redis keys of a job that has ended, the mean of some, without its entries in indexes."""
    found = 0
    for job in jobs:
        for key in (f"undegrade:job:{job}", f"undegrade:events:{job}", f"undegrade:blobs:{job}", f"rq:job:{job}",
                    f"rq:results:{job}"):  # fmt: skip
            found += int(await redis.memory_usage(key, samples=0) or 0)
    return found / len(jobs)


async def open_streams(meter: Meter, connection: Connection, port: int, streams: int, idle_s: float) -> float:
    """Open event streams of one job, leave them alone, and then send an event to each.  Returns bytes of one stream."""
    _, body = await connection.ask("POST", "/restore", small_photo())
    job = json.loads(body)["id"]
    readers = [Connection(port) for _ in range(streams)]
    before = meter.api.memory_info().rss

    async def opening() -> int:
        for reader in readers:
            await reader.open()
            await reader.listen(f"/jobs/{job}/events")
        return streams

    await meter.measure("stream opened", opening)
    grown = meter.api.memory_info().rss - before
    dropping = [asyncio.create_task(reader.drop()) for reader in readers]

    async def nothing() -> int:
        await asyncio.sleep(idle_s)
        return round(streams * idle_s)

    await meter.measure("stream second", nothing)
    queue, events = Queue(meter.redis), 5
    leased, _ = await queue.lease([BUNDLE], LANES, 10, worker="w", token="t", held=0)
    assert job in [each.spec.id for each in leased]

    async def deliveries() -> int:
        for number in range(events):
            event = Event(id="", type="step.progress", data=Progress(fraction=number / 10).model_dump())
            await queue.report("t", job, Progress(fraction=number / 10), event=event)
            await settle(meter)
        return events * streams

    await meter.measure("event delivered", deliveries)
    for task in dropping:
        task.cancel()
    await asyncio.gather(*dropping, return_exceptions=True)
    for reader in readers:
        reader.writer.close()
    return grown / streams


async def settle(meter: Meter) -> None:
    """Return when the API has been quiet for a while."""
    quiet, last_s = 0, meter.api_s()
    while quiet < 4:
        await asyncio.sleep(0.25)
        now_s = meter.api_s()
        quiet, last_s = (quiet + 1 if now_s - last_s < 0.02 else 0), now_s
