"""The job queue: one atomic Lua script for each change of a job (scripts/), and plain reads.

The scripts keep RQ's data structures true at every step, but RQ's Python code does not run.  It needs 60 commands for a
job, and a job is lost when a worker dies between RQ's pop and its bookkeeping (docs/decisions/0008).

Each method raises redis.exceptions.RedisError when Redis is away.
"""

import json
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue
from redis.asyncio import Redis
from redis.exceptions import RedisError

from jobs import redis_keys
from jobs.backlog import Backlog
from jobs.batches import Batches
from jobs.blob_store import CARRIED_BYTES, Blob
from jobs.claims import Claim, holder, taken
from jobs.counters import Counters
from jobs.drain_rate import seconds_per_job
from jobs.errors import DuplicateJob, QueueFull, WorkerDrained, full_redis
from jobs.forecast import Forecast, LineSnapshot, forecast, read_line
from jobs.hooks import Hooks
from jobs.job_list import JobList
from jobs.job_log import log_ends
from jobs.lane_pauses import LanePauses
from jobs.lease import Finished, Leased, Refused, read_lease_row
from jobs.lua_scripts import LuaScripts
from jobs.quota_counters import QuotaCounters, quota_exceeded, submission_quotas
from jobs.quotas import NO_QUOTAS, Quotas
from jobs.record import Failure, JobRecord, Outcome, Progress, read_record
from jobs.replication import NO_REPLICATION, Replication
from jobs.request_context import NO_REQUEST, RequestContext
from jobs.rq_format import MAX_PACKED_BYTES, iso_now, pack
from jobs.spec import HEAD_START_S, LANES, JobSpec, Lane, queue_name
from jobs.state import State
from jobs.storage_limits import StorageLimits, store_full
from jobs.worker_registry import WorkerRegistry

MAX_FORGOTTEN_AT_ONCE = 200
NO_NUMBERS: Mapping[str, int] = {}


@dataclass(frozen=True, kw_only=True)
class Event:
    """An entry of a job's event stream.  `id` is the value that clients repeat in Last-Event-ID."""

    id: str
    type: str
    data: dict[str, JsonValue]


