"""The queue as both sides see it: one atomic script for each thing that can happen to a job.

RQ's data structures are kept true at every step, but its Python is not on the way: a job costs it 60 commands, and the
gap between its pop and its bookkeeping is where jobs are lost (docs/decisions/0008).

Every method raises redis.exceptions.RedisError when Redis is away.
"""

import json
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from jobs import redis_keys
from jobs.errors import DuplicateJob, QueueFull, RefusedJob, SpecError
from jobs.record import JobRecord, Outcome, Progress, State, WorkerInfo, read_record
from jobs.rq_format import MOST_PACKED_BYTES, check, pack
from jobs.spec import HEAD_START_S, LANES, JobSpec, Lane, load_spec, queue_name
from jobs.store import CARRIED_BYTES, Blob

SCRIPTS = Path(__file__).with_name("scripts")
ENDING = {"lease", "commit", "release", "reclaim", "cancel"}
"""Scripts that begin with ending.lua's functions."""
FORGOTTEN_AT_A_TIME = 200


@dataclass(frozen=True, kw_only=True)
class Leased:
    """A job in this worker's hands until its lease ends."""

    spec: JobSpec
    attempts: int
    deaths: int
    alone: bool  # it was in flight when an engine died: no company until it has ended
    cancel: bool
    input: bytes | None = None  # what came with the job, where it did; others are the store's


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A job in our lanes that is not ours; it has been failed and never run."""

    id: str
    reason: str  # oversized | not-json | function-not-listed | callback
    detail: str


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """What is in line for a bundle, and how fast it has been drained lately."""

    queued: dict[str, int]
    running: int
    seconds_per_job: float | None  # None before two jobs have ended

    @property
    def total(self) -> int:
        return sum(self.queued.values())


@dataclass(frozen=True, kw_only=True)
class Event:
    """One entry of a job's event stream; `id` is what Last-Event-ID repeats."""

    id: str
    type: str
    data: dict[str, Any]


