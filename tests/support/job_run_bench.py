"""A job's run with a fake engine, store, codec and queue: each fake keeps what it is told."""

import asyncio
from dataclasses import dataclass, field

import numpy as np

from jobs.errors import BlobMissing
from jobs.lease import Finished, Leased
from jobs.record import Outcome, PassRecord, Progress
from jobs.spec import JobSpec, Source
from models.photo.read import Photo
from worker.job_run import JobRun
from worker.job_services import JobServices
from worker.messages import Cancel, Done, Failed, StepProgress, Task

ID = "0" * 32
PIXELS = np.zeros((8, 8, 3), np.uint8)
PASS = PassRecord(label="noise", source="auto", probability_before=0.9, probability_after=0.1, kept=True, seconds=1)


def outcome_of(passes=0, stop_reason=None):
    return Outcome(degradations={"noise": 0.9}, passes=(PASS,) * passes, stop_reason=stop_reason, seed=3, steps=2)


def stepped(step=1):
    return StepProgress(id=ID, pass_index=0, passes=1, step=step, steps=2, fraction=step / 2)


DONE = Done(id=ID, outcome=outcome_of(1, "clean"), pixels=PIXELS)


@dataclass
class FakeQueue:
    error: Exception | None = None
    reports: list[tuple[Progress, Outcome | None, str]] = field(default_factory=list)

    async def report(self, token, job, progress, outcome=None, event=None, number=None):
        if self.error:
            raise self.error
        self.reports.append((progress, outcome, event.type if event else "started"))
        return True


@dataclass
class FakeStore:
    beside_queue: bool = False
    blobs: dict[str, bytes] = field(default_factory=lambda: {"input": b"file"})

    async def get(self, name):
        if name not in self.blobs:
            raise BlobMissing(f"there is no blob {name}")
        return self.blobs[name]

    async def put(self, name, data, keep_s, *, replicated=True):
        self.blobs[name] = data

    async def delete(self, *names):
        for name in names:
            self.blobs.pop(name, None)


@dataclass
class FakeCodec:
    decode_error: Exception | None = None
    encode_error: Exception | None = None

    async def decode(self, data, crop=None, scale=1):
        await asyncio.sleep(0)
        if self.decode_error:
            raise self.decode_error
        return Photo(pixels=PIXELS, format="png")

    async def encode(self, photo, pixels, kind=None, quality=None, metadata=True, marking=None):
        if self.encode_error:
            raise self.encode_error
        return f"a {kind or 'png'} file".encode(), kind or "png"

    def warnings(self, photo, kind):
        return ("kept no alpha",) if kind == "jpeg" else ()


class FakeEngine:
    """Answers each task with these answers; without any, it never answers."""

    def __init__(self, *answers) -> None:
        self.answers, self.sent, self.run = answers, [], None

    def send(self, command):
        self.sent.append(command)
        if isinstance(command, Task):
            for answer in self.answers:
                self.run.answers.put_nowait(answer)
        return True

    @property
    def at_work(self) -> bool:
        """Whether it still has a task: it neither ended it nor was told to drop it."""
        ended = any(isinstance(answer, Done | Failed) for answer in self.answers)
        given = any(isinstance(command, Task) for command in self.sent)
        return given and not ended and not any(isinstance(command, Cancel) for command in self.sent)


class Bench:
    def __init__(self, *answers, queue=None, codec=None, store=None, cancel=False, **fields) -> None:
        self.now_s = 0.0
        self.engine, self.queue, self.store = FakeEngine(*answers), queue or FakeQueue(), store or FakeStore()
        source = Source(blob="input", bytes=4, sha256="", format="png", width_px=8, height_px=8)
        spec = JobSpec(**{"id": ID, "bundle": "b", "submitted_ms": 1, "source": source, **fields})
        services = JobServices(
            queue=self.queue,
            store=self.store,
            codec=codec or FakeCodec(),
            engine=self.engine,
            token="w:12345678",
        )
        self.run = JobRun(
            Leased(spec=spec, attempts=1, deaths=0, run_alone=False, cancel=cancel), services, lambda: self.now_s
        )
        self.engine.run = self.run

    def end(self) -> Finished:
        return asyncio.run(asyncio.wait_for(self.run.run(), 30))