class Queue:
    """Jobs in Redis, with the registry of workers and the counters beside them.

    Making a Queue costs little; a process should share one Redis client.
    """

    def __init__(
        self, redis: "Redis", storage: StorageLimits | None = None, replication: Replication = NO_REPLICATION
    ) -> None:  # fmt: skip
        self.redis: Any = redis  # redis-py annotates for str and bytes clients at once; ours answers in bytes
        self.storage = storage
        self.replication, self._scripts = replication, LuaScripts(redis, replication)
        self.workers, self.counters = WorkerRegistry(redis, self._scripts), Counters(redis)
        self.pauses, self.quotas = LanePauses(redis, self._scripts), QuotaCounters(redis, self._scripts)
        self.listing, self.batches = JobList(redis, self._scripts), Batches(redis, self._scripts)

    @property
    def keys(self) -> Any:  # noqa: ANN401 - as `redis`
        """The Redis with the API keys and what belongs to them."""
        return self.redis

    def place(self, claim: Claim | None = None) -> int:
        """Returns the shard for a new id: here is one server, in jobs.shards.queue are several."""
        return 0

    def part(self, an_id: str) -> "Queue":
        """Returns the queue of the one server that has the job, batch or upload with this id."""
        return self

    def parts(self) -> "Sequence[Queue]":
        """Returns the queue of each server that answers."""
        return [self]

    async def for_each_part(self, work: "Callable[[int, Queue], Coroutine[Any, Any, None]]") -> None:
        """Run an endless work for each server, with its number."""
        await work(0, self)

    def shard_number(self, an_id: str) -> int:
        """Returns the number of the server that has the job, batch or upload with this id."""
        return 0

    async def claim_holder(self, claim: Claim) -> tuple[str, str] | None:
        """Returns the digest of the request that has taken a claim, and the id of what it has made; None: nobody."""
        return await holder(self.redis, claim.name)

    async def reserve(self, spec: JobSpec) -> None:
        """Make room for an input that is stored before its job is submitted.

        Raises:
            StoreFull: there is no room, and nothing has been kept.
        """
        if self.storage is None or spec.source is None:
            return
        name, room = spec.source.blob, self.storage.room(spec.source.bytes)
        run = self._scripts.run
        if refused := await self._unless_full(run, "reserve", id=spec.id, name=name, owner=spec.owner, room=room):
            raise store_full(refused)

    async def unreserve(self, *jobs: str) -> None:
        """Give back the room of inputs that became no job: of these jobs, and of all whose process has died."""
        await self._scripts.run("unreserve", ids=list(jobs))

    async def _unless_full(self, run: Callable[..., Awaitable[Any]], script: str, *words: Any, **arguments: Any) -> Any:  # noqa: ANN401 - as Lua answers
        try:
            return await run(script, *words, **arguments)
        except RedisError as error:
            if full := full_redis(error):
                raise full from error
            raise

    async def stored_bytes(self) -> int:
        """Returns the bytes of all images in the store, those of results included."""
        return int(await self.redis.hget(redis_keys.STORED_TOTALS, "*") or 0)

    async def submit(
        self, spec: JobSpec, max_queued: int, blob: Blob | None = None, request: RequestContext = NO_REQUEST,
        quotas: Quotas = NO_QUOTAS, hooks: Hooks | None = None, claim: Claim | None = None,
    ) -> int:  # fmt: skip
        """Add a job, with its input where it is given, and return how many jobs of its bundle were queued before it.

        Raises:
            QueueFull: the bundle has `max_queued` queued jobs; nothing has been kept.
            StoreFull: there is no room for the input; nothing has been kept.
            QuotaExceeded: one of the quotas is used up; nothing has been kept or counted.
            DuplicateJob: there is a job with this id.
            ClaimTaken: an earlier request has taken the claim; nothing has been kept.
            NotReplicated: the job is queued, but a failover could lose it; the same claim finds it again.
        """
        accepted, queued, *rest = await self._unless_full(
            self._scripts.run_replicated, "submit", {"packed": pack(spec.id), "input": blob.data if blob else b""},
            id=spec.id, queue=spec.queue, bundle=spec.bundle, spec=spec.dump(), keep_s=spec.keep_s,
            deadline_ms=spec.deadline_ms, owner=spec.owner, iso=iso_now(), max_queued=max_queued, input=_placed(blob),
            queues=[queue_name(spec.bundle, lane) for lane in LANES], request=request.dump(),
            hooks=hooks.dump() if hooks else None,
            room=self.storage.room(len(blob.data) if blob else 0) if self.storage else None,
            claim=claim.arguments() if claim else None, labels=spec.labels or None, unstored=not spec.store or None,
            batch=spec.batch, pixels=spec.source.width_px * spec.source.height_px if spec.source else 0,
            quotas=submission_quotas(quotas),
        )  # fmt: skip
        if claim and accepted == -4:
            raise taken(claim.digest, queued.decode())
        if accepted == -2:
            raise store_full([queued, *rest])
        if accepted == -3:
            raise quota_exceeded([queued, *rest])
        if accepted == -1:
            raise DuplicateJob(f"there is a job {spec.id} already")
        if not accepted:
            raise QueueFull(f"got {queued} queued jobs, expected fewer than {max_queued}", queued)
        return int(queued)

    async def lease(
        self, bundles: Sequence[str], lanes: Sequence[Lane], max_jobs: int, *, worker: str, token: str, held: int,
        host: str | None = None, on_alone: Callable[[], None] | None = None,
    ) -> tuple[list[Leased], list[Refused]]:  # fmt: skip
        """Lease up to `max_jobs` jobs for a worker that holds `held` jobs already.

        The lane goes first whose first job has waited longest beyond the lane's head start; paused lanes have no turn.
        Jobs that are not ours, or that a later version has written, are failed and returned apart.  `on_alone` is
        called where the next job must run alone.

        Raises:
            WorkerDrained: an operator drains the worker, or its host.
        """
        rows = await self._scripts.run(
            "lease", max_jobs=max_jobs, worker=worker, host=host, token=token, iso=iso_now(), held=held,
            tell_alone=on_alone is not None or None,
            max_packed_bytes=MAX_PACKED_BYTES, max_input_bytes=CARRIED_BYTES,
            lanes=[
                {"queue": queue_name(bundle, lane), "lane": lane, "head_start_ms": int(HEAD_START_S[lane] * 1000)}
                for bundle in bundles
                for lane in lanes
            ],
        )  # fmt: skip
        if rows and rows[0][1] == b"drained":
            raise WorkerDrained(f"an operator drains {worker}")
        leased, refused = [], []
        for row in rows:
            if row[1] == b"alone" and on_alone:
                on_alone()
                continue
            if row[1] == b"expired":
                await log_ends(self, {row[0].decode(): State.EXPIRED})
                continue
            job = read_lease_row(row, bundles)
            if isinstance(job, Leased):
                leased.append(job)
            else:
                refused.append(job)
                await self._refuse(job, token, running=row[1] == b"leased")
        return leased, refused

    async def _refuse(self, refused: Refused, token: str, running: bool) -> None:
        await self.counters.add(f"refused:{refused.reason}")
        if running:
            outcome = Outcome(failure=Failure(code=refused.code, detail=refused.detail, hint=refused.hint))
            keep_s = redis_keys.DEFAULT_KEEP_S
            ended = Finished(id=refused.id, state=State.FAILED, outcome=outcome, keep_s=keep_s)
            await self.commit(token, [ended], replicated=False)

    async def renew(self, token: str, ids: Sequence[str], numbers: Mapping[str, int] = NO_NUMBERS) -> dict[str, str]:
        """Renew leases.  Returns for each id 'ok', 'cancel' (its user canceled it) or 'lost' (the lease has ended).

        `numbers`: of the leases, where they are known.  Another lease of the same worker counts as lost then.
        """
        if not ids:
            return {}
        answers = await self._scripts.run("renew", token=token, iso=iso_now(), ids=list(ids), numbers=dict(numbers))
        return {job: answer.decode() for job, answer in zip(ids, answers, strict=True)}

    async def report(
        self, token: str, job: str, progress: Progress, outcome: Outcome | None = None, event: Event | None = None,
        number: int | None = None,
    ) -> bool:  # fmt: skip
        """Publish a job's progress, with the outcome so far and an event.  Returns False where the lease is lost."""
        reported = await self._scripts.run(
            "report_progress", token=token, id=job, number=number, progress=progress.model_dump_json(),
            outcome=outcome.model_dump_json() if outcome else None,
            event={"type": event.type, "data": json.dumps(event.data)} if event else None,
        )  # fmt: skip
        return bool(reported)

    async def commit(self, token: str, finished: Sequence[Finished], *, replicated: bool = True) -> list[State | None]:
        """End jobs, each with its result where it has one.

        Returns the state that each job ended in: a cancel that came first wins, and None says that the lease was lost,
        so that nothing has been published.  A commit may be repeated when its reply was lost: it answers as before.

        Raises:
            NotReplicated: the jobs have ended, but a failover could lose that; never where `replicated` is false.
        """
        jobs = [
            {
                "id": job.id, "state": job.state.value, "outcome": job.outcome.model_dump_json(), "keep_s": job.keep_s,
                "work_ms": round(1000 * job.work_s),
                **({"result": _placed(job.blob)} if job.blob else {}), **({"fence": job.fence} if job.fence else {}),
                **({"number": job.number} if job.number is not None else {}),
            }
            for job in finished
        ]  # fmt: skip
        pictures = {job.id: job.blob.data for job in finished if job.blob}
        run = self._scripts.run_replicated if replicated else self._scripts.run
        answers = await run("commit", pictures, token=token, iso=iso_now(), jobs=jobs)
        return [State(answer.decode()) if answer else None for answer in answers]

    async def release(
        self, token: str, ids: Sequence[str], *, died: bool, failure: Failure | None = None,
        numbers: Mapping[str, int] = NO_NUMBERS,
    ) -> dict[str, str]:  # fmt: skip
        """Put jobs back to the front of their queues.

        Args:
            died: the engine died with the jobs in it.  The death counts; without it, the attempt does not.
            failure: how a job ends that has died too often; by default as suspected poison.
            numbers: of the leases, where they are known.  With them, a release may be repeated when its reply was lost.

        Returns:
            For each id 'queued', 'canceled', 'lost', 'expired', or 'poison' after too many deaths.
        """
        if not ids:
            return {}
        newest_first = list(reversed(ids))
        answers = await self._scripts.run(
            "release", token=token, iso=iso_now(), deaths=int(died), ids=newest_first, numbers=dict(numbers),
            failure=failure.model_dump() if failure else None,
        )  # fmt: skip
        return {job: answer.decode() for job, answer in zip(newest_first, answers, strict=True)}

    async def release_unheld(
        self, token: str, held: Sequence[str], numbers: Mapping[str, int] = NO_NUMBERS
    ) -> list[str]:  # fmt: skip
        """Put back jobs that were leased in a reply that never arrived.  `held` are the others.  Returns the ids."""
        named = dict(numbers)
        jobs = await self._scripts.run("release_unheld", token=token, iso=iso_now(), held=list(held), numbers=named)
        return [job.decode() for job in jobs]

    async def reclaim(self, *, ending_only: bool = False) -> dict[str, str]:
        """Put the jobs of dead workers back into their queues.  Returns the answers of `release`.

        With `ending_only`, take only those that end now: they were canceled, or their deadline has passed.
        """
        rows = await self._scripts.run("reclaim", iso=iso_now(), ending_only=ending_only)
        return {job.decode(): answer.decode() for job, answer in rows}

    async def cancel(self, job: str, keep_s: int | None = None, spec: JobSpec | None = None) -> State | None:
        """Cancel a job.  Returns the state that it was in, None for an unknown job.

        A running job ends when its worker renews the lease.  `keep_s` shortens how long a queued job's record is kept.
        Nothing of the job's content stays: no image, and where `spec` is given, no prompt either.
        """
        text = spec.without_prompt().dump() if spec else None
        before = await self._scripts.run("cancel", id=job, iso=iso_now(), keep_s=keep_s, spec=text)
        return State(before.decode()) if before else None

    async def forget(self, *jobs: str) -> int:
        """Remove every trace of jobs.  Returns how many there were.

        Blobs in Redis go at once, those in an object store with its next sweep.
        """
        return int(await self._scripts.run("forget", ids=list(jobs))) if jobs else 0

    async def purge(self, jobs: Mapping[str, JobSpec | None], cause: Failure) -> list[str]:
        """Cancel those of these jobs that are queued, with the operator's reason.  Returns the ids of those.

        Their images and, where the spec is given, their prompts are erased.
        """
        rows = [{"id": job, **({"spec": spec.without_prompt().dump()} if spec else {})} for job, spec in jobs.items()]
        ended = await self._scripts.run("purge", iso=iso_now(), jobs=rows, cause=cause.model_dump())
        return [job.decode() for job in ended]

    async def expire(self) -> list[str]:
        """End queued jobs whose deadline has passed.  Returns their ids."""
        return [job.decode() for job in await self._scripts.run("expire", iso=iso_now())]

    async def forget_expired(self) -> list[str]:
        """Forget jobs that have been kept long enough, up to MAX_FORGOTTEN_AT_ONCE.  Returns their ids."""
        now_ms = await self.now_ms()
        due = await self.redis.zrangebyscore(redis_keys.EXPIRY, "-inf", now_ms, start=0, num=MAX_FORGOTTEN_AT_ONCE)
        jobs = [job.decode() for job in due]
        await self.forget(*jobs)
        return jobs

    async def record(self, job: str) -> JobRecord | None:
        """Returns what is known of a job.

        Raises:
            NewerSpec: a later version of undegrade has written it.
        """
        return read_record(await self.redis.hgetall(redis_keys.JOB + job))

    async def record_with_result(self, spec: JobSpec) -> tuple[JobRecord | None, bytes | None]:
        """Returns what is known of a job, and its result where that was stored with the commit and is still there."""
        fields, picture = await self._scripts.run("record_with_result", id=spec.id)
        return read_record(dict(zip(fields[::2], fields[1::2], strict=True)), spec), picture or None

    async def forecast(self, spec: JobSpec) -> Forecast | None:
        """Returns where a waiting job stands and when it will have ended; None once its engine has begun with it."""
        return forecast(spec.id, spec.lane, await self.line(spec.bundle, spec.lane, spec.id))

    async def line(self, bundle: str, lane: Lane = "standard", job: str = "", owner: str | None = None) -> LineSnapshot:
        """Returns a bundle's jobs at one moment, with the places of a job of the lane and of the owner's next one."""
        return read_line(await self._scripts.run(
            "line", id=job, queue=queue_name(bundle, lane), bundle=bundle, newcomer=owner or redis_keys.ANYBODY,
            queues=[queue_name(bundle, each) for each in LANES],
        ))  # fmt: skip

    async def backlog(self, bundle: str) -> Backlog:
        """Returns how much work there is for a bundle."""
        async with self.redis.pipeline(transaction=False) as pipeline:
            for lane in LANES:
                pipeline.llen(redis_keys.RQ_QUEUE + queue_name(bundle, lane))
            for lane in LANES:
                pipeline.zcard(redis_keys.RQ_STARTED + queue_name(bundle, lane))
            pipeline.lrange(redis_keys.RECENT_ENDS + bundle, 0, -1)
            answers = await pipeline.execute()
        queued = {str(lane): int(length) for lane, length in zip(LANES, answers, strict=False)}
        running = sum(map(int, answers[len(LANES) : -1]))
        return Backlog(queued=queued, running=running, seconds_per_job=seconds_per_job(answers[-1]))

    async def events(self, job: str, after: str = "0-0") -> list[Event]:
        """Returns the job's events after the one with this id."""
        rows = await self.redis.xrange(redis_keys.EVENTS + job, min=f"({after}")
        return [Event(id=i.decode(), type=f[b"type"].decode(), data=json.loads(f[b"data"])) for i, f in rows]

    async def wait_for_work(self, bundles: Sequence[str], timeout_s: float) -> None:
        """Return when a job may have arrived, or after `timeout_s`."""
        await self.redis.blpop([redis_keys.ARRIVALS + bundle for bundle in bundles], timeout=timeout_s)

    async def now_ms(self) -> int:
        """Returns the time by Redis' clock, the only one that all processes share."""
        seconds, micros = map(int, await self.redis.time())
        return seconds * 1000 + micros // 1000

    async def clock_skew_s(self) -> float:
        """Returns this machine's clock minus Redis', in the middle of the call."""
        before_s, redis_s = time.time(), await self.now_ms() / 1000
        return (before_s + time.time()) / 2 - redis_s


def _placed(blob: Blob | None) -> dict[str, object] | None:
    """Where a script stores a blob; its bytes go apart."""
    return {"key": redis_keys.BLOB + blob.name, "name": blob.name, "ttl_s": blob.ttl_s} if blob else None