class Queue:
    """Jobs in Redis.  Cheap to make; share one client a process."""

    def __init__(self, redis: "Redis") -> None:
        self.redis: Any = redis  # its annotations are of str and bytes clients at once; ours answers in bytes
        ending = (SCRIPTS / "ending.lua").read_text()
        self._scripts = {
            path.stem: redis.register_script((ending if path.stem in ENDING else "") + path.read_text())
            for path in SCRIPTS.glob("*.lua")
            if path.stem != "ending"
        }

    async def _run(self, script: str, *words: str | bytes | float) -> Any:  # noqa: ANN401 - as Lua answers
        return await self._scripts[script](args=words)

    async def submit(self, spec: JobSpec, most_queued: int, blob: Blob | None = None) -> int:
        """Take a job in, with a blob that belongs to it, and return how many were in line for its bundle.

        Raises:
            QueueFull: as many as `most_queued` are in line; nothing has been kept.
            DuplicateJob: the id is taken.
        """
        accepted, before = await self._run(
            "submit", spec.id, spec.queue, spec.dump(), pack(spec.id), _iso(), most_queued, redis_keys.QUEUED_TTL_S,
            spec.bundle, redis_keys.EVENTS_KEPT, redis_keys.BELL_KEPT, spec.deadline_ms or "", spec.keep_s,
            spec.owner or "",
            *_carried(blob), *(queue_name(spec.bundle, lane) for lane in LANES),
        )  # fmt: skip
        if accepted == -1:
            raise DuplicateJob(f"there is a job {spec.id} already")
        if not accepted:
            raise QueueFull(f"{before} jobs are in line, at most {most_queued}", before)
        return int(before)

    async def lease(
        self, bundles: Sequence[str], lanes: Sequence[Lane], most: int, *, worker: str, token: str, in_hand: int
    ) -> tuple[list[Leased], list[Refused]]:
        """Up to `most` jobs, the longest waiting beyond its lane's head start first; what is not ours is refused."""
        pairs = [
            word
            for bundle in bundles
            for lane in lanes
            for word in (queue_name(bundle, lane), int(HEAD_START_S[lane] * 1000))
        ]
        rows = await self._run(
            "lease", most, redis_keys.LEASE_MS, worker, token, _iso(), in_hand, MOST_PACKED_BYTES,
            redis_keys.EVENTS_KEPT, redis_keys.RQ_STARTED_GRACE_MS, CARRIED_BYTES, *pairs,
        )  # fmt: skip
        leased, refused = [], []
        for row in rows:
            sorted_out = _leased(row)
            if isinstance(sorted_out, Leased):
                leased.append(sorted_out)
            else:
                refused.append(sorted_out)
                await self._refuse(sorted_out, token, known=row[1] == b"leased")
        return leased, refused

    async def _refuse(self, refused: Refused, token: str, known: bool) -> None:
        await self.count(f"refused:{refused.reason}")
        if known:
            outcome = {"failure": {"code": "refused", "detail": refused.detail, "hint": "submit it through the API"}}
            await self.commit(token, [(refused.id, State.FAILED, Outcome.model_validate(outcome), 86_400, 0.0)])

    async def renew(self, token: str, ids: Sequence[str]) -> dict[str, str]:
        """Each id's state of affairs: 'ok', 'cancel' (its user wants an end) or 'lost' (another worker has it)."""
        if not ids:
            return {}
        answers = await self._run("renew", token, redis_keys.LEASE_MS, _iso(), *ids)
        return {job: answer.decode() for job, answer in zip(ids, answers, strict=True)}

    async def report(
        self, token: str, job: str, progress: Progress, outcome: Outcome | None = None, event: Event | None = None
    ) -> bool:
        """Publish how far a job is; False where the lease is lost."""
        return bool(
            await self._run(
                "report", token, job, progress.model_dump_json(), outcome.model_dump_json() if outcome else "",
                event.type if event else "", json.dumps(event.data) if event else "", redis_keys.EVENTS_KEPT,
            )
        )  # fmt: skip

    async def commit(
        self,
        token: str,
        ended: Iterable[tuple[str, State, Outcome, int, float]],
        blobs: Mapping[str, Blob] | None = None,
    ) -> list[State | None]:
        """End jobs: (id, state, outcome, seconds to keep it, megapixels), each with its blob where it has one.

        Returns the state that each ended in (a cancel that came first wins), None where the lease was lost: then the
        outcome is not ours to publish.
        """
        words = [
            word
            for job, state, outcome, keep_s, megapixels in ended
            for word in (
                job,
                state.value,
                outcome.model_dump_json(),
                keep_s,
                round(megapixels, 3),
                *_carried((blobs or {}).get(job)),
            )
        ]
        answers = await self._run("commit", token, _iso(), redis_keys.EVENTS_KEPT, redis_keys.DRAIN_KEPT, *words)
        return [State(answer.decode()) if answer else None for answer in answers]

    async def release(self, token: str, ids: Sequence[str], *, died: bool, keep_s: int | None = None) -> dict[str, str]:
        """Hand jobs back to the front of their line: 'queued', 'canceled', 'lost', or 'poison' for the second death."""
        if not ids:
            return {}
        backwards = list(reversed(ids))
        answers = await self._run(
            "release",
            token,
            redis_keys.EVENTS_KEPT,
            int(died),
            redis_keys.MOST_DEATHS,
            _iso(),
            keep_s or "",
            *backwards,
        )
        return {job: answer.decode() for job, answer in zip(backwards, answers, strict=True)}

    async def reclaim(self, keep_s: int | None = None) -> dict[str, str]:
        """Put the jobs of dead workers back in line."""
        rows = await self._run("reclaim", redis_keys.MOST_DEATHS, _iso(), redis_keys.EVENTS_KEPT, keep_s or "", 100)
        return {job.decode(): answer.decode() for job, answer in rows}

    async def cancel(self, job: str, keep_s: int | None = None) -> State | None:
        """Ask for its end; the state it was in, None for an unknown job."""
        before = await self._run("cancel", job, _iso(), redis_keys.EVENTS_KEPT, keep_s or "")
        return State(before.decode()) if before else None

    async def forget(self, *jobs: str) -> int:
        """Remove every trace but the blobs, which are the store's."""
        return int(await self._run("forget", *jobs)) if jobs else 0

    async def forget_expired(self) -> list[str]:
        """Forget jobs that have been kept long enough."""
        now_ms = await self.now_ms()
        due = await self.redis.zrangebyscore(redis_keys.EXPIRY, "-inf", now_ms, start=0, num=FORGOTTEN_AT_A_TIME)
        jobs = [job.decode() for job in due]
        await self.forget(*jobs)
        return jobs

    async def record(self, job: str) -> JobRecord | None:
        """What is known of a job."""
        return read_record(await self.redis.hgetall(redis_keys.JOB + job))

    async def look(self, spec: JobSpec) -> tuple[JobRecord | None, bytes | None]:
        """What is known of a job, and the picture that came with its commit, where one did and is still there."""
        fields, picture = await self._run("look", spec.id)
        return read_record(dict(zip(fields[::2], fields[1::2], strict=True)), spec), picture or None

    async def newest(self, count: int, before_ms: int | None = None, owner: str | None = None) -> list[JobRecord]:
        """A page of jobs (of one API key), newest first, that arrived before `before_ms`.

        `count` of them, and all others of the last one's millisecond: the time is the cursor, and nothing may fall into
        the crack between two pages.
        """
        top = f"({before_ms}" if before_ms is not None else "+inf"
        index = f"{redis_keys.INDEX}:{owner}" if owner else redis_keys.INDEX
        found = await self.redis.zrevrangebyscore(index, top, "-inf", start=0, num=count, withscores=True)
        ids = [job for job, _ in found]
        if len(found) == count:
            last_ms = found[-1][1]
            same = await self.redis.zrevrangebyscore(index, last_ms, last_ms)
            ids += [job for job in same if job not in ids]
        async with self.redis.pipeline(transaction=False) as pipeline:
            for job in ids:
                pipeline.hgetall(redis_keys.JOB + job.decode())
            rows = await pipeline.execute()
        return [record for record in map(read_record, rows) if record]

    async def place(self, spec: JobSpec) -> int | None:
        """How many are before it in its lane; None once it has left the line."""
        place = await self.redis.lpos(redis_keys.RQ_QUEUE + spec.queue, spec.id)
        return int(place) if place is not None else None

    async def backlog(self, bundle: str) -> Backlog:
        """What is in line and in hand."""
        async with self.redis.pipeline(transaction=False) as pipeline:
            for lane in LANES:
                pipeline.llen(redis_keys.RQ_QUEUE + queue_name(bundle, lane))
            for lane in LANES:
                pipeline.zcard(redis_keys.RQ_STARTED + queue_name(bundle, lane))
            pipeline.lrange(redis_keys.DRAIN + bundle, 0, -1)
            answers = await pipeline.execute()
        count = len(LANES)
        return Backlog(
            queued={str(lane): int(answers[i]) for i, lane in enumerate(LANES)},
            running=sum(int(answer) for answer in answers[count : 2 * count]),
            seconds_per_job=_seconds_per_job(answers[-1]),
        )

    async def events(self, job: str, after: str = "0-0") -> list[Event]:
        """The job's events after this one."""
        rows = await self.redis.xrange(redis_keys.EVENTS + job, min=f"({after}")
        return [Event(id=i.decode(), type=f[b"type"].decode(), data=json.loads(f[b"data"])) for i, f in rows]

    async def changes(self) -> AsyncIterator[tuple[str, bool]]:
        """Every job that changes, as it happens: (id, is it over); a dropped connection ends it with an error."""
        async with self.redis.pubsub() as channel:
            await channel.subscribe(redis_keys.WAKE)
            async for message in channel.listen():
                if message["type"] == "message":
                    job, _, over = message["data"].decode().partition(" ")
                    yield job, over == "over"

    async def wait_for_work(self, bundles: Sequence[str], timeout_s: float) -> None:
        """Return when a job may have arrived, or after `timeout_s`."""
        await self.redis.blpop([redis_keys.BELL + bundle for bundle in bundles], timeout=timeout_s)

    async def announce(self, *infos: WorkerInfo) -> None:
        """Say that a worker is alive, and what it is: one entry for each of its bundles, all of them at once."""
        async with self.redis.pipeline(transaction=True) as pipeline:
            for info in infos:
                seat = _seat(info.name, info.bundle)
                pipeline.sadd(redis_keys.WORKERS, seat)
                pipeline.set(redis_keys.WORKER + seat, info.model_dump_json(), ex=redis_keys.WORKER_TTL_S)
            await pipeline.execute()

    async def withdraw(self, name: str, bundles: Sequence[str]) -> None:
        """A worker says goodbye."""
        seats = [_seat(name, bundle) for bundle in bundles]
        await self.redis.srem(redis_keys.WORKERS, *seats)
        await self.redis.delete(*(redis_keys.WORKER + seat for seat in seats))

    async def workers(self) -> list[WorkerInfo]:
        """The workers that are alive; one with several bundles comes once for each."""
        names = sorted(name.decode() for name in await self.redis.smembers(redis_keys.WORKERS))
        if not names:
            return []
        said = await self.redis.mget([redis_keys.WORKER + name for name in names])
        if dead := [name for name, text in zip(names, said, strict=True) if text is None]:
            await self.redis.srem(redis_keys.WORKERS, *dead)
        return [WorkerInfo.model_validate_json(text) for text in said if text is not None]

    async def count(self, name: str, by: int = 1) -> None:
        await self.redis.hincrby(redis_keys.COUNTERS, name, by)

    async def counters(self) -> Mapping[str, int]:
        return {name.decode(): int(value) for name, value in (await self.redis.hgetall(redis_keys.COUNTERS)).items()}

    async def now_ms(self) -> int:
        """Redis' clock, the only one that all sides share."""
        seconds, micros = await self.redis.time()
        return int(seconds) * 1000 + int(micros) // 1000


