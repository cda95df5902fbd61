"""Where jobs are handed in, asked after and taken away: between the routes and queue and store."""

import asyncio
import secrets
import time
from dataclasses import dataclass

import structlog
from redis.exceptions import RedisError

from jobs import redis_keys
from jobs.errors import BlobMissing, DuplicateJob, QueueFull
from jobs.queue import Backlog, Queue
from jobs.record import JobRecord, State
from jobs.spec import LANES, JobControls, JobSpec, Kind, Lane, Output, Source
from jobs.store import CARRIED_BYTES, Blob, BlobStore
from service.authentication import Caller
from service.image_header import Seen, glance, look
from service.job_ids import born_ms, new_id
from service.job_view import JobBody, Place, job_body
from service.job_waiters import Wakes
from service.options import DetectOrder, RestoreOrder
from service.problems import retry_after
from service.refusals import Gone, InvalidRequest, NoSuchJob, QueueIsFull, TooManyWaits
from service.settings import ServiceSettings

log = structlog.get_logger()
SEED_BITS = 53
"""A drawn seed is exact in JavaScript's numbers too."""
UNMEASURED_S = 10.0
"""Suggested while no drain rate is known."""
SOON_READ_BYTES = 256 * 1024
"""A body of so many bytes has mostly come when its head is read."""


@dataclass(frozen=True)
class Waited:
    """A job that was waited for; its picture where it came with the end."""

    record: JobRecord
    picture: bytes | None = None


