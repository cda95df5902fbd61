"""Runs one leased job: fetch, decode, engine, encode, store.  The committer then ends it.

The work is a task of its own, so that a cancel, a lost lease, the deadline and the time limit end it wherever it is: a
decoder that runs is killed, and the engine drops the image between two steps.
"""

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
from jobs.tracing.spans import NO_TRACER, Tracer
from models.errors import PhotoError
from models.photo.codec_pool import CodecFailed, CodecOutOfMemory, CodecPool, DecodeTooSlow
from models.photo.read import Photo
from worker.engine_stages import seconds_by_stage
from worker.job_end import Abandoned, Ended, EngineAway, canceled, expired, failed
from worker.job_trace import JobTrace
from worker.messages import Answer, Begun, Cancel, Done, Failed, PassProgress, Pixels, StepProgress, Task
from worker.patient_store import PatientStore

T = TypeVar("T")
log = structlog.get_logger()
REPORT_EVERY_S = 0.25
"""Between two reports of a job's steps: a browser draws no faster, and each report costs Redis a script."""
BLOB_MARGIN_S = redis_keys.QUEUED_TTL_S // 100
"""A result outlives its record by this: a link in the record must work until the end."""
MAX_RUNNING_S = 6 * 3600.0
OUT_OF_MEMORY_HINT = "scale the image down, or use a worker with more memory"
FARTHEST_TIMER_S = 30 * 24 * 3600.0
"""Later deadlines need no timer: the loop's timers do not take any number."""


class EngineClient(Protocol):
    """The engine child as a job sees it."""

    def send(self, command: Task | Cancel) -> bool: ...


@dataclass(frozen=True, kw_only=True)
class JobServices:
    """What all jobs of a worker share.

    Attributes:
        token: the owner of their leases.
        max_running_s: the seconds after which a job that the engine has begun fails.
        worker: the name of the worker, for traces and logs.
    """

    queue: Queue
    store: BlobStore
    codec: CodecPool
    engine: EngineClient
    token: str
    max_running_s: float = MAX_RUNNING_S
    tracer: Tracer = NO_TRACER
    worker: str = ""


