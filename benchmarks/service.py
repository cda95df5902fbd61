"""`make bench-service`: what the service adds to the model's own time, and what batching per step is worth.

    latency   one client, one photo at a time: HTTP against the same work in this process
    queue     no-op jobs through one worker, and Redis commands a job
    batching  step-level against job-level batching (collect N or wait T, run to the end): same engine, same networks,
              same Poisson arrivals

Each prints a markdown table; `--out` appends them to a dated file.  Run it on a quiet machine.
"""

import argparse
import asyncio
import io
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx
import numpy as np
import torch
from PIL import Image
from redis.asyncio import Redis

from cli.embedded import EmbeddedRedis
from jobs.queue import Queue
from jobs.spec import JobSpec
from models.bundle import find_bundle
from models.device import choose_device
from models.families import load_restorer
from models.images import to_pixels, to_tensor
from models.loop import restore_one
from models.photo import read_photo
from models.photo_write import encode_photo
from models.restorer import Controls, Request, Restorer
from worker.engine import Engine
from worker.messages import Answer, Done, Failed, Pixels, Task
from worker.picking import Limits

PHOTO = Path(__file__).parents[1] / "examples" / "raccoon-noisy.jpg"
CONTROLS = {"prompt": "remove the noise", "steps": 1, "seed": 1}
WAIT_S = 0.5
COLLECT = 8


def quantiles(values: Sequence[float]) -> tuple[float, float, float]:
    """p50, p95 and p99."""
    return tuple(float(v) for v in np.percentile(values, [50, 95, 99]))  # type: ignore[return-value]


def crop(side: int) -> Image.Image:
    with Image.open(PHOTO) as photo:
        return photo.convert("RGB").crop((0, 0, side, side))


def png(side: int) -> bytes:
    data = io.BytesIO()
    crop(side).save(data, "PNG")
    return data.getvalue()


@contextmanager
def serving() -> Iterator[str]:
    """`undegrade serve` as a user starts it; its URL."""
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "XDG_STATE_HOME": folder}
        log = Path(folder) / "log"
        with log.open("wb") as output:
            words = [sys.executable, "-m", "cli", "serve", "--port", "8765", "--device", "cpu"]
            child = subprocess.Popen(words, stdout=output, stderr=output, env=env)
        try:
            while "Restore a photo with" not in log.read_text():
                if child.poll() is not None:
                    raise RuntimeError(log.read_text())
                time.sleep(0.1)
            yield "http://127.0.0.1:8765"
        finally:
            child.terminate()
            child.wait(60)


def latency(repeats: int) -> Iterator[str]:
    """HTTP and in-process by turns, so that both meet the same machine."""
    restorer, data = load_restorer(find_bundle(), torch.device("cpu")), png(128)

    def in_process() -> None:
        photo = read_photo(data)
        restored = restore_one(restorer, Request(image=to_tensor(photo.pixels), controls=Controls(**CONTROLS)))
        encode_photo(type(photo)(pixels=to_pixels(restored.image), format="png"))

    with serving() as url, httpx.Client(base_url=url, timeout=60) as client:

        def over_http() -> None:
            headers = {"Content-Type": "image/png", "Accept": "image/*"}
            client.post("/restore", params=CONTROLS, content=data, headers=headers).raise_for_status()

        for _ in range(10):
            in_process()
            over_http()
        rows = [(timed(in_process), timed(over_http)) for _ in range(repeats)]
    own, whole = quantiles([row[0] for row in rows]), quantiles([row[1] for row in rows])
    yield "| 128 px PNG, one client, ms | p50 | p95 | p99 |"
    yield "|---|---|---|---|"
    yield "| in this process | " + " | ".join(f"{1000 * v:.1f}" for v in own) + " |"
    yield "| POST /restore, Accept: image/* | " + " | ".join(f"{1000 * v:.1f}" for v in whole) + " |"
    added = [row[1] - own[0] for row in rows]
    yield "| added over the in-process median | " + " | ".join(f"{1000 * v:.1f}" for v in quantiles(added)) + " |"


def timed(action: Callable[[], None]) -> float:
    start_s = time.perf_counter()
    action()
    return time.perf_counter() - start_s