class Desk:
    """Every method raises redis.exceptions.RedisError when Redis is away, jobs.errors.StoreError for the store."""

    def __init__(self, settings: ServiceSettings, queue: Queue, store: BlobStore, wakes: Wakes) -> None:
        self.settings, self.queue, self.store, self.wakes = settings, queue, store, wakes

    async def refuse_early(self, caller: Caller, wait_s: float, body_bytes: int | None) -> None:
        """Before an upload is read, where reading it costs more than asking; `submit` asks again, atomically.

        Raises:
            TooManyWaits: the caller wants to wait, and may not.
            QueueIsFull: with Retry-After from the measured drain rate.
        """
        if wait_s > 0:
            self.wakes.check(caller.owner)
        if body_bytes is not None and body_bytes <= SOON_READ_BYTES:
            return
        backlog = await self.queue.backlog(self.settings.bundle)
        if backlog.total >= self.settings.most_queued:
            raise _full(backlog, self.settings.most_queued)

    async def look(self, data: bytes) -> Seen:
        """What an upload is, by its header; where the first kilobyte does not say it, off the loop."""
        if seen := glance(data, self.settings.most_megapixels):
            return seen
        return await asyncio.to_thread(look, data, self.settings.most_megapixels)

    async def submit(
        self, kind: Kind, data: bytes, seen: Seen, order: DetectOrder, caller: Caller, waits: bool
    ) -> JobRecord:
        """Store the image and take the job in.

        Raises:
            QueueIsFull: nothing has been kept.
            InvalidRequest: no worker has the bundle that is asked for.
        """
        if order.model is not None and order.model != self.settings.bundle:
            await self._ensure_served(order.model)
        spec = self._spec(kind, seen, order, caller, "interactive" if waits else "standard")
        assert spec.source, "_spec names the blob"
        blob = Blob(spec.source.blob, data, redis_keys.QUEUED_TTL_S + self.settings.keep_s)
        carried = self.store.beside_queue and len(data) <= CARRIED_BYTES
        if not carried:
            await self.store.put(blob.name, blob.data, blob.ttl_s)
        try:
            await self.queue.submit(spec, self.settings.most_queued, blob if carried else None)
        except QueueFull as error:
            if not carried:
                await self.store.delete(blob.name)
            backlog = await self.queue.backlog(spec.bundle)
            raise _full(backlog, self.settings.most_queued) from error
        except DuplicateJob:  # ids are random: it was us, and a lost connection had the command sent again
            log.info("job.resubmitted", job=spec.id)
        return JobRecord(spec=spec, state=State.QUEUED, enqueued_ms=spec.submitted_ms)

    async def _ensure_served(self, bundle: str) -> None:
        served = {self.settings.bundle, *(worker.bundle for worker in await self.queue.workers.alive() if worker.ready)}
        if bundle not in served:
            problem = f"no worker has a bundle of this name; there are {', '.join(sorted(served))}"
            raise InvalidRequest(f"model: {problem}", errors=[{"field": "model", "problem": problem}])

    def _spec(self, kind: Kind, seen: Seen, order: DetectOrder, caller: Caller, lane: Lane) -> JobSpec:
        job_id, now_ms = new_id(), time.time_ns() // 10**6
        controls, output = JobControls(seed=secrets.randbits(SEED_BITS)), Output()
        if isinstance(order, RestoreOrder):
            said = order.model_dump(
                exclude={"model", "lane", "deadline_s"} | ({"seed"} if order.seed is None else set())
            )
            output = Output(**{name: said.pop(name) for name in ("format", "quality", "metadata")})
            controls = JobControls(**{"seed": controls.seed, **said})
        return JobSpec(
            id=job_id,
            kind=kind,
            bundle=order.model or self.settings.bundle,
            lane=order.lane or lane,
            controls=controls,
            source=Source(blob=f"{job_id}/input", **vars(seen)),
            output=output,
            submitted_ms=now_ms,
            deadline_ms=None if order.deadline_s is None else now_ms + int(order.deadline_s * 1000),
            keep_s=self.settings.keep_s,
            owner=caller.owner,
        )

    async def find(self, job_id: str, caller: Caller) -> JobRecord:
        """The job, if this caller may see it.

        Raises:
            NoSuchJob: there is none, or it is another key's.
            Gone: there may have been one, so long ago that it would be forgotten.
        """
        record = await self.queue.record(job_id)
        if record is None:
            raise self._missing(job_id)
        if not caller.may_see(record.spec.owner):
            raise NoSuchJob(f"there is no job {job_id}")
        return record

    def _missing(self, job_id: str) -> NoSuchJob | Gone:
        born = born_ms(job_id)
        if born is not None and 0 < born <= (time.time() - self.settings.keep_s) * 1000:
            return Gone(f"job {job_id} has been forgotten: jobs are kept for {self.settings.keep_s} s after their end")
        return NoSuchJob(f"there is no job {job_id}")

    async def wait(self, record: JobRecord, wait_s: float) -> Waited:
        """The job when it is over, or as it stands when the wait is; a server that stops ends every wait.

        Raises:
            Gone: it was forgotten meanwhile.
        """
        job_id, until_s, picture = record.spec.id, time.monotonic() + wait_s, None
        with self.wakes.bell(job_id, record.spec.owner, at_end=True) as bell:
            while not record.state.over and not self.wakes.closed and (left_s := until_s - time.monotonic()) > 0:
                await bell.wait(left_s)
                again, picture = await self.queue.record_with_result(record.spec)
                if again is None:
                    raise Gone(f"job {job_id} was deleted while it was waited for")
                record = again
        return Waited(record, picture)

    async def settle(self, record: JobRecord, wait_s: float) -> Waited:
        """`wait` for a job just handed in: it is in line whatever goes wrong now, and must not be sent again."""
        try:
            return await self.wait(record, wait_s) if wait_s > 0 else Waited(record)
        except (RedisError, TooManyWaits) as error:
            log.warning("wait.ended", error=type(error).__name__, job=record.spec.id)
            return Waited(record)

    async def body(self, record: JobRecord, prefix: str = "") -> JobBody:
        """The job as its user sees it, with its place in line."""
        try:
            place = await self._place(record) if record.state is State.QUEUED else None
        except RedisError:  # the job is the answer, its place an extra
            place = None
        return job_body(record, place, prefix)

    async def _place(self, record: JobRecord) -> Place | None:
        in_lane = await self.queue.place(record.spec)
        if in_lane is None:
            return None
        backlog = await self.queue.backlog(record.spec.bundle)
        before = in_lane + sum(backlog.queued[lane] for lane in LANES[: LANES.index(record.spec.lane)])
        per_job_s = backlog.seconds_per_job
        return Place(position=before, eta_s=None if per_job_s is None else round((before + 1) * per_job_s, 1))

    async def blob(self, name: str, what: str) -> bytes:
        """A stored picture.

        Raises:
            Gone: it has been deleted or has outlived its time.
        """
        try:
            return await self.store.get(name)
        except BlobMissing as error:
            raise Gone(f"{what} is not kept any more") from error

    async def page(self, caller: Caller, limit: int, before_ms: int | None) -> tuple[list[JobRecord], int | None]:
        """Jobs that this caller may see, newest first, and where the next page begins."""
        records = await self.queue.newest(limit, before_ms, caller.owner)
        return records, records[-1].enqueued_ms if len(records) >= limit else None

    async def end(self, record: JobRecord) -> State | None:
        """Cancel a job, or forget one that is over with all that was stored; the state it was in."""
        job_id = record.spec.id
        before = record.state if record.state.over else await self.queue.cancel(job_id, self.settings.keep_s)
        if before is State.QUEUED:
            await self.store.delete(*_blobs(record))
        elif before is not None and before.over:
            latest = await self.queue.record(job_id) or record
            await self.store.delete(*_blobs(latest))
            await self.queue.forget(job_id)
        return before


def _full(backlog: Backlog, most_queued: int) -> QueueIsFull:
    seconds = backlog.seconds_per_job
    over = max(1, backlog.total - most_queued + 1)
    return QueueIsFull(
        f"{backlog.total} jobs are in line, at most {most_queued} may be",
        headers=retry_after(UNMEASURED_S if seconds is None else seconds * over),
    )


def _blobs(record: JobRecord) -> list[str]:
    """Everything that is stored of a job, each once."""
    names = [record.spec.source.blob] if record.spec.source else []
    names += [entry.blob for entry in record.outcome.passes if entry.blob]
    names += [record.outcome.result.blob] if record.outcome.result else []
    return list(dict.fromkeys(names))
