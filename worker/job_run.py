"""Runs one leased job: fetch, decode, engine, encode, store.  The committer then ends it.

The work is a task of its own, so that a cancel, a lost lease, the deadline and the time limit end it wherever it is: a
decoder that runs is killed, and the engine drops the image between two steps.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar
from uuid import uuid4

import structlog
from redis.exceptions import RedisError

from jobs.errors import BlobMissing, StoreError
from jobs.lease import Finished, Leased
from jobs.queue import Event
from jobs.record import Failure, Outcome, Progress, Variant
from jobs.spec import LANES, JobSpec
from jobs.state import State
from models.errors import PhotoError, UnfitControls
from models.photo.codec_pool import CodecFailed, CodecOutOfMemory, DecodeTooSlow
from models.photo.read import Photo
from models.restoration_report import DIFFUSION
from models.warning_codes import EQUAL_VARIANTS, codes_of
from worker.engine_stages import seconds_by_stage
from worker.job_end import OUT_OF_MEMORY_HINT, Abandoned, Ended, EngineAway, canceled, expired, failed
from worker.job_pictures import JobPictures
from worker.job_services import JobServices
from worker.job_trace import JobTrace
from worker.messages import Answer, Begun, Cancel, Done, Failed, PassProgress, Pixels, StepProgress, Task
from worker.patient_store import PatientStore

T = TypeVar("T")
log = structlog.get_logger()
REPORT_EVERY_S = 0.25
"""Between two reports of a job's steps: a browser draws no faster, and each report costs Redis a script."""
FARTHEST_TIMER_S = 30 * 24 * 3600.0
"""Later deadlines need no timer: the loop's timers do not take any number."""


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
        self.pictures = JobPictures(leased, services, self.store, self._timed)
        self._interruption: Ended | Abandoned | None = None
        self._interrupted = asyncio.Event()
        self._timers: list[asyncio.TimerHandle] = []
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
        await self.services.store.delete(*self.pictures.stored)

    def _finished(self, state: State, outcome: Outcome | None = None) -> Finished:
        if outcome is None:
            self._update(seconds=self.seconds)
            if state is not State.SUCCEEDED:  # its pictures go with its input
                passes = tuple(entry.model_copy(update={"blob": None}) for entry in self._outcome.passes)
                self._update(result=None, variants=(), passes=passes)
        return Finished(
            id=self.spec.id, state=state, outcome=outcome or self._outcome, keep_s=self.spec.keep_s,
            work_s=self.work_s, blob=self.pictures.carried,
            fence=self.task_id, number=self.leased.number,
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
        for number in range(1, self.spec.controls.variants + 1):
            with self.trace.in_engine():
                done = await self._compute(photo, number)
            if done.pixels is None:  # an assessment
                return
            await self._keep_result(photo, done, done.pixels, number)
            if number < self.spec.controls.variants and not any(entry.by == DIFFUSION for entry in done.outcome.passes):
                self._warn(EQUAL_VARIANTS)
                return

    async def _decode(self) -> Photo:
        source = self.spec.source
        if source is None:
            raise failed("input-missing", "the job names no image")
        try:
            data = self.leased.input
            if data is None:
                data = await self._timed("fetch", self.store.get(source.blob))
            controls = self.spec.controls
            decoding = self.services.codec.decode(data, controls.crop, controls.scale)
            photo = await self._timed("decode", decoding)
            self.pictures.made_from(data, photo.format)
            return photo
        except BlobMissing as error:
            raise failed("input-missing", str(error), "submit the image again") from error
        except UnfitControls as error:
            raise failed("bad-controls", str(error), "correct the field that is named") from error
        except PhotoError as error:
            raise failed("bad-image", str(error), "save the image again and retry") from error
        except DecodeTooSlow as error:
            raise failed("decode-timeout", str(error), "save the image again, as a plain PNG or JPEG") from error
        except CodecOutOfMemory as error:
            raise failed("out-of-memory", str(error), OUT_OF_MEMORY_HINT) from error
        except CodecFailed as error:
            raise failed("bad-image", str(error), "save the image in another format") from error

    def _task(self, photo: Photo, number: int) -> Task:
        spec = self.spec
        return Task(
            id=self.task_id, bundle=spec.bundle, pixels=photo.pixels,
            controls=spec.controls.model_copy(update={"seed": spec.controls.seed + number - 1}),
            lane=LANES.index(spec.lane), since_s=spec.submitted_ms / 1000, detect_only=spec.kind == "detect",
            send_passes=spec.output.passes and number == 1, whole=photo.whole,
            small=photo.small, compressed=photo.compressed,
        )  # fmt: skip

    async def _compute(self, photo: Photo, number: int) -> Done:
        """Hand the image to the engine and wait for its end.  Returns that; it has no pixels after an assessment."""
        while not self.answers.empty():  # they belong to an earlier attempt
            self.answers.get_nowait()
        engine_has_task = True
        self._begun_s = self.clock()
        self.in_engine = True
        try:
            if not self.services.engine.send(self._task(photo, number)):
                raise EngineAway("the engine is being replaced")
            while True:
                answer = await self.answers.get()
                engine_has_task = not isinstance(answer, Done | Failed)
                if isinstance(answer, Failed | Done):
                    self.work_s += answer.work_s
                    self._add_seconds(seconds_by_stage(answer.stages))
                    self.trace.engine_did(answer.stages)
                if isinstance(answer, Failed):
                    raise failed(answer.code, answer.detail, answer.hint)
                await self._publish(photo, answer, number)
                if isinstance(answer, Done):
                    return answer
        finally:
            self.in_engine = False
            if engine_has_task:
                self.services.engine.send(Cancel(self.task_id))
            self._add_seconds({"restore": self.clock() - self._begun_s})

    async def _publish(self, photo: Photo, answer: Answer, number: int) -> None:
        try:
            if isinstance(answer, Begun):
                await self._publish_start()
            elif isinstance(answer, StepProgress):
                await self._publish_step(answer, number)
            elif number > 1:  # passes are told of the first variant
                return
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
        await self._report(Progress())

    async def _publish_step(self, at: StepProgress, number: int) -> None:
        now_s = self.clock()
        if now_s - self._reported_s < REPORT_EVERY_S:
            return
        self._reported_s = now_s
        fraction = (number - 1 + at.fraction) / self.spec.controls.variants
        progress = Progress(
            fraction=round(fraction, 4), pass_index=at.pass_index, passes=at.passes, step=at.step, steps=at.steps
        )
        event = Event(id="", type="step.progress", data=progress.model_dump())
        await self._report(progress, event=event)

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
        await self._report(progress, self._outcome, event)

    async def _report(self, progress: Progress, outcome: Outcome | None = None, event: Event | None = None) -> None:
        services, number = self.services, self.leased.number
        await services.queue.report(services.token, self.spec.id, progress, outcome, event, number=number)

    def _take_outcome(self, outcome: Outcome) -> None:
        """Take over the engine's outcome, with the pictures of earlier passes, which only this process knows."""
        blobs = {i: entry.blob for i, entry in enumerate(self._outcome.passes)}
        passes = tuple(entry.model_copy(update={"blob": blobs.get(i)}) for i, entry in enumerate(outcome.passes))
        self._outcome = outcome.model_copy(update={"passes": passes})

    async def _keep_pass(self, photo: Photo, pixels: Pixels, number: int) -> None:
        self._set_last_blob(await self.pictures.keep_pass(photo, pixels, number))

    async def _keep_result(self, photo: Photo, done: Done, pixels: Pixels, number: int) -> None:
        """Store the result of a variant, from 1."""
        result = await self.pictures.keep_result(photo, done.outcome, pixels, number)
        if number == 1:
            warnings = self.services.codec.warnings(photo, self.spec.output.format)
            self._update(result=result)
            self._warn(*warnings)
            if self.spec.output.passes and self._outcome.passes:
                self._set_last_blob(result.blob if self._outcome.passes[-1].kept else None)
        if self.spec.controls.variants > 1:
            outcome = self._outcome if number == 1 else done.outcome
            variant = Variant(
                seed=self.spec.controls.seed + number - 1, result=result, passes=outcome.passes,
                stop_reason=outcome.stop_reason, change=outcome.change,
            )  # fmt: skip
            self._update(variants=(*self._outcome.variants, variant))

    def _warn(self, *warnings: str) -> None:
        self._update(
            warnings=(*self._outcome.warnings, *warnings),
            warning_codes=(*self._outcome.warning_codes, *codes_of(warnings)),
        )

    def _set_last_blob(self, blob: str | None) -> None:
        *earlier, last = self._outcome.passes
        self._update(passes=(*earlier, last.model_copy(update={"blob": blob})))

    async def _timed(self, stage: str, work: Awaitable[T]) -> T:
        start_s = self.clock()
        try:
            with self.trace.stage(stage):
                return await work
        finally:
            self._add_seconds({stage: self.clock() - start_s})

    def _add_seconds(self, seconds: Mapping[str, float]) -> None:
        """Add durations; the variants of a job have the same stages."""
        for stage, duration_s in seconds.items():
            self.seconds[stage] = round(self.seconds.get(stage, 0.0) + duration_s, 4)
