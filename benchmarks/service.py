"""Measure the overhead of the service, and the gain of batching per step (`make bench-service`).

    latency   one client, one photo at a time: HTTP compared with the same work in this process
    queue     no-op jobs through one worker, and Redis commands per job
    batching  batching per step compared with batching per job (collect N photos or wait T seconds, then run all to the
              end), with the same engine, networks and Poisson arrivals

Each part prints a markdown table; --out also appends it to a file.  Run it on a machine without other work.

Example: python benchmarks/service.py latency --repeats 200
"""

import asyncio
import io
import itertools
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import numpy as np
import torch
from conditions import NOISY_PHOTO, Timer, header, make_parser
from PIL import Image
from redis.asyncio import Redis
from served import serving

from cli.embedded_redis import EmbeddedRedis
from jobs.queue import Queue
from jobs.spec import JobControls, JobSpec
from models.bundle import find_bundle
from models.controls import Controls
from models.device import choose_device
from models.drive import restore_one
from models.families import load_restorer
from models.photo.read import read_photo
from models.photo.write import encode_photo
from models.pixels import to_pixels, to_tensor
from models.restorer import Request, Restorer
from worker import picking
from worker.engine import Engine
from worker.engine_entry import Resident
from worker.messages import Answer, Done, Failed, Pixels, Task
from worker.picking import BatchLimits

CONTROLS: dict[str, Any] = {"prompt": "remove the blur", "steps": 1, "seed": 1}
WAIT_S = 0.5
COLLECT = 8
BLOCK = 10
AHEAD = 4
"""The default of WorkerConfig.ahead."""


def quantiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Returns p50, p95 and p99."""
    return tuple(float(v) for v in np.percentile(values, [50, 95, 99]))  # type: ignore[return-value]


def crop(side: int) -> Image.Image:
    with Image.open(NOISY_PHOTO) as photo:
        return photo.convert("RGB").crop((0, 0, side, side))


def png(side: int) -> bytes:
    data = io.BytesIO()
    crop(side).save(data, "PNG")
    return data.getvalue()


def latency(repeats: int) -> Iterator[str]:
    """Measure HTTP and in-process in alternating blocks, so that load and caches affect both alike."""
    restorer, data = load_restorer(find_bundle(), torch.device("cpu")), png(128)

    def in_process() -> None:
        photo = read_photo(data)
        restored = restore_one(restorer, Request(image=to_tensor(photo.pixels), controls=Controls(**CONTROLS)))
        encode_photo(type(photo)(pixels=to_pixels(restored.image), format="png"))

    with serving() as served, closing(HTTPConnection("127.0.0.1", served.port, timeout=60)) as client:

        def over_http() -> None:
            headers = {"Content-Type": "image/png", "Accept": "image/*"}
            client.request("POST", "/restore?" + urlencode(CONTROLS), data, headers)
            with client.getresponse() as answer:
                picture = answer.read()
            if answer.status != 200:
                raise RuntimeError(picture.decode())

        for _ in range(10):
            in_process()
            over_http()
        blocks: list[tuple[list[float], list[float]]] = []
        for _ in range(-(-repeats // BLOCK)):
            pair = []
            for action in (in_process, over_http):
                action()  # warm-up
                pair.append([wall_seconds(action) for _ in range(BLOCK)])
            blocks.append((pair[0], pair[1]))
    yield from _added(blocks)


def _added(blocks: Sequence[tuple[list[float], list[float]]]) -> Iterator[str]:
    """Yields the quantiles of both sides, their difference, and the difference of the medians by block."""
    own, whole = (quantiles(list(itertools.chain.from_iterable(side))) for side in zip(*blocks, strict=True))
    yield "| 128 px PNG, one client, ms | p50 | p95 | p99 |"
    yield "|---|---|---|---|"
    yield "| in this process | " + " | ".join(f"{1000 * v:.1f}" for v in own) + " |"
    yield "| POST /restore, Accept: image/* | " + " | ".join(f"{1000 * v:.1f}" for v in whole) + " |"
    yield (
        "| added: the difference | "
        + " | ".join(f"{1000 * (b - a):.1f}" for a, b in zip(own, whole, strict=True))
        + " |"
    )
    differences = [1000 * (median(there) - median(here)) for here, there in blocks]
    low, middle, high = (float(v) for v in np.percentile(differences, [25, 50, 75]))
    yield ""
    spread = f"quartiles {low:.1f}, {high:.1f}"
    yield f"{len(blocks)} pairs of {BLOCK} requests: medians differ by {middle:.1f} ms ({spread})."


def wall_seconds(action: Callable[[], None]) -> float:
    with Timer() as timer:
        action()
    return timer.wall_s


def queue(count: int) -> Iterator[str]:
    """Measure one worker process that has loaded its engine; all jobs are queued before it starts."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedRedis(Path(folder)) as redis:
        rate, calls, inner = asyncio.run(_drain(redis.url, count))
    yield "| no-op jobs through one worker | |"
    yield "|---|---|"
    yield f"| jobs/s | {rate:,.0f} |"
    yield f"| Redis script calls of the worker per job | {calls:.2f} |"
    yield f"| Redis commands per job, including those inside scripts | {inner:.1f} |"


