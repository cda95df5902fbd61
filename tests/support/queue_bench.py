"""A queue on a test's own Valkey, with short methods for what tests of the queue do all the time."""

from uuid import uuid4

from redis.asyncio import Redis

from jobs import redis_keys
from jobs.lease import Finished, Leased
from jobs.queue import Queue
from jobs.record import Outcome, Progress
from jobs.spec import LANES, JobSpec
from jobs.state import State

BUNDLE = "b"
MANY = 1000
DAY_S = 86_400


def spec(lane="standard", **fields) -> JobSpec:
    return JobSpec(**{"id": uuid4().hex, "bundle": BUNDLE, "lane": lane, "kind": "noop", "submitted_ms": 1, **fields})


class QueueBench:
    """A queue and its Redis client."""

    def __init__(self, redis: Redis) -> None:
        self.redis, self.queue = redis, Queue(redis)

    async def submit(self, *lanes: str) -> list[JobSpec]:
        """Submits one job after another, each in a millisecond of its own: jobs of one millisecond have no order."""
        jobs = [spec(lane) for lane in lanes]
        for job in jobs:
            await self.queue.submit(job, MANY)
            arrived_ms = await self.queue.now_ms()
            while await self.queue.now_ms() == arrived_ms:
                pass
        return jobs

    async def lease(self, max_jobs=1, token="a", lanes=LANES, held=0) -> list[str]:
        leased, refused = await self.queue.lease([BUNDLE], lanes, max_jobs, worker=f"w-{token}", token=token, held=held)
        assert refused == []
        return [job.spec.id for job in leased]

    async def running(self, token="a") -> JobSpec:
        (job,) = await self.submit("standard")
        assert await self.lease(token=token) == [job.id]
        await self.begin(job, token)
        return job

    async def begin(self, job: JobSpec, token="a") -> None:
        """Report, as a worker does when its engine begins with a job that it holds."""
        assert await self.queue.report(token, job.id, Progress())

    async def commit(self, job: JobSpec, state=State.SUCCEEDED, token="a", outcome=Outcome(), keep_s=DAY_S):  # noqa: B008
        (answer,) = await self.queue.commit(token, [finished(job, state, outcome, keep_s)])
        return answer

    async def state(self, job: JobSpec) -> State | None:
        record = await self.queue.record(job.id)
        return record.state if record else None

    async def lease_one(self, token="a") -> Leased:
        ((leased,), _) = await self.queue.lease([BUNDLE], LANES, 1, worker="w", token=token, held=0)
        return leased

    async def set_arrival(self, job: JobSpec, arrival_s: float) -> None:
        """Set when a job arrived, so that no order depends on the test's own speed."""
        await self.redis.hset(redis_keys.JOB + job.id, "enqueued_ms", int(arrival_s * 1000))
        tenant = job.owner or redis_keys.ANYBODY
        if await self.redis.zrank(f"{redis_keys.LINE_OF_TENANT}{job.queue}:{tenant}", job.id) == 0:
            await self.redis.zadd(redis_keys.FIRSTS + job.queue, {tenant: int(arrival_s * 1000)})

    async def end_lease(self, *jobs: JobSpec) -> None:
        """Let the leases of jobs end now."""
        for job in jobs:
            await self.redis.zadd(redis_keys.LEASES, {job.id: 1}, xx=True)

    async def event_types(self, job: JobSpec) -> list[str]:
        return [event.type for event in await self.queue.events(job.id)]

    async def keyspace(self) -> dict[bytes, object]:
        """Returns every key with its value."""
        found = {}
        async for key in self.redis.scan_iter():
            match await self.redis.type(key):
                case b"hash":
                    found[key] = await self.redis.hgetall(key)
                case b"list":
                    found[key] = await self.redis.lrange(key, 0, -1)
                case b"zset":
                    found[key] = await self.redis.zrange(key, 0, -1, withscores=True)
                case b"stream":
                    found[key] = await self.redis.xrange(key)
                case b"set":
                    found[key] = await self.redis.smembers(key)
                case _:
                    found[key] = await self.redis.get(key)
        return found

    async def traces(self, job: JobSpec) -> list[bytes]:
        """Returns the keys that are named after a job or mention it, except the list that wakes workers."""
        return [
            key
            for key, value in (await self.keyspace()).items()
            if not key.startswith(redis_keys.ARRIVALS.encode()) and (job.id.encode() in key or job.id in repr(value))
        ]


def finished(job: JobSpec | str, state=State.SUCCEEDED, outcome=Outcome(), keep_s=DAY_S, **fields):  # noqa: B008
    """How a job ended, with a picture of one megapixel."""
    job_id = job if isinstance(job, str) else job.id
    return Finished(id=job_id, state=state, outcome=outcome, keep_s=keep_s, **fields)