def queue(count: int) -> Iterator[str]:
    """One worker process, its engine loaded; the jobs are in line before it starts."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedRedis(Path(folder)) as redis:
        rate, calls, inner = asyncio.run(_drain(redis.url, count))
    yield "| no-op jobs through one worker | |"
    yield "|---|---|"
    yield f"| jobs/s | {rate:,.0f} |"
    yield f"| Redis calls a job, the worker's | {calls:.2f} |"
    yield f"| commands a job, those inside the scripts included | {inner:.1f} |"


async def _drain(url: str, count: int) -> tuple[float, float, float]:
    async with Redis.from_url(url) as client:
        jobs = Queue(client)
        words = [sys.executable, "-m", "cli", "worker", "--redis-url", url, "--device", "cpu", "--lanes", "standard"]
        with subprocess.Popen(words, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as worker:
            while not await jobs.workers():
                await asyncio.sleep(0.1)
            # In a lane that it does not serve, then moved over at once: submitting costs as much as draining
            for _ in range(count):
                await jobs.submit(noop("bulk"), 10**9)
            before = await commands(client)
            start_s = time.perf_counter()
            await client.rename("rq:queue:autodir-small.bulk", "rq:queue:autodir-small.standard")
            while (await client.hget("undegrade:counters", "ended:autodir-small:succeeded") or b"0") != b"%d" % count:
                await asyncio.sleep(0.05)
            spent_s = time.perf_counter() - start_s
            after = await commands(client)
            worker.terminate()
    calls = (after[0] - before[0]) / count
    return count / spent_s, calls, (after[1] - before[1]) / count


def noop(lane: str) -> JobSpec:
    now_ms = int(time.time() * 1000)
    return JobSpec(id=uuid4().hex, kind="noop", bundle="autodir-small", lane=lane, submitted_ms=now_ms)  # type: ignore[arg-type]


async def commands(client: "Redis") -> tuple[int, int]:
    """Scripts called, and everything that the server did."""
    stats = await client.info("commandstats")
    total = sum(int(entry["calls"]) for entry in stats.values())
    return int(stats.get("cmdstat_evalsha", {"calls": 0})["calls"]), total


@dataclass(frozen=True)
class Arrival:
    """A photo that comes at this second of the run."""

    at_s: float
    pixels: Pixels
    steps: int


def arrivals(rate: float, seconds: float, seed: int) -> list[Arrival]:
    """Poisson arrivals of three sizes and 2 to 12 steps."""
    rng, at_s, found = np.random.default_rng(seed), 0.0, []
    pictures = [np.asarray(crop(side)) for side in (96, 160, 256)]
    while (at_s := at_s + rng.exponential(1 / rate)) < seconds:
        found.append(Arrival(at_s, pictures[rng.integers(3)], int(rng.integers(2, 13))))
    return found


def replay(restorer: Restorer, coming: Sequence[Arrival], together: int, by_job: bool) -> tuple[list[float], float]:
    """Latencies and the seconds that all took, in real time."""
    ended: dict[str, float] = {}

    def say(answer: Answer) -> None:
        if isinstance(answer, Done | Failed):
            ended[answer.id] = time.perf_counter() - start_s

    engine = Engine(restorer, Limits(together=together, megapixels=8.0), say)
    batch: list[int] = []
    told: dict[str, float] = {}
    following, start_s = 0, time.perf_counter()
    while len(told) < len(coming):
        now_s = time.perf_counter() - start_s
        while following < len(coming) and coming[following].at_s <= now_s:
            batch.append(following)
            following += 1
        if batch and (not by_job or (not engine.busy and _collected(batch, coming, now_s, following))):
            for index in batch[: COLLECT if by_job else None]:
                engine.admit(_task(index, coming[index]))
            batch = batch[COLLECT:] if by_job else []
        if engine.busy:
            engine.turn()
        else:
            time.sleep(0.001)
        if not by_job or not engine.busy:  # job-level batching answers when the whole batch is done
            at_s = time.perf_counter() - start_s
            told.update({job: (at_s if by_job else s) for job, s in ended.items() if job not in told})
    return [told[str(i)] - entry.at_s for i, entry in enumerate(coming)], time.perf_counter() - start_s


def _collected(batch: list[int], coming: Sequence[Arrival], now_s: float, following: int) -> bool:
    full = len(batch) >= COLLECT or following == len(coming)
    return full or now_s - coming[batch[0]].at_s >= WAIT_S


def _task(index: int, entry: Arrival) -> Task:
    controls = {"prompt": "remove the noise", "steps": entry.steps, "seed": index}
    return Task(id=str(index), pixels=entry.pixels, controls=controls, since_s=entry.at_s)


def batching(seconds: float, device: str) -> Iterator[str]:
    chosen = choose_device(device)
    restorer = load_restorer(find_bundle(), chosen.device)
    probe = arrivals(50.0, 1.0, seed=3)
    for entry in probe[:3]:
        restore_one(restorer, Request(image=to_tensor(entry.pixels), controls=Controls(prompt="noise", steps=2)))
    start_s = time.perf_counter()
    for entry in probe:
        controls = Controls(prompt="remove the noise", steps=entry.steps)
        restore_one(restorer, Request(image=to_tensor(entry.pixels), controls=controls))
    each_s = (time.perf_counter() - start_s) / len(probe)
    best = 1 if chosen.device.type == "cpu" else COLLECT
    yield f"one photo alone takes {each_s:.3f} s on average; 96, 160 and 256 px, 2 to 12 steps"
    yield ""
    yield "| load | batching | photos | p50 s | p95 s | photos/s |"
    yield "|---|---|---|---|---|---|"
    for load in (0.5, 0.8):
        coming = arrivals(load / each_s, seconds, seed=int(100 * load))
        for name, together, by_job in (
            (f"per step, up to {best}", best, False),
            (f"per job, up to {COLLECT} or {WAIT_S} s", COLLECT, True),
        ):
            times, spent_s = replay(restorer, coming, together, by_job)
            p50, p95, _ = quantiles(times)
            yield f"| {load:.0%} | {name} | {len(coming)} | {p50:.2f} | {p95:.2f} | {len(coming) / spent_s:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["latency", "queue", "batching"])
    parser.add_argument("--repeats", type=int, default=200, help="requests of `latency`")
    parser.add_argument("--jobs", type=int, default=5000, help="jobs of `queue`")
    parser.add_argument("--seconds", type=float, default=60.0, help="of arrivals at each load of `batching`")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, help="append to this file too")
    arguments = parser.parse_args()
    parts: dict[str, Callable[[], Iterator[str]]] = {
        "latency": lambda: latency(arguments.repeats),
        "queue": lambda: queue(arguments.jobs),
        "batching": lambda: batching(arguments.seconds, arguments.device),
    }
    conditions = (
        f"{platform.machine()} · {os.cpu_count()} cores · torch {torch.__version__} · Python {sys.version.split()[0]}"
    )
    for part in arguments.parts:
        for line in (f"\n## {part} ({conditions})\n", *parts[part]()):
            print(line, flush=True)
            if arguments.out:
                with arguments.out.open("a") as out:
                    out.write(line + "\n")


if __name__ == "__main__":
    main()