async def _drain(url: str, count: int) -> tuple[float, float, float]:
    async with Redis.from_url(url) as client:
        jobs = Queue(client)
        words = [sys.executable, "-m", "cli", "worker", "--redis-url", url, "--device", "cpu", "--lanes", "standard"]
        with subprocess.Popen(words, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as worker:
            while not await jobs.workers.alive():
                await asyncio.sleep(0.1)
            # Submitting takes as long as draining: submit to a lane that the worker does not serve, then move all jobs
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
    """Returns the number of script calls and of all commands."""
    stats = await client.info("commandstats")
    total = sum(int(entry["calls"]) for entry in stats.values())
    return int(stats.get("cmdstat_evalsha", {"calls": 0})["calls"]), total


@dataclass(frozen=True)
class Arrival:
    """A photo that arrives at this second of the run."""

    at_s: float
    pixels: Pixels
    steps: int


@dataclass(frozen=True)
class Mix:
    """Photo sizes, and how many photos of one shape share a step."""

    name: str
    sides: tuple[int, ...]
    together: int


def arrivals(mix: Mix, rate: float, seconds: float, seed: int) -> list[Arrival]:
    """Returns Poisson arrivals with the sizes of the mix and 2 to 12 steps."""
    rng, at_s, found = np.random.default_rng(seed), 0.0, []
    pictures = [np.asarray(crop(side)) for side in mix.sides]
    while (at_s := at_s + rng.exponential(1 / rate)) < seconds:
        found.append(Arrival(at_s, pictures[rng.integers(len(pictures))], int(rng.integers(2, 13))))
    return found


class Clock:
    """CPU time of this process on a CPU, which other programs do not affect; wall time on a GPU.

    Idle time is skipped, so a run takes no longer than its work.
    """

    def __init__(self, of_cpu: bool) -> None:
        self._read = time.process_time if of_cpu else time.perf_counter
        self._offset_s = -self._read()

    def now_s(self) -> float:
        return self._read() + self._offset_s

    def skip(self, to_s: float) -> None:
        self._offset_s += max(0.0, to_s - self.now_s())


class Replay:
    """Feeds photos into one engine as they arrive; a policy decides when they enter."""

    def __init__(self, restorer: Restorer, coming: Sequence[Arrival], together: int) -> None:
        self.coming = coming
        self.clock = Clock(of_cpu=torch.get_num_threads() == 1)
        self.finished_at_s: dict[int, float] = {}
        self.arrived, self.entered = 0, 0
        self.engine = Engine(
            {"": Resident(restorer, BatchLimits(max_batch=together, megapixels=8.0))}, self._record, self.now_s
        )

    def _record(self, answer: Answer) -> None:
        if isinstance(answer, Done | Failed):
            self.finished_at_s[int(answer.id)] = self.now_s()

    def now_s(self) -> float:
        return self.clock.now_s()

    @property
    def waiting(self) -> int:
        return self.arrived - self.entered

    def enter(self, most: int) -> None:
        """Admit the photos that have waited longest."""
        for index in range(self.entered, min(self.arrived, self.entered + most)):
            self.engine.admit(_task(index, self.coming[index]))
            self.entered += 1

    def turn(self, until_s: float | None = None) -> None:
        """Register arrivals, then run one step; an idle engine skips to the next arrival or to `until_s`."""
        now_s = self.now_s()
        while self.arrived < len(self.coming) and self.coming[self.arrived].at_s <= now_s:
            self.arrived += 1
        if self.engine.busy:
            self.engine.turn()
            return
        following = [self.coming[self.arrived].at_s] if self.arrived < len(self.coming) else []
        if events := following + ([until_s] if until_s is not None else []):
            self.clock.skip(min(events))

    def latencies(self) -> list[float]:
        return [self.finished_at_s[i] - entry.at_s for i, entry in enumerate(self.coming)]


def by_step(restorer: Restorer, coming: Sequence[Arrival], together: int) -> tuple[list[float], float]:
    """Batch per step, like the worker: a full batch and AHEAD more are admitted, and finished photos leave."""
    run = Replay(restorer, coming, together)
    while len(run.finished_at_s) < len(coming):
        run.enter(together + AHEAD - (run.entered - len(run.finished_at_s)))
        run.turn()
    return run.latencies(), run.now_s()


def in_turn(restorer: Restorer, coming: Sequence[Arrival], together: int) -> tuple[list[float], float]:
    """Batch per step, but without priority for photos that are nearly finished."""
    usual, picking.HANDICAP = picking.HANDICAP, 0.0
    try:
        return by_step(restorer, coming, together)
    finally:
        picking.HANDICAP = usual


def by_job(restorer: Restorer, coming: Sequence[Arrival], together: int) -> tuple[list[float], float]:
    """Batch per job: collect up to COLLECT photos or wait WAIT_S, run all to the end, then return all."""
    run = Replay(restorer, coming, together)
    first = 0
    while len(run.finished_at_s) < len(coming):
        late_s = coming[run.entered].at_s + WAIT_S if run.waiting else None
        full = run.waiting >= COLLECT or run.arrived == len(coming)
        if not run.engine.busy and (full or (late_s is not None and run.now_s() >= late_s)):
            first = run.entered
            run.enter(COLLECT)
        run.turn(late_s)
        if not run.engine.busy:
            run.finished_at_s.update({i: run.now_s() for i in range(first, run.entered)})
            first = run.entered
    return run.latencies(), run.now_s()


def _task(index: int, entry: Arrival) -> Task:
    controls = JobControls(prompt="remove the blur", steps=entry.steps, seed=index)
    return Task(id=str(index), pixels=entry.pixels, controls=controls, since_s=entry.at_s)


def capacity(restorer: Restorer, mix: Mix, count: int) -> float:
    """Returns the photos per second when all are queued at the start and batched per step: 100 % load."""
    photos = arrivals(mix, 50.0, count / 50.0, seed=3)
    together = [Arrival(0.0, entry.pixels, entry.steps) for entry in photos]
    by_step(restorer, together[:3], mix.together)  # warm-up
    return len(together) / by_step(restorer, together, mix.together)[1]


POLICIES = {"per step": by_step, "per step, first come, first served": in_turn, "per job": by_job}


def batching(seconds: float, device: str) -> Iterator[str]:
    chosen = choose_device(device)
    restorer = load_restorer(find_bundle(), chosen.device)
    usual = 1 if chosen.device.type == "cpu" else COLLECT
    mixes = (
        Mix("96, 160 and 256 px", (96, 160, 256), usual),
        Mix("96 px alone", (96,), COLLECT),
    )
    yield f"2 to 12 steps; a batch per job: {COLLECT} photos or {WAIT_S} s; 100 % load: all photos queued at the start"
    if torch.get_num_threads() == 1:
        yield "seconds are CPU time of this process"
    yield ""
    yield "| photos | photos per step | 100 % load | load | batching | n | p50 s | p95 s | photos/s |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for mix in mixes:
        full = capacity(restorer, mix, 60)
        for load in (0.5, 0.8):
            coming = arrivals(mix, load * full, seconds, seed=int(100 * load))
            for name, policy in POLICIES.items():
                times, spent_s = policy(restorer, coming, mix.together)
                p50, p95, _ = quantiles(times)
                yield (
                    f"| {mix.name} | {mix.together} | {full:.2f}/s | {load:.0%} | {name} | {len(coming)} | {p50:.2f} "
                    f"| {p95:.2f} | {len(coming) / spent_s:.2f} |"
                )


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument(
        "parts", nargs="*", default=["latency", "queue", "batching"], help="latency, queue, batching (default: all)"
    )
    parser.add_argument("--repeats", type=int, default=200, help="requests in the latency part")
    parser.add_argument("--jobs", type=int, default=5000, help="jobs in the queue part")
    parser.add_argument("--seconds", type=float, default=60.0, help="seconds of arrivals per load in the batching part")
    parser.add_argument("--device", default="auto", help="device of the batching part (default: auto)")
    parser.add_argument("--out", type=Path, help="also append the tables to this file")
    arguments = parser.parse_args()
    parts: dict[str, Callable[[], Iterator[str]]] = {
        "latency": lambda: latency(arguments.repeats),
        "queue": lambda: queue(arguments.jobs),
        "batching": lambda: batching(arguments.seconds, arguments.device),
    }
    for part in arguments.parts:
        for line in itertools.chain(["", header(part), ""], parts[part]()):
            print(line, flush=True)
            if arguments.out:
                with arguments.out.open("a") as out:
                    out.write(line + "\n")


if __name__ == "__main__":
    main()
