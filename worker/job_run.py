"""Runs one leased job: fetch, decode, engine, encode, store.  The committer then ends it."""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar
from uuid import uuid4

import structlog
from redis.exceptions import RedisError

from jobs import redis_keys
from jobs.blob_store import CARRIED_BYTES, Blob, BlobStore
from jobs.errors import BlobMissing, StoreError
from jobs.lease import Finished, Leased
from jobs.queue import Event, Queue
from jobs.record import Failure, Outcome, Progress, Result
from jobs.spec import LANES, JobSpec
from jobs.state import State
from models.errors import PhotoError
from models.photo.codec_pool import CodecFailed, CodecPool
from models.photo.read import Photo
from worker.messages import Answer, Cancel, Done, Failed, PassProgress, Pixels, StepProgress, Task

T = TypeVar("T")
log = structlog.get_logger()
REPORT_EVERY_S = 0.25
"""Between two reports of a job's steps: a browser draws no faster, and each report costs Redis a script."""
BLOB_MARGIN_S = redis_keys.QUEUED_TTL_S // 100
"""A result outlives its record by this: a link in the record must work until the end."""


class Abandoned(Exception):
    """This worker must not end the job: its lease is lost, or it goes back into the queue."""


class EngineAway(Exception):
    """The engine is being replaced; the job goes back into the queue and no attempt is counted."""


class _Ended(Exception):
    """Ends the run from wherever it is; `JobRun.run` turns it into its result."""

    def __init__(self, state: State, failure: Failure | None = None) -> None:
        super().__init__(state)
        self.state, self.failure = state, failure


class EngineClient(Protocol):
    """The engine child as a job sees it."""

    def send(self, command: Task | Cancel) -> bool: ...


@dataclass(frozen=True, kw_only=True)
class JobServices:
    """What all jobs of a worker share.  `token` is the owner of their leases."""

    queue: Queue
    store: BlobStore
    codec: CodecPool
    engine: EngineClient
    token: str


