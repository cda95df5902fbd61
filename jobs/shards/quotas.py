"""Quotas over several servers, right for all of them together, although no script touches two.

A subject has its own shard by a hash (its quota shard), which counts its requests, waits and megapixels.  Jobs in line
are counted where they are: each shard knows its own.  So that two submissions at once cannot both take the last place,
one first notes itself on the quota shard, and counts those that were noted before it and are not in line yet.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

from redis.exceptions import RedisError

from jobs import redis_keys
from jobs.errors import DuplicateJob, JobsError, QuotaExceeded
from jobs.quota_counters import QuotaCounters, Usage, quota_exceeded, submission_quotas
from jobs.quotas import Quotas
from jobs.shards.shard import Shard
from jobs.shards.shards import Shards
from jobs.spec import JobSpec


class ShardedQuotas(QuotaCounters):
    """The counters of all callers.  A caller whose quota shard is away gets no answer: ShardAway, a RedisError."""

    def __init__(self, shards: Shards) -> None:
        self.shards = shards

    def _of(self, subject: str) -> Shard:
        return self.shards.ranked(subject)[0].checked()

    async def count_request(self, subject: str, quotas: Quotas, now_us: int | None = None) -> Usage:
        usage = await self._of(subject).queue.quotas.count_request(subject, replace(quotas, jobs=None), now_us)
        if quotas.jobs is None:
            return usage
        return replace(usage, jobs=await self._in_line(subject, ()))

    async def hold_wait(self, subject: str, wait: str, quota: int) -> bool:
        return await self._of(subject).queue.quotas.hold_wait(subject, wait, quota)

    async def renew_waits(self, waits: Sequence[tuple[str, str]]) -> None:
        by_shard: dict[Shard, list[tuple[str, str]]] = {}
        for subject, wait in waits:
            by_shard.setdefault(self.shards.ranked(subject)[0], []).append((subject, wait))
        for shard, held in by_shard.items():
            if shard.trouble is None:
                await shard.queue.quotas.renew_waits(held)

    async def release_wait(self, subject: str, wait: str) -> None:
        await self._of(subject).queue.quotas.release_wait(subject, wait)

    async def _in_line(self, subject: str, earlier: Sequence[str]) -> int:
        """Returns the jobs of a subject in line on all shards that answer, and those of `earlier` that are on none."""

        async def look(shard: Shard) -> tuple[int, list[int]]:
            async with shard.redis.pipeline(transaction=True) as pipeline:
                pipeline.scard(redis_keys.IN_LINE + subject)
                if earlier:
                    pipeline.smismember(redis_keys.IN_LINE + subject, list(earlier))
                count, *members = await pipeline.execute()
            return int(count), members[0] if members else []

        answers = [answer for _, answer in await self.shards.ask(look)]
        there = {job for _, members in answers for job, member in zip(earlier, members, strict=False) if member}
        return sum(count for count, _ in answers) + len(earlier) - len(there)

    @asynccontextmanager
    async def submission(self, spec: JobSpec, quotas: Quotas) -> AsyncIterator[None]:
        """Count a job that is submitted in this block; one that is refused there does not count.

        Raises:
            QuotaExceeded: a quota is used up.
        """
        wanted = submission_quotas(quotas)
        if wanted is None:
            yield
            return
        subject = redis_keys.ANYBODY if spec.owner is None else spec.owner
        pixels = spec.source.width_px * spec.source.height_px if spec.source else 0
        shard = self._of(subject)
        accepted, *rest = await shard.scripts.run(
            "take_quota", subject=subject, id=spec.id, pixels=pixels, quotas=wanted
        )
        if not accepted:
            raise quota_exceeded(rest)
        kept = True
        try:
            if quotas.jobs is not None:
                jobs = await self._in_line(subject, [job.decode() for job in rest[0]])
                if jobs >= quotas.jobs:
                    raise QuotaExceeded("jobs", jobs, quotas.jobs, None)
            yield
        except DuplicateJob:  # it is there
            raise
        except JobsError:  # after other errors nobody knows, and the job may be there
            kept = False
            raise
        finally:
            back = pixels if not kept and quotas.megapixels is not None else None
            with suppress(RedisError, OSError):  # it ends by itself
                await shard.scripts.run("settle_quota", subject=subject, id=spec.id, pixels=back)
