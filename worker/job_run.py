"""One leased job from its blob to its commit: fetch, decode, engine, encode, store."""

import asyncio
import hashlib
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar
from uuid import uuid4

import structlog
from redis.exceptions import RedisError

from jobs import redis_keys
from jobs.errors import BlobMissing, StoreError
from jobs.queue import Event, Leased, Queue
from jobs.record import Failure, Outcome, PassRecord, Progress, Result, State
from jobs.spec import LANES, JobSpec
from jobs.store import CARRIED_BYTES, Blob, BlobStore
from models.errors import PhotoError
from models.photo.read import Photo
from worker.codec import Pictures, TooHard
from worker.messages import Answer, Cancel, Done, Failed, Passed, Pixels, Stepped, Task

T = TypeVar("T")
log = structlog.get_logger()
REPORT_EVERY_S = 0.25
"""Of a job's steps; a browser draws no faster, and Redis has better things to do."""


class Abandoned(Exception):
    """This job is no longer ours to finish: its lease was lost, or it goes back into line."""


class EngineAway(Exception):
    """The engine is being replaced; the job goes back into line, and it is not its fault."""


class Ended(Exception):
    """The job ends here, in this state."""

    def __init__(self, state: State, failure: Failure | None = None) -> None:
        super().__init__(state)
        self.state, self.failure = state, failure


class Engines(Protocol):
    """The engine child as a job sees it."""

    def send(self, command: Task | Cancel) -> bool: ...


@dataclass(frozen=True, kw_only=True)
class Room:
    """What jobs are handled with."""

    queue: Queue
    store: BlobStore
    pictures: Pictures
    engine: Engines
    token: str