def _leased(row: Sequence[bytes]) -> Leased | Refused:
    job, kind = row[0].decode(errors="backslashreplace"), row[1]
    if kind == b"oversized":
        return Refused(id=job, reason="oversized", detail=f"job {job} has {int(row[2])} bytes")
    data, named = (row[2], row[3]) if kind == b"foreign" else (row[3], row[4])
    try:
        check(job, {b"data": data, b"success_callback_name": named})
        if kind == b"foreign":
            raise RefusedJob("function-not-listed", f"job {job} did not come through the API")
        spec = load_spec(row[2])
    except RefusedJob as error:
        return Refused(id=job, reason=error.reason, detail=str(error))
    except SpecError as error:
        return Refused(id=job, reason="not-json", detail=f"job {job}: {error}")
    attempts, deaths, alone, cancel, carried = row[5:10]
    return Leased(
        spec=spec, attempts=int(attempts), deaths=int(deaths), alone=bool(alone), cancel=bool(cancel),
        input=carried or None,
    )  # fmt: skip


def _seat(worker: str, bundle: str) -> str:
    return f"{worker}/{bundle}"


def _carried(blob: Blob | None) -> tuple[str | bytes | int, ...]:
    return (redis_keys.BLOB + blob.name, blob.data, blob.ttl_s) if blob else ("", "", 0)


def _seconds_per_job(ended: Sequence[bytes]) -> float | None:
    """The mean distance of the last ends."""
    if len(ended) < 2:
        return None
    newest, oldest = (int(entry.split()[0]) for entry in (ended[0], ended[-1]))
    return max((newest - oldest) / 1000 / (len(ended) - 1), 1e-4)


def _iso() -> str:
    """Now, as RQ writes it."""
    return datetime.fromtimestamp(time.time(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
