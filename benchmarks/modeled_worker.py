"""Workers whose engine is modeled, many in one process: for benchmarks of everything around the engine.

Each one is the real supervisor of `undegrade worker`: it leases, renews, reclaims, announces, reads and writes the
store, reports progress and commits.  Three parts are exchanged: the engine child takes photos and answers after some
seconds, the codec neither decodes nor encodes, and the store counts its requests.
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from jobs import blob_store
from jobs.object_store import ObjectStore
from jobs.record import Outcome, PassRecord
from models.photo.read import Photo
from worker import shard_work, supervisor
from worker.engine_config import EngineConfig
from worker.engine_link import EngineLink
from worker.messages import Answer, Begun, Cancel, Command, Done, Loaded, PassProgress, Ready, StepProgress, Task
from worker.supervisor import Supervisor, WorkerConfig
from worker.watchdog import Vitals

STEP_S, STEPS = 0.25, 20
PIXELS = np.zeros((8, 8, 3), np.uint8)
PASS = PassRecord(label="noise", source="auto", by="specialist", probability_before=0.9, probability_after=0.1)
BUNDLE = "autodir-small"


@dataclass(frozen=True)
class Pace:
    """`job_s`: from begin to end of a photo; `together`: photos that a worker runs at a time."""

    job_s: float
    together: int


class ModeledEngine(EngineLink):
    """Answers as a child would: begin, assessment, steps while it takes longer than STEP_S, end."""

    def __init__(self, pace: Pace, config: EngineConfig, on_answer: Callable[[Answer | None], None]) -> None:
        super().__init__(config, on_answer)
        self.pace, self._waiting, self._running = pace, deque[Task](), dict[str, asyncio.TimerHandle]()

    async def start(self) -> None:
        loaded = Loaded(
            name=BUNDLE, family="autodir", version="0", license="", degradations=(), max_batch=self.pace.together,
            budget_mp=8.0, load_s=0.0,
        )  # fmt: skip
        self.ready = Ready(device="modeled", why="a benchmark", bundles=(loaded,))
        self.on_answer(self.ready)

    @property
    def alive(self) -> bool:
        return self.ready is not None

    def send(self, command: Command) -> bool:
        if isinstance(command, Task):
            self._waiting.append(command)
            asyncio.get_running_loop().call_soon(self._begin_next)
        elif isinstance(command, Cancel) and (timer := self._running.pop(command.id, None)):
            timer.cancel()
            self._begin_next()
        return True

    def _begin_next(self) -> None:
        while self._waiting and len(self._running) < self.pace.together:
            task = self._waiting.popleft()
            self.on_answer(Begun(task.id))
            self.on_answer(PassProgress(id=task.id, outcome=Outcome(degradations={"noise": 0.9})))
            self._wait(task, 0.0)

    def _wait(self, task: Task, done_s: float) -> None:
        pause_s = min(STEP_S, self.pace.job_s - done_s)
        act = partial(self._step, task, done_s + pause_s)
        self._running[task.id] = asyncio.get_running_loop().call_later(pause_s, act)

    def _step(self, task: Task, done_s: float) -> None:
        share = done_s / self.pace.job_s
        if share < 1:
            step = int(STEPS * share)
            self.on_answer(StepProgress(id=task.id, pass_index=0, passes=1, step=step, steps=STEPS, fraction=share))
            self._wait(task, done_s)
            return
        del self._running[task.id]
        outcome = Outcome(degradations={"noise": 0.9}, passes=(PASS,), stop_reason="clean", seed=0, steps=STEPS)
        self.on_answer(Done(id=task.id, outcome=outcome, pixels=PIXELS, work_s=self.pace.job_s / self.pace.together))
        self._begin_next()

    def vitals(self) -> Vitals | None:
        return None

    def memory_bytes(self) -> int | None:
        return None

    async def stop(self) -> None:
        self.ready = None


class ModeledCodec:
    """Takes any bytes for a photo, and returns as many bytes for a result."""

    def __init__(self, **_: object) -> None:
        self._data = b""

    async def warm_up(self) -> None: ...

    async def decode(self, data: bytes, *_: object) -> Photo:
        self._data = data
        return Photo(pixels=PIXELS, format="jpeg")

    async def encode(self, *_: object) -> tuple[bytes, str]:
        return self._data, "jpeg"

    def warnings(self, *_: object) -> tuple[str, ...]:
        return ()

    async def close(self) -> None: ...


@dataclass
class Requests:
    """Requests to the object store, by operation."""

    counted: Counter[str] = field(default_factory=Counter)

    def open_store(self, url: str, redis: Any, *words: Any) -> Any:  # noqa: ANN401 - as jobs.blob_store.open_store
        """Returns the store at a URL; an object store counts its requests here."""
        store = blob_store.open_store(url, redis, *words)
        if not isinstance(store, ObjectStore):
            return store
        counting = CountingStore(store.store, redis, store.kind, store.signer, *words)
        counting.requests = self.counted
        return counting


class CountingStore(ObjectStore):
    """Counts each request to the store behind it: put, get, delete or head."""

    requests: Counter[str]

    async def _call(self, function: Callable[..., Any], *arguments: object, **named: object) -> Any:  # noqa: ANN401
        self.requests[function.__name__.removeprefix("_").replace("read", "get")] += 1
        return await super()._call(function, *arguments, **named)


async def run_workers(urls: list[str], store_url: str, pace: Pace, ending: asyncio.Event, requests: Requests) -> None:
    """Run a worker for each of these settings, which name one Redis or several, until `ending` is set."""
    supervisor.EngineLink = partial(ModeledEngine, pace)  # type: ignore[misc, assignment]
    supervisor.CodecPool = ModeledCodec  # type: ignore[misc, assignment]
    shard_work.open_store = requests.open_store
    engine = EngineConfig(bundles={BUNDLE: Path()})
    workers = [Supervisor(WorkerConfig(redis_url=url, store_url=store_url, engine=engine, grace_s=5.0)) for url in urls]
    running = [asyncio.create_task(worker.run()) for worker in workers]
    await ending.wait()
    for worker in workers:
        worker.drain()
    await asyncio.gather(*running)


def worker_process(urls: list[str], store_url: str, pace: Pace, orders: Connection) -> None:
    """The program of a process of workers.  It ends when `orders` says anything, and answers its store's requests."""
    logging.disable()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    requests = Requests()

    async def run() -> None:
        ending = asyncio.Event()
        asyncio.get_running_loop().add_reader(orders.fileno(), ending.set)
        await run_workers(urls, store_url, pace, ending, requests)

    asyncio.run(run())
    orders.send(requests.counted)
