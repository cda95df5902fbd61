"""A line of jobs in plain Python, as the oracle of the scripts: lists, and no virtual time.

It does not decide which tenant goes next.  It knows what every order must respect.
"""

from collections import defaultdict

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from queue_bench import BUNDLE, MANY, spec

from jobs import redis_keys
from jobs.api_keys import ApiKey

QUEUE = f"{BUNDLE}.standard"
LIST = redis_keys.RQ_QUEUE + QUEUE
TENANTS = ("aaa", "bbb", "ccc", None)
KEYS = (
    redis_keys.LINE, redis_keys.LINE_OF_TENANT, redis_keys.TURNS, redis_keys.FIRSTS, redis_keys.PAST_TURNS,
    redis_keys.VIRTUAL_TIME,
)  # fmt: skip
"""The starts of the Redis keys that the scripts keep beside RQ's list."""
ON_VALKEY = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
STEPS = st.one_of(
    st.tuples(st.just("submit"), st.integers(0, len(TENANTS) - 1)),
    st.tuples(st.just("lease"), st.integers(1, 4)),
    st.tuples(st.sampled_from(["cancel", "put back", "forget", "die"]), st.integers(0, 30)),
)
"""What may happen to a line; the number chooses a tenant, a count or a job."""


class PlainLine:
    """What must be true of a line after each change: the queued jobs, their order within a tenant, the leased jobs."""

    def __init__(self) -> None:
        self.of_tenant: dict[str, list[str]] = defaultdict(list)
        self.listed: list[str] = []
        self.tenant_of: dict[str, str] = {}
        self.leased: list[str] = []

    def submit(self, job: str, tenant: str) -> None:
        self.tenant_of[job] = tenant
        self.of_tenant[tenant].append(job)
        self.listed.append(job)

    def lease(self, jobs: list[str], asked: int) -> None:
        assert len(jobs) == min(asked, len(self.listed)), "no worker stays idle while a job is queued"
        for job in jobs:
            assert self.of_tenant[self.tenant_of[job]].pop(0) == job, "first in, first out within a tenant"
            self.listed.remove(job)
            self.leased.append(job)

    def cancel(self, job: str) -> None:
        self.of_tenant[self.tenant_of[job]].remove(job)
        self.listed.remove(job)

    def put_back(self, job: str) -> None:
        self.leased.remove(job)
        self.of_tenant[self.tenant_of[job]].insert(0, job)
        self.listed.insert(0, job)


async def set_weight(bench, tenant: str, weight: int) -> None:
    """Make the tenant an API key of this weight."""
    key = ApiKey(id=tenant, name=tenant, sha256="", created_ms=1, weight=weight)
    await bench.redis.hset(redis_keys.API_KEYS, tenant, key.dump())


async def submit(bench, tenant: str | None, jobs: int = 1, lane="standard") -> list[str]:
    specs = [spec(lane, owner=tenant) for _ in range(jobs)]
    for job in specs:
        await bench.queue.submit(job, 10 * MANY)
    return [job.id for job in specs]


async def listed(bench) -> list[str]:
    return [job.decode() for job in await bench.redis.lrange(LIST, 0, -1)]


async def keys_of_lines(bench) -> dict[bytes, object]:
    """Returns the Redis keys beside RQ's lists, with their values."""
    starts = tuple(start.encode() for start in KEYS)
    return {key: value for key, value in (await bench.keyspace()).items() if key.startswith(starts)}
