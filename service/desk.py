"""Accepts, finds, waits for, and removes jobs: the only module between the routes and the queue and store."""

import time
from dataclasses import dataclass

import structlog
from redis.exceptions import RedisError
from starlette.types import Receive

from jobs import redis_keys
from jobs.blob_store import CARRIED_BYTES, Blob, ServedStore
from jobs.claims import Claim
from jobs.errors import ClaimTaken, DuplicateJob, QueueFull, QuotaExceeded
from jobs.job_log import log_ends
from jobs.queue import Queue
from jobs.record import JobRecord
from jobs.shards.numbers import shard_of
from jobs.spec import JobSpec, Lane, Source
from jobs.state import State
from jobs.tracing.spans import child_span
from service.authentication import Caller
from service.content_disposition import clean_stem
from service.eraser import Eraser
from service.file_rewrite import FileRewrite
from service.hang_up import until_hang_up
from service.idempotency.attempt import Attempt
from service.input_store import InputStore
from service.job_body import JobBody, QueuePosition
from service.job_ids import created_ms, new_job_id
from service.job_view import job_body
from service.job_waiters import JobWaiters
from service.limits.refusals import TooManyWaits
from service.limits.request_limits import Account, check_submission
from service.limits.wait_slots import WaitSlots
from service.refusals import Gone, NoSuchJob
from service.request_facts import note, request_context
from service.request_spans import submitting
from service.served_bundles import check_served
from service.settings import ServiceSettings
from service.stored_images import StoredImages
from service.submission_refusals import queue_is_full, submission_refusal
from service.upload import Upload

log = structlog.get_logger()
SMALL_BODY_BYTES = 256 * 1024
"""A body of this size has mostly arrived when its headers have been read."""


@dataclass(frozen=True)
class WaitedJob:
    """A job after a wait, and the image of its result if that arrived together with the end."""

    record: JobRecord
    image: bytes | None = None