class JobRun:
    """A job that this worker holds.

    Attributes:
        task_id: of this attempt alone, so that answers to an earlier attempt of the same job cannot reach it.
        in_engine: the engine has the job now; if it dies, the death counts.
        answers: what the engine says.
        seconds: durations of the stages.
        trace: the spans of this attempt.
        work_s: the engine's seconds for this job, without the time in which it waited for its turn.
        begun_at_s: when the engine began with it, in seconds since 1970; None while it waits.
    """

    def __init__(
        self, leased: Leased, services: JobServices, clock: Callable[[], float] = time.monotonic,
        leased_s: tuple[float, float] | None = None,
    ) -> None:  # fmt: skip
        self.leased, self.services, self.clock = leased, services, clock
        self.task_id = f"{leased.spec.id}.{uuid4().hex[:8]}"
        self.in_engine = False
        self.answers: asyncio.Queue[Answer] = asyncio.Queue()
        self.seconds: dict[str, float] = {"queued": round(leased.queued_s, 4)}
        self.trace = JobTrace(leased, services.tracer, services.worker, leased_s)
        self.work_s = 0.0
        self.begun_at_s: float | None = None
        self.store = PatientStore(services.store, leased.spec.id)
        self._interruption: Ended | Abandoned | None = None
        self._interrupted = asyncio.Event()
        self._timers: list[asyncio.TimerHandle] = []
        self._stored: list[str] = []
        self._carried: Blob | None = None  # the result, where it is stored with the commit
        self._outcome = Outcome()
        self._begun = False
        self._reported_s = self._begun_s = 0.0

    @property
    def spec(self) -> JobSpec:
        return self.leased.spec

    def cancel(self) -> None:
        """End the job as canceled; the engine drops it between two steps."""
        self._interrupt(canceled())

    def expire(self) -> None:
        """End the job because its deadline has passed."""
        self._interrupt(expired("the deadline passed while the job ran"))

    def time_out(self) -> None:
        """Fail the job because it has run for too long."""
        detail = f"the job ran for more than {self.services.max_running_s:g} s, the limit of this worker"
        hint = "scale the image down, or ask for fewer steps or passes"
        self._interrupt(failed("time-limit", detail, hint))

    def abandon(self, why: str = "lease-lost") -> None:
        """Stop working on the job without ending it; the trace says why."""
        self._interrupt(Abandoned(why))

    def _interrupt(self, reason: Ended | Abandoned) -> None:
        """End the work for this reason.  The first counts, but a job that is not ours any more is never ended."""
        if self._interruption is None or isinstance(reason, Abandoned):
            self._interruption = reason
        self._interrupted.set()

    async def run(self) -> Finished:
        """Run the job.  Returns how it ended; the caller commits it.

        Raises:
            Abandoned: nothing must be committed.
            EngineAway: the job must go back into the queue.
        """
        try:
            await self._work_until_interrupted()
        except Ended as end:
            if end.failure:
                self._update(failure=end.failure)
            return self._finished(end.state)
        finally:
            self.in_engine = False
            for timer in self._timers:
                timer.cancel()
        return self._finished(State.SUCCEEDED)

    async def _work_until_interrupted(self) -> None:
        work, interrupted = (asyncio.ensure_future(w) for w in (self._work(), self._interrupted.wait()))
        try:
            await asyncio.wait({work, interrupted}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
                return
        finally:
            for task in (work, interrupted):
                task.cancel()
            await asyncio.gather(work, interrupted, return_exceptions=True)
        assert self._interruption is not None
        raise self._interruption

    def _call_in(self, delay_s: float, action: Callable[[], None]) -> None:
        if delay_s < FARTHEST_TIMER_S:
            self._timers.append(asyncio.get_running_loop().call_later(max(0.0, delay_s), action))

    def broken(self, error: Exception) -> Finished:
        """Returns the end of a job that met an error in our own code."""
        detail = f"{type(error).__name__}: {error}"
        return self.refused(Failure(code="internal-error", detail=detail, hint="report it with the job's id"))

    def refused(self, failure: Failure) -> Finished:
        """Returns the end of a job that cannot be worked on."""
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
            if state is not State.SUCCEEDED:  # its pictures go with its input
                passes = tuple(entry.model_copy(update={"blob": None}) for entry in self._outcome.passes)
                self._update(result=None, passes=passes)
        return Finished(
            id=self.spec.id, state=state, outcome=outcome or self._outcome, keep_s=self.spec.keep_s,
            work_s=self.work_s, blob=self._carried,
            fence=self.task_id,
        )  # fmt: skip

    def _update(self, **changes: object) -> None:
        self._outcome = self._outcome.model_copy(update=changes)

    async def _work(self) -> None:
        if self.leased.cancel:
            raise canceled()
        if self.spec.deadline_ms is not None:
            left_s = self.spec.deadline_ms / 1000 - time.time()
            if left_s <= 0:
                raise expired("the deadline passed before the job was begun")
            self._call_in(left_s, self.expire)
        if self.spec.kind == "noop":
            return
        photo = await self._decode()
        with self.trace.in_engine():
            pixels = await self._compute(photo)
        if pixels is not None:
            await self._keep_result(photo, pixels)

    async def _decode(self) -> Photo:
        source = self.spec.source
        if source is None:
            raise failed("input-missing", "the job names no image")
        try:
            data = self.leased.input
            if data is None:
                data = await self._timed("fetch", self.store.get(source.blob))
            return await self._timed("decode", self.services.codec.decode(data))
        except BlobMissing as error:
            raise failed("input-missing", str(error), "submit the image again") from error
        except PhotoError as error:
            raise failed("bad-image", str(error), "save the image again and retry") from error
        except DecodeTooSlow as error:
            raise failed("decode-timeout", str(error), "save the image again, as a plain PNG or JPEG") from error
        except CodecOutOfMemory as error:
            raise failed("out-of-memory", str(error), OUT_OF_MEMORY_HINT) from error
        except CodecFailed as error:
            raise failed("bad-image", str(error), "save the image in another format") from error

    def _task(self, photo: Photo) -> Task:
        spec = self.spec
        return Task(
            id=self.task_id, bundle=spec.bundle, pixels=photo.pixels, controls=spec.controls,
            lane=LANES.index(spec.lane), since_s=spec.submitted_ms / 1000, detect_only=spec.kind == "detect",
            send_passes=spec.output.passes,
        )  # fmt: skip

    async def _compute(self, photo: Photo) -> Pixels | None:
        """Hand the image to the engine and wait for its end.  Returns its pixels, None for an assessment."""
        while not self.answers.empty():  # they belong to an earlier attempt
            self.answers.get_nowait()
        engine_has_task = True
        self._begun_s = self.clock()
        self.in_engine = True
        try:
            if not self.services.engine.send(self._task(photo)):
                raise EngineAway("the engine is being replaced")
            while True:
                answer = await self.answers.get()
                engine_has_task = not isinstance(answer, Done | Failed)
                if isinstance(answer, Failed | Done):
                    self.work_s = answer.work_s
                    self.seconds |= seconds_by_stage(answer.stages)
                    self.trace.engine_did(answer.stages)
                if isinstance(answer, Failed):
                    raise failed(answer.code, answer.detail, answer.hint)
                if isinstance(answer, Done):
                    await self._publish(photo, answer)
                    return answer.pixels
                await self._publish(photo, answer)
        finally:
            self.in_engine = False
            if engine_has_task:
                self.services.engine.send(Cancel(self.task_id))
            self.seconds["restore"] = round(self.clock() - self._begun_s, 4)

    async def _publish(self, photo: Photo, answer: Answer) -> None:
        try:
            if isinstance(answer, Begun):
                await self._publish_start()
            elif isinstance(answer, StepProgress):
                await self._publish_step(answer)
            elif isinstance(answer, PassProgress):
                await self._publish_pass(photo, answer)
            elif isinstance(answer, Done):
                await self._publish_last_pass(answer)
        except (RedisError, StoreError, PhotoError, CodecFailed) as error:  # progress is lost, and the work goes on
            log.warning("progress.lost", job=self.spec.id, error=str(error))

    async def _publish_start(self) -> None:
        """The engine has begun with the job, which was decoded ahead and has waited for its turn until now."""
        if self._begun:  # it began again in smaller tiles
            return
        self._begun, self.begun_at_s = True, time.time()
        self.trace.begun()
        now_s = self.clock()
        self.seconds["turn"] = round(now_s - self._begun_s, 4)
        self._begun_s = self._reported_s = now_s  # a job that ends soon needs no more progress
        self._call_in(self.services.max_running_s, self.time_out)
        await self.services.queue.report(self.services.token, self.spec.id, Progress())

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
        await self._report_pass(progress)

    async def _publish_last_pass(self, at: Done) -> None:
        """No pass follows, so the engine has not told the end of the last one."""
        before = len(self._outcome.passes)
        self._take_outcome(at.outcome)
        if (done := len(self._outcome.passes)) > before:
            await self._report_pass(Progress(fraction=1.0, pass_index=done - 1, passes=done))

    async def _report_pass(self, progress: Progress) -> None:
        done = len(self._outcome.passes)
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
        except CodecOutOfMemory as error:
            raise failed("out-of-memory", str(error), OUT_OF_MEMORY_HINT) from error
        except (PhotoError, CodecFailed) as error:
            raise failed("encode", str(error), "ask for another format") from error
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
        elif with_commit:
            await self.store.put(blob)
        else:  # a pass without its picture is better than a job that waits for the store
            await self.services.store.put(blob.name, blob.data, blob.ttl_s)
        return name

    async def _timed(self, stage: str, work: Awaitable[T]) -> T:
        start_s = self.clock()
        try:
            with self.trace.stage(stage):
                return await work
        finally:
            self.seconds[stage] = round(self.clock() - start_s, 4)