@dataclass(eq=False)
class JobRun:
    """A job in this worker's hands."""

    leased: Leased
    room: Room
    answers: "asyncio.Queue[Answer | Ended | Abandoned]" = field(default_factory=asyncio.Queue)
    # This try's own: what is said to the engine about an earlier try of the same job must not reach this one
    task_id: str = ""
    in_engine: bool = False
    seconds: dict[str, float] = field(default_factory=dict)
    blobs: list[str] = field(default_factory=list)
    carried: Blob | None = None  # goes into the store with the commit
    outcome: Outcome = field(default_factory=Outcome)
    reported_s: float = 0.0

    def __post_init__(self) -> None:
        self.task_id = f"{self.spec.id}.{uuid4().hex[:8]}"

    @property
    def spec(self) -> JobSpec:
        return self.leased.spec

    def interrupt(self, reason: Ended | Abandoned) -> None:
        """Cancel, expire or give up, from outside; the engine is told to drop it between two steps."""
        self.answers.put_nowait(reason)

    async def run(self) -> tuple[State, Outcome]:
        """Do it, and say how it ended; the caller commits.

        Raises:
            Abandoned: nothing is to be committed.
        """
        try:
            await self._work()
        except Ended as end:
            if end.failure:
                self.outcome = self._with(failure=end.failure)
            return end.state, self._with(seconds=self.seconds)
        finally:
            self.in_engine = False
        return State.SUCCEEDED, self._with(seconds=self.seconds)

    async def drop_input(self) -> None:
        """The job is over: nobody will need its input again.  What came with the job has gone with its end."""
        if self.spec.source is not None and self.leased.input is None:
            await self.room.store.delete(self.spec.source.blob)

    async def discard(self) -> None:
        """Remove what this run stored: its outcome does not count."""
        await self.room.store.delete(*self.blobs)

    def _with(self, **changes: Any) -> Outcome:  # noqa: ANN401 - the fields of Outcome
        return self.outcome.model_copy(update=changes)

    async def _work(self) -> None:
        if self.leased.cancel:
            raise Ended(State.CANCELED)
        deadline = self.spec.deadline_ms
        if deadline is not None and time.time() * 1000 > deadline:
            raise Ended(State.EXPIRED, _failure("deadline", "the deadline passed before the job was begun"))
        if self.spec.kind == "noop":
            return
        photo = await self._decoded()
        pixels = await self._computed(photo)
        if pixels is not None:
            await self._keep_result(photo, pixels)

    async def _decoded(self) -> Photo:
        source = self.spec.source
        if source is None:
            raise Ended(State.FAILED, _failure("input-missing", "the job names no image"))
        try:
            data = self.leased.input
            if data is None:
                data = await self._timed("fetch", self.room.store.get(source.blob))
            return await self._timed("decode", self.room.pictures.decode(data))
        except BlobMissing as error:
            raise Ended(State.FAILED, _failure("input-missing", str(error), "submit the image again")) from error
        except PhotoError as error:
            raise Ended(State.FAILED, _failure("bad-image", str(error), "save the image again and retry")) from error
        except TooHard as error:
            raise Ended(State.FAILED, _failure("bad-image", str(error), "save the image in another format")) from error

    async def _computed(self, photo: Photo) -> Pixels | None:
        task = Task(
            id=self.task_id, bundle=self.spec.bundle, pixels=photo.pixels, controls=self.spec.controls.model_dump(),
            lane=LANES.index(self.spec.lane), since_s=self.spec.submitted_ms / 1000,
            detect_only=self.spec.kind == "detect", pictures=self.spec.output.passes,
        )  # fmt: skip
        while not self.answers.empty():  # canceled while it was decoded
            if isinstance(asked := self.answers.get_nowait(), Ended | Abandoned):
                raise asked
        start_s, at_work = time.monotonic(), True
        self.reported_s = start_s  # what ends sooner needs no progress
        self.in_engine = True
        try:
            if not self.room.engine.send(task):
                raise EngineAway("the engine is being replaced")
            while True:
                answer = await self.answers.get()
                if isinstance(answer, (Ended, Abandoned)):
                    raise answer
                at_work = not isinstance(answer, Done | Failed)
                if isinstance(answer, Failed):
                    raise Ended(State.FAILED, _failure(answer.code, answer.detail, answer.hint))
                if isinstance(answer, Done):
                    self.outcome = self._found(answer.report)
                    return answer.pixels
                await self._tell(photo, answer)
        finally:
            self.in_engine = False
            if at_work:
                self.room.engine.send(Cancel(self.task_id))
            self.seconds["restore"] = round(time.monotonic() - start_s, 4)

    async def _tell(self, photo: Photo, answer: Answer) -> None:
        try:
            if isinstance(answer, Stepped):
                await self._tell_step(answer)
            elif isinstance(answer, Passed):
                await self._tell_pass(photo, answer)
        except (RedisError, StoreError, PhotoError, TooHard) as error:  # nobody hears how far it is; the work goes on
            log.warning("progress.untold", job=self.spec.id, error=str(error))

    async def _tell_step(self, at: Stepped) -> None:
        now_s = time.monotonic()
        if now_s - self.reported_s < REPORT_EVERY_S:
            return
        self.reported_s = now_s
        progress = _progress(at)
        event = Event(id="", type="step.progress", data=progress.model_dump())
        await self.room.queue.report(self.room.token, self.spec.id, progress, event=event)

    async def _tell_pass(self, photo: Photo, passed: Passed) -> None:
        """A pass has ended, or the first begins."""
        self.outcome = self._found(passed.report)
        done = len(self.outcome.passes)
        if passed.pixels is not None:
            await self._keep_pass(photo, passed.pixels, done)
        progress = Progress(fraction=0.0, pass_index=done, passes=max(done + 1, self.spec.controls.max_passes or 1))
        event = Event(
            id="", type="pass.completed" if done else "detected",
            data={"passes": done, "degradations": self.outcome.degradations},
        )  # fmt: skip
        await self.room.queue.report(self.room.token, self.spec.id, progress, self.outcome, event)

    def _found(self, report: dict[str, Any]) -> Outcome:
        """What the engine says, with the pictures that have been kept."""
        kept = {i: entry.blob for i, entry in enumerate(self.outcome.passes)}
        return self._with(
            degradations=report["degradations"],
            passes=tuple(PassRecord(**entry, blob=kept.get(i)) for i, entry in enumerate(report["passes"])),
            stop_reason=report["stop_reason"] or None,
            seed=report["seed"],
            steps=report["steps"],
            warnings=tuple(report["warnings"]),
        )

    async def _keep_pass(self, photo: Photo, pixels: Pixels, number: int) -> None:
        data, _ = await self.room.pictures.encode(photo, pixels, None, None, self.spec.output.metadata)
        blob = await self._stored(f"pass-{number}", data)
        last = self.outcome.passes[-1].model_copy(update={"blob": blob})
        self.outcome = self._with(passes=(*self.outcome.passes[:-1], last))

    async def _keep_result(self, photo: Photo, pixels: Pixels) -> None:
        output = self.spec.output
        try:
            data, kind = await self._timed(
                "encode",
                self.room.pictures.encode(photo, pixels, output.format, output.quality, output.metadata),
            )
        except (PhotoError, TooHard) as error:
            raise Ended(State.FAILED, _failure("encode", str(error), "ask for another format")) from error
        blob = await self._timed("store", self._stored("result", data, may_wait=True))
        height, width = pixels.shape[:2]
        result = Result(
            blob=blob, bytes=len(data), sha256=hashlib.sha256(data).hexdigest(), format=kind, width_px=width,
            height_px=height,
        )  # fmt: skip
        warnings = (*self.outcome.warnings, *self.room.pictures.warnings(photo, output.format))
        passes = self.outcome.passes
        if passes and output.passes:
            passes = (*passes[:-1], passes[-1].model_copy(update={"blob": blob if passes[-1].kept else None}))
        self.outcome = self._with(result=result, warnings=warnings, passes=passes)

    async def _stored(self, what: str, data: bytes, may_wait: bool = False) -> str:
        """A name of this attempt's own: a worker that lost its lease must not overwrite the other's picture."""
        name = f"{self.spec.id}/{what}-{self.room.token[-8:]}-{self.leased.attempts}"
        blob = Blob(name, data, self.spec.keep_s + redis_keys.QUEUED_TTL_S // 100)
        self.blobs.append(name)
        if may_wait and self.room.store.beside_queue and len(data) <= CARRIED_BYTES:
            self.carried = blob
        else:
            await self.room.store.put(blob.name, blob.data, blob.ttl_s)
        return name

    async def _timed(self, stage: str, work: Awaitable[T]) -> T:
        start_s = time.monotonic()
        try:
            return await work
        finally:
            self.seconds[stage] = round(time.monotonic() - start_s, 4)


def _progress(at: Stepped) -> Progress:
    return Progress(
        fraction=round(at.fraction, 4), pass_index=at.pass_index, passes=at.passes, step=at.step, steps=at.steps
    )


def _failure(code: str, detail: str, hint: str = "") -> Failure:
    return Failure(code=code, detail=detail, hint=hint)