class Desk:
    """Every method raises redis.exceptions.RedisError when Redis is away, jobs.errors.StoreError for the store."""

    def __init__(self, settings: ServiceSettings, queue: Queue, store: ServedStore, waiters: JobWaiters) -> None:
        self.settings, self.queue, self.store, self.waiters = settings, queue, store, waiters
        self.wait_slots = WaitSlots(queue.quotas)
        self.images, self.inputs = StoredImages(store), InputStore(settings, queue, store)
        rewrite = FileRewrite(queue.redis) if settings.embedded_redis_folder else None
        self.eraser = Eraser(queue, store, settings.keep_s, rewrite)

    async def close(self) -> None:
        """Finish what was put off."""
        await self.eraser.close()
        await self.wait_slots.close()

    async def refuse_early(self, caller: Caller, wait_s: float, body_bytes: int | None) -> None:
        """Refuse a request before its body is read, if reading costs more than asking the queue.

        `submit` checks again, atomically.

        Raises:
            TooManyWaits: the caller asks to wait, and its quota is used up.
            TooManyJobs, TooManyMegapixels: this quota of the caller is used up.
            QueueIsFull: with Retry-After from the measured seconds per job.
        """
        if wait_s > 0:
            self.waiters.check_quota(caller.owner)
        check_submission(caller.account, waits=wait_s > 0)
        if body_bytes is not None and body_bytes <= SMALL_BODY_BYTES:
            return
        backlog = await self.queue.backlog(self.settings.bundle)
        if backlog.total >= self.settings.max_queued:
            raise queue_is_full(backlog, self.settings.max_queued)

    async def submit(
        self, upload: Upload, caller: Caller, wait_s: float, receive: Receive | None = None,
        attempt: Attempt | None = None,
    ) -> WaitedJob:  # fmt: skip
        """Store the image, queue the job, and wait up to `wait_s` seconds for its end, while the client waits, too.

        If another process queues the job of the same attempt meanwhile, that job is the answer.

        Raises:
            QueueIsFull, jobs.errors.StoreFull, TooManyJobs, TooManyMegapixels: nothing has been stored or counted.
            InvalidRequest: no worker has the requested bundle.
            IdempotencyKeyReused: another request has used the key meanwhile.
        """
        await check_served(self.queue, upload.options.bundle, self.settings.bundle)
        claim = attempt.claim if attempt else None
        shard = shard_of(upload.batch) if upload.batch else self.queue.place(claim)
        spec = self._spec(upload, caller, "interactive" if wait_s > 0 else "standard", new_job_id(shard=shard))
        try:
            record = await self._enqueue(upload, spec, caller, claim)
        except ClaimTaken as earlier:
            assert attempt, "only an attempt has a claim"
            return await self.replay(attempt.made_by(earlier), caller, wait_s, receive)
        return await self._wait_if_possible(record, caller, wait_s, receive)

    async def replay(self, job_id: str, caller: Caller, wait_s: float, receive: Receive | None = None) -> WaitedJob:
        """Return the job that an earlier attempt has queued, as it is now or after a wait.

        Raises:
            Gone: it was deleted, or has expired.
        """
        try:
            record = await self.find(job_id, caller)
        except NoSuchJob as error:
            hint = "send the image with a new Idempotency-Key"
            raise Gone(f"job {job_id}, which this request made before, was deleted", hint=hint) from error
        return await self._wait_if_possible(record, caller, 0 if record.state.over else wait_s, receive)

    async def _wait_if_possible(
        self, record: JobRecord, caller: Caller, wait_s: float, receive: Receive | None
    ) -> WaitedJob:
        try:
            return await self.wait(record, wait_s, receive, caller.account) if wait_s > 0 else WaitedJob(record)
        except (RedisError, TooManyWaits) as error:  # the job is queued: an error would make the client send it again
            log.warning("wait.ended", error=type(error).__name__, job=record.spec.id)
            return WaitedJob(record)

    def _spec(self, upload: Upload, caller: Caller, default_lane: Lane, job_id: str) -> JobSpec:
        now_ms, options = time.time_ns() // 10**6, upload.options
        return JobSpec(
            id=job_id,
            kind=upload.kind,
            bundle=options.bundle or self.settings.bundle,
            lane=options.lane or default_lane,
            controls=options.controls,
            source=Source(blob=f"{job_id}/input", **vars(upload.header)),
            output=options.output,
            submitted_ms=now_ms,
            deadline_ms=None if options.deadline_s is None else now_ms + int(options.deadline_s * 1000),
            keep_s=self.settings.keep_s if options.store else redis_keys.UNSTORED_KEEP_S,
            store=options.store,
            batch=upload.batch,
            owner=caller.owner,
            labels=dict(options.labels),
            file_name=clean_stem(upload.file_name),
        )

    async def _enqueue(self, upload: Upload, spec: JobSpec, caller: Caller, claim: Claim | None) -> JobRecord:
        assert spec.source, "_spec sets it"
        ttl_s = redis_keys.QUEUED_TTL_S + self.settings.keep_s if spec.store else redis_keys.UNSTORED_S
        blob = Blob(spec.source.blob, upload.data, ttl_s)
        carried = self.store.beside_queue and len(upload.data) <= CARRIED_BYTES
        await self.inputs.check_room(len(upload.data))
        if not carried:
            await self.inputs.store_before(spec, blob)
        try:
            with submitting(spec):
                await self.queue.submit(
                    spec, self.settings.max_queued, blob if carried else None, request_context(), caller.quotas,
                    upload.hooks, claim,
                )  # fmt: skip
            if caller.account is not None:
                caller.account.submitted_pixels = spec.source.width_px * spec.source.height_px
        except (QueueFull, QuotaExceeded, ClaimTaken) as error:
            if not carried:
                await self.inputs.take_back(spec, blob)
            if isinstance(error, ClaimTaken):
                raise
            backlog = await self.queue.backlog(spec.bundle)
            raise submission_refusal(error, backlog, self.settings.max_queued, spec) from error
        except DuplicateJob:  # ids are random, so this is our own job: the client repeated a command after a lost reply
            log.info("job.resubmitted", job=spec.id)
        return JobRecord(spec=spec, state=State.QUEUED, enqueued_ms=spec.submitted_ms)

    async def find(self, job_id: str, caller: Caller) -> JobRecord:
        """Return the job if this caller may see it.

        Raises:
            NoSuchJob: it does not exist, or belongs to another key.
            Gone: by the age of its id, it may have existed and expired.
        """
        record = await self.queue.record(job_id)
        note(job=job_id if record else None)
        if record is not None and record.is_late(time.time()):
            part = self.queue.part(job_id)
            await log_ends(part, dict.fromkeys(await part.expire(), State.EXPIRED))
            record = await self.queue.record(job_id)
        if record is None:
            raise self._missing(job_id)
        if not caller.may_see(record.spec.owner):
            raise NoSuchJob(f"there is no job {job_id}")
        return record

    def _missing(self, job_id: str) -> NoSuchJob | Gone:
        created = created_ms(job_id)
        if created is not None and 0 < created <= (time.time() - self.settings.keep_s) * 1000:
            return Gone(f"job {job_id} has expired: jobs are kept for {self.settings.keep_s} s after their end")
        return NoSuchJob(f"there is no job {job_id}")

    async def wait(
        self, record: JobRecord, wait_s: float, receive: Receive | None = None, account: Account | None = None
    ) -> WaitedJob:
        """Return the job at its end, or as it is after `wait_s` seconds, when its client hangs up or the server stops.

        Raises:
            Gone: the job was deleted during the wait.
            TooManyWaits: the quota of the job's owner, or that of `account`, is used up.
        """
        with child_span("wait"):
            async with self.wait_slots.hold(account):
                return await until_hang_up(self._end(record, wait_s), receive, WaitedJob(record))

    async def _end(self, record: JobRecord, wait_s: float) -> WaitedJob:
        job_id, until_s = record.spec.id, time.monotonic() + wait_s
        with self.waiters.register(job_id, record.spec.owner, only_end=True) as waiter:
            await waiter.ready()  # a job that ended before wakes nobody
            while True:
                latest, image = await self.queue.record_with_result(record.spec)
                if latest is None:
                    raise Gone(f"job {job_id} was deleted during the wait")
                left_s = until_s - time.monotonic()
                if latest.state.over or self.waiters.closed or left_s <= 0:
                    return WaitedJob(latest, image)
                await waiter.wait(left_s)

    async def body(self, record: JobRecord, path_prefix: str = "") -> JobBody:
        """Return the job as JSON model, with its position in the queue."""
        try:
            forecast = await self.queue.forecast(record.spec) if record.state is State.QUEUED else None
        except RedisError:  # the job itself is the answer; its position is optional
            forecast = None
        position = QueuePosition.model_validate(forecast, from_attributes=True) if forecast else None
        return job_body(record, position, path_prefix)

    async def delete(self, record: JobRecord) -> State | None:
        """Cancel a job, or delete a finished job; return the state that it was in.  Both erase its content."""
        return await self.eraser.delete(record)
