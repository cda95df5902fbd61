"""A real Valkey, real workers with the shipped bundle, and a client that submits jobs as the API does."""

import asyncio
import hashlib
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
from PIL import Image
from redis.asyncio import Redis

from cli.embedded_redis import EmbeddedRedis
from jobs.blob_store import open_store
from jobs.queue import Queue
from jobs.record import JobRecord
from jobs.spec import JobControls, JobSpec, Output, Source

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "models" / "bundles" / "autodir-small"
PHOTO = ROOT / "examples" / "raccoon-noisy.jpg"
READY_S = 300


def noisy_crop(index: int) -> bytes:
    """One of many noisy PNGs of mixed sizes."""
    side = (64, 96, 128)[index % 3]
    left, top = (index * 37) % 150, (index * 53) % 100
    with Image.open(PHOTO) as photo:
        cut = photo.convert("RGB").crop((left, top, left + side, top + 96))
    data = io.BytesIO()
    cut.save(data, "PNG")
    return data.getvalue()


def spec(data: bytes, **fields) -> JobSpec:
    job = fields.pop("id", None) or uuid4().hex
    with Image.open(io.BytesIO(data)) as image:
        width, height = image.size
    source = Source(
        blob=f"{job}/input", bytes=len(data), sha256=hashlib.sha256(data).hexdigest(), format="png", width_px=width,
        height_px=height,
    )  # fmt: skip
    controls = JobControls(**{"steps": 2, "max_passes": 1, "seed": 5, **fields.pop("controls", {})})
    return JobSpec(
        id=job, bundle=fields.pop("bundle", "autodir-small"), submitted_ms=int(time.time() * 1000), controls=controls,
        source=source, output=Output(passes=False), **fields,
    )  # fmt: skip


class Worker:
    """`undegrade worker` as a process."""

    def __init__(self, url: str, folder: Path, *words: str) -> None:
        self.log = folder / f"worker-{uuid4().hex[:6]}.log"
        env = {**os.environ, "OMP_NUM_THREADS": "1", "UNDEGRADE_THREADS": "1"}
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cli", "worker", "--redis-url", url, "--device", "cpu", *words],
                stdout=output, stderr=output, env=env, cwd=ROOT, start_new_session=True,
            )  # fmt: skip

    def engine(self) -> psutil.Process:
        """The engine child: the only child with torch's memory."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        return max(children, key=lambda child: child.memory_info().rss)

    def kill(self, number: int = signal.SIGKILL) -> None:
        self.process.send_signal(number)

    def wait(self, timeout: float = 60) -> int:
        return self.process.wait(timeout)


class Place:
    """A queue with its store and its workers.  `place.run(scenario)` gives a scenario a client on its own loop."""

    def __init__(self, redis: EmbeddedRedis, folder: Path) -> None:
        self.redis, self.folder = redis, folder
        self.workers: list[Worker] = []

    def worker(self, *words: str) -> Worker:
        worker = Worker(self.redis.url, self.folder, *words)
        self.workers.append(worker)
        return worker

    def run(self, scenario, timeout: float = 200):
        async def with_client():
            async with Redis.from_url(self.redis.url) as client:
                return await asyncio.wait_for(scenario(Client(client)), timeout)

        return asyncio.run(with_client())

    def logs(self) -> str:
        return "\n".join(worker.log.read_text() for worker in self.workers)


class Client:
    """Uses the queue as the API does."""

    def __init__(self, redis: Redis) -> None:
        self.redis, self.queue, self.store = redis, Queue(redis), open_store("redis://", redis)

    async def ready(self, count: int = 1) -> None:
        until_s = time.monotonic() + READY_S
        while sum(worker.ready for worker in await self.queue.workers.alive()) < count:
            assert time.monotonic() < until_s, "no worker got ready"
            await asyncio.sleep(0.1)

    async def submit(self, data: bytes, stored: bool = True, **fields) -> JobSpec:
        job = spec(data, **fields)
        if stored:
            await self.store.put(job.source.blob, data, 3600)
        await self.queue.submit(job, 10_000)
        return job

    async def record(self, job: JobSpec) -> JobRecord:
        record = await self.queue.record(job.id)
        assert record is not None
        return record

    async def until(self, job: JobSpec, condition, timeout: float = 120) -> JobRecord:
        until_s = time.monotonic() + timeout
        while not condition(record := await self.record(job)):
            assert time.monotonic() < until_s, f"still {record.state}: {record}"
            await asyncio.sleep(0.02)
        return record

    async def ended(self, *jobs: JobSpec, timeout: float = 120) -> list[JobRecord]:
        return [await self.until(job, lambda record: record.state.over, timeout) for job in jobs]

    async def picture(self, record: JobRecord) -> bytes:
        assert record.outcome.result is not None, record
        return await self.store.get(record.outcome.result.blob)

    async def ends(self, job: JobSpec) -> int:
        """Returns how often a job ended: the number of its final events."""
        return sum(e.type in ("completed", "failed", "canceled") for e in await self.queue.events(job.id))


@pytest.fixture
def place(tmp_path):
    if not BUNDLE.is_dir():
        pytest.skip("models/bundles/autodir-small is not there")
    with EmbeddedRedis(tmp_path / "redis") as redis:
        here = Place(redis, tmp_path)
        yield here
        for worker in here.workers:
            if worker.process.poll() is None:
                worker.kill()
            worker.process.wait(30)


@pytest.fixture
def crop():
    return noisy_crop