class JobRun:
    """A job that this worker holds.

    Attributes:
        task_id: of this attempt alone, so that answers to an earlier attempt of the same job cannot reach it.
        in_engine: the engine has the job now; if it dies, the death counts.
        answers: what the engine says, and interruptions.
        seconds: durations of the stages.
    """

    def __init__(self, leased: Leased, services: JobServices, clock: Callable[[], float] = time.monotonic) -> None:
        self.leased, self.services, self.clock = leased, services, clock
        self.task_id = f"{leased.spec.id}.{uuid4().hex[:8]}"
        self.in_engine = False
        self.answers: asyncio.Queue[Answer | _Ended | Abandoned] = asyncio.Queue()
        self.seconds: dict[str, float] = {}
        self._stored: list[str] = []
        self._carried: Blob | None = None  # the result, where it is stored with the commit
        self._outcome = Outcome()
        self._reported_s = 0.0

    @property
    def spec(self) -> JobSpec:
        return self.leased.spec

    def cancel(self) -> None:
        """End the job as canceled; the engine drops it between two steps."""
        self.answers.put_nowait(_Ended(State.CANCELED))

    def expire(self) -> None:
        """End the job because its deadline has passed."""
        self.answers.put_nowait(_Ended(State.EXPIRED, _failure("deadline", "the deadline passed while the job ran")))

    def abandon(self) -> None:
        """Stop working on the job without ending it."""
        self.answers.put_nowait(Abandoned())

    async def run(self) -> Finished:
        """Run the job.  Returns how it ended; the caller commits it.

        Raises:
            Abandoned: nothing must be committed.
            EngineAway, RedisError, StoreError: the job must go back into the queue.
        """
        try:
            await self._work()
        except _Ended as end:
            if end.failure:
                self._update(failure=end.failure)
            return self._finished(end.state)
        finally:
            self.in_engine = False
        return self._finished(State.SUCCEEDED)

    def broken(self, error: Exception) -> Finished:
        """Returns the end of a job that met an error in our own code."""
        detail = f"{type(error).__name__}: {error}"
        failure = _failure("internal-error", detail, "report it with the job's id")
        return self._finished(State.FAILED, Outcome(failure=failure))

    async def delete_input(self) -> None:
        """Delete the input of a job that has ended.  An input that came with the lease is deleted by the commit."""
        if self.spec.source is not None and self.leased.input is None:
            await self.services.store.delete(self.spec.source.blob)

    async def discard(self) -> None:
        """Delete everything that this run stored, because its outcome does not count."""
        await self.services.store.delete(*self._stored)

    def _finished(self, state: State, outcome: Outcome | None = None) -> Finished:
        if outcome is None:
            self._update(seconds=self.seconds)
        source = self.spec.source
        return Finished(
            id=self.spec.id, state=state, outcome=outcome or self._outcome, keep_s=self.spec.keep_s,
            megapixels=source.megapixels if source else 0.0, blob=self._carried,
        )  # fmt: skip

    def _update(self, **changes: object) -> None:
        self._outcome = self._outcome.model_copy(update=changes)

    async def _work(self) -> None:
        if self.leased.cancel:
            raise _Ended(State.CANCELED)
        deadline_ms = self.spec.deadline_ms
        if deadline_ms is not None and time.time() * 1000 > deadline_ms:
            raise _Ended(State.EXPIRED, _failure("deadline", "the deadline passed before the job was begun"))
        if self.spec.kind == "noop":
            return
        photo = await self._decode()
        pixels = await self._compute(photo)
        if pixels is not None:
            await self._keep_result(photo, pixels)

    async def _decode(self) -> Photo:
        source = self.spec.source
        if source is None:
            raise _failed("input-missing", "the job names no image")
        try:
            data = self.leased.input
            if data is None:
                data = await self._timed("fetch", self.services.store.get(source.blob))
            return await self._timed("decode", self.services.codec.decode(data))
        except BlobMissing as error:
            raise _failed("input-missing", str(error), "submit the image again") from error
        except PhotoError as error:
            raise _failed("bad-image", str(error), "save the image again and retry") from error
        except CodecFailed as error:
            raise _failed("bad-image", str(error), "save the image in another format") from error

    def _task(self, photo: Photo) -> Task:
        spec = self.spec
        return Task(
            id=self.task_id, bundle=spec.bundle, pixels=photo.pixels, controls=spec.controls,
            lane=LANES.index(spec.lane), since_s=spec.submitted_ms / 1000, detect_only=spec.kind == "detect",
            send_passes=spec.output.passes,
        )  # fmt: skip

    async def _compute(self, photo: Photo) -> Pixels | None:
        """Hand the image to the engine and wait for its end.  Returns its pixels, None for an assessment."""
        while not self.answers.empty():  # it may have been canceled while it was decoded
            if isinstance(interruption := self.answers.get_nowait(), _Ended | Abandoned):
                raise interruption
        start_s, engine_has_task = self.clock(), True
        self._reported_s = start_s  # a job that ends sooner needs no progress
        self.in_engine = True
        try:
            if not self.services.engine.send(self._task(photo)):
                raise EngineAway("the engine is being replaced")
            while True:
                answer = await self.answers.get()
                if isinstance(answer, _Ended | Abandoned):
                    raise answer
                engine_has_task = not isinstance(answer, Done | Failed)
                if isinstance(answer, Failed):
                    raise _failed(answer.code, answer.detail, answer.hint)
                if isinstance(answer, Done):
                    self._take_outcome(answer.outcome)
                    return answer.pixels
                await self._publish(photo, answer)
        finally:
            self.in_engine = False
            if engine_has_task:
                self.services.engine.send(Cancel(self.task_id))
            self.seconds["restore"] = round(self.clock() - start_s, 4)

    async def _publish(self, photo: Photo, answer: Answer) -> None:
        try:
            if isinstance(answer, StepProgress):
                await self._publish_step(answer)
            elif isinstance(answer, PassProgress):
                await self._publish_pass(photo, answer)
        except (RedisError, StoreError, PhotoError, CodecFailed) as error:  # progress is lost, and the work goes on
            log.warning("progress.lost", job=self.spec.id, error=str(error))

    async def _publish_step(self, at: StepProgress) -> None:
        now_s = self.clock()
        if now_s - self._reported_s < REPORT_EVERY_S:
            return
        self._reported_s = now_s
        progress = Progress(
            fraction=round(at.fraction, 4), pass_index=at.pass_index, passes=at.passes, step=at.step, steps=at.steps
        )
        event = Event(id="", type="step.progress", data=progress.model_dump())
        await self.services.queue.report(self.services.token, self.spec.id, progress, event=event)

    async def _publish_pass(self, photo: Photo, at: PassProgress) -> None:
        """A pass has ended, or the first begins."""
        self._take_outcome(at.outcome)
        done = len(self._outcome.passes)
        if at.pixels is not None:
            await self._keep_pass(photo, at.pixels, done)
        progress = Progress(fraction=0.0, pass_index=done, passes=max(done + 1, self.spec.controls.max_passes or 1))
        event = Event(
            id="", type="pass.completed" if done else "detected",
            data={"passes": done, "degradations": {**self._outcome.degradations}},
        )  # fmt: skip
        await self.services.queue.report(self.services.token, self.spec.id, progress, self._outcome, event)

    def _take_outcome(self, outcome: Outcome) -> None:
        """Take over the engine's outcome, with the pictures of earlier passes, which only this process knows."""
        blobs = {i: entry.blob for i, entry in enumerate(self._outcome.passes)}
        passes = tuple(entry.model_copy(update={"blob": blobs.get(i)}) for i, entry in enumerate(outcome.passes))
        self._outcome = outcome.model_copy(update={"passes": passes})

    async def _keep_pass(self, photo: Photo, pixels: Pixels, number: int) -> None:
        data, _ = await self.services.codec.encode(photo, pixels, None, None, self.spec.output.metadata)
        blob = await self._store(f"pass-{number}", data)
        self._set_last_blob(blob)

    async def _keep_result(self, photo: Photo, pixels: Pixels) -> None:
        output, codec = self.spec.output, self.services.codec
        try:
            data, kind = await self._timed(
                "encode", codec.encode(photo, pixels, output.format, output.quality, output.metadata)
            )
        except (PhotoError, CodecFailed) as error:
            raise _failed("encode", str(error), "ask for another format") from error
        blob = await self._timed("store", self._store("result", data, with_commit=True))
        height, width = pixels.shape[:2]
        result = Result(
            blob=blob, bytes=len(data), sha256=hashlib.sha256(data).hexdigest(), format=kind, width_px=width,
            height_px=height,
        )  # fmt: skip
        self._update(result=result, warnings=(*self._outcome.warnings, *codec.warnings(photo, output.format)))
        if output.passes and self._outcome.passes:
            self._set_last_blob(blob if self._outcome.passes[-1].kept else None)

    def _set_last_blob(self, blob: str | None) -> None:
        *earlier, last = self._outcome.passes
        self._update(passes=(*earlier, last.model_copy(update={"blob": blob})))

    async def _store(self, what: str, data: bytes, with_commit: bool = False) -> str:
        """Store a picture now, or with the commit where it is small enough.  Returns its name.

        The name belongs to this attempt: a worker that lost its lease must not overwrite the next worker's picture.
        """
        name = f"{self.spec.id}/{what}-{self.services.token[-8:]}-{self.leased.attempts}"
        blob = Blob(name, data, self.spec.keep_s + BLOB_MARGIN_S)
        self._stored.append(name)
        if with_commit and self.services.store.beside_queue and len(data) <= CARRIED_BYTES:
            self._carried = blob
        else:
            await self.services.store.put(blob.name, blob.data, blob.ttl_s)
        return name

    async def _timed(self, stage: str, work: Awaitable[T]) -> T:
        start_s = self.clock()
        try:
            return await work
        finally:
            self.seconds[stage] = round(self.clock() - start_s, 4)


def _failed(code: str, detail: str, hint: str = "") -> _Ended:
    return _Ended(State.FAILED, _failure(code, detail, hint))


def _failure(code: str, detail: str, hint: str = "") -> Failure:
    return Failure(code=code, detail=detail, hint=hint)
