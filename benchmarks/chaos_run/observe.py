"""Reads at the end what is there: jobs by the API, their events and registries in Redis, and the blobs of the store."""

import asyncio
import os
import re
import time
from collections.abc import Sequence
from typing import Any

import httpx
import obstore
from redis.asyncio import Redis

from chaos_run.pictures import pixels_hash
from chaos_run.records import Observed, SeenJob
from jobs import redis_keys
from jobs.blob_store import open_store
from jobs.spec import LANES, queue_name

AT_ONCE = 8
REGISTRIES = {"finished": redis_keys.RQ_FINISHED, "failed": redis_keys.RQ_FAILED, "canceled": redis_keys.RQ_CANCELED}
BUNDLE = "autodir-small"
LASTING = (
    redis_keys.API_KEYS, redis_keys.COUNTERS, redis_keys.COSTS, redis_keys.RECENT_ENDS, redis_keys.ARRIVALS,
    redis_keys.WORKERS, redis_keys.RQ_QUEUES, redis_keys.WEBHOOK_SECRETS, redis_keys.VIRTUAL_TIME,
    redis_keys.PAST_TURNS, redis_keys.OUTBOX_BELL, "rq:workers",
)  # fmt: skip
"""Keys that do not grow with the number of jobs, and may stay for ever."""
ENDING = (
    "rq:worker:", redis_keys.WORKER, redis_keys.WEBHOOK_PROCESS, redis_keys.CLAIM, redis_keys.QUOTA_REQUESTS,
    redis_keys.QUOTA_PIXELS, redis_keys.QUOTA_WAITS, redis_keys.RECOUNTED, redis_keys.WITHDRAWN_BATCH,
)  # fmt: skip
"""Keys that Redis deletes by itself; without a time to live, they are leaks."""
CLEAN_S = 90.0
EXPIRING = 40
"""So many jobs are not deleted: their time to live is made to end."""


class Observer:
    """Looks at a service as the owners of its jobs and its operator can.  `tenants`: the headers of each owner."""

    def __init__(self, urls: Sequence[str], tenants: Sequence[dict[str, str]], redis: "Redis", store_url: str) -> None:
        self.urls, self.tenants, self.store_url = list(urls), tenants, store_url
        self._owners: dict[str, dict[str, str]] = {}
        self.redis: Any = redis
        self._limit = asyncio.Semaphore(AT_ONCE)

    async def unsettled(self) -> list[str]:
        """Returns what is not over yet: jobs in line, running jobs, deliveries, and batches that were broken off."""
        async with self.redis.pipeline(transaction=False) as pipeline:
            for lane in LANES:
                pipeline.llen(redis_keys.RQ_QUEUE + queue_name(BUNDLE, lane))
            pipeline.zcard(redis_keys.LEASES)
            pipeline.zcard(redis_keys.DELIVERIES_WAITING)
            pipeline.zcard(redis_keys.OPEN_BATCHES)
            *queued, running, deliveries, batches = await pipeline.execute()
        counts = {"queued": sum(queued), "running": running, "deliveries": deliveries, "open batches": batches}
        return [f"{count} {what}" for what, count in counts.items() if count]

    async def hurry_deliveries(self) -> None:
        """Let every delivery that waits for its next try be due now: pauses grow to minutes."""
        for group in [name.decode() for name in await self.redis.zrange(redis_keys.OUTBOX, 0, -1)]:
            key = redis_keys.OUTBOX_OF_GROUP + group
            now_ms = int(time.time() * 1000)
            for member, due_ms in await self.redis.zrange(key, 0, -1, withscores=True):
                if due_ms > now_ms + 20_000:  # a lease ends sooner
                    await self.redis.zadd(key, {member: 1}, xx=True)
                    await self.redis.zadd(redis_keys.OUTBOX, {group: 1}, xx=True)

    async def jobs(self, known: Sequence[str]) -> dict[str, SeenJob]:
        """Returns all jobs: those of the list, and those of `known` that the list leaves out and the API has."""
        async with httpx.AsyncClient(base_url=self.urls[0], timeout=30) as client:
            bodies: dict[str, dict[str, Any]] = {}
            for headers in self.tenants:
                of_tenant = await self._list(client, headers)
                self._owners |= {body["id"]: headers for body in of_tenant}
                bodies |= {body["id"]: body for body in of_tenant}
            missing = [job for job in known if job not in bodies]
            for body in await asyncio.gather(*(self._one(client, job) for job in missing)):
                if body is not None:
                    bodies[body["id"]] = body
            in_redis = await self._in_redis(list(bodies))
            return {
                job.id: job
                for job in await asyncio.gather(
                    *(self._seen(client, body, *in_redis[job]) for job, body in bodies.items())
                )
            }

    async def _list(self, client: httpx.AsyncClient, headers: dict[str, str]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        cursor = None
        while True:
            params = {"limit": 200, **({"cursor": cursor} if cursor else {})}
            answer = await client.get("/jobs", params=params, headers=headers)
            answer.raise_for_status()
            page = answer.json()
            found += page["jobs"]
            if (cursor := page["next"]) is None:
                return found

    async def _one(self, client: httpx.AsyncClient, job: str) -> dict[str, Any] | None:
        for headers in self.tenants:
            async with self._limit:
                answer = await client.get(f"/jobs/{job}", headers=headers)
            if answer.status_code == 200:
                self._owners[job] = headers
                return answer.json()  # type: ignore[no-any-return]
        return None

    async def _in_redis(self, jobs: Sequence[str]) -> dict[str, tuple[tuple[tuple[str, str], ...], tuple[str, ...]]]:
        """Returns the events and the registries of each job."""
        members: dict[str, set[str]] = {}
        for name, prefix in REGISTRIES.items():
            members[name] = set()
            for lane in LANES:
                rows = await self.redis.zrange(prefix + queue_name(BUNDLE, lane), 0, -1)
                members[name] |= {row.decode() for row in rows}
        async with self.redis.pipeline(transaction=False) as pipeline:
            for job in jobs:
                pipeline.xrange(redis_keys.EVENTS + job)
            streams = await pipeline.execute()
        return {
            job: (
                tuple((number.decode(), fields[b"type"].decode()) for number, fields in stream),
                tuple(name for name in REGISTRIES if job in members[name]),
            )
            for job, stream in zip(jobs, streams, strict=True)
        }

    async def _seen(
        self, client: httpx.AsyncClient, body: dict[str, Any], events: tuple[tuple[str, str], ...],
        registries: tuple[str, ...],
    ) -> SeenJob:  # fmt: skip
        pixels = error = None
        if body["status"] == "succeeded":
            async with self._limit:
                answer = await client.get(f"/jobs/{body['id']}/result", headers=self._owners[body["id"]])
            if answer.status_code == 200:
                pixels = pixels_hash(answer.content)
            else:
                error = f"{answer.status_code} {answer.text[:120]}"
        return SeenJob(
            id=body["id"], op=body["labels"].get("op"), state=body["status"],
            code=(body["error"] or {}).get("code"), pixels=pixels, error=error, events=events, registries=registries,
        )  # fmt: skip

    async def ended(self) -> dict[str, int]:
        """Returns how many jobs have ended, by state, as Redis has counted them."""
        rows = await self.redis.hgetall(redis_keys.COUNTERS)
        counts: dict[str, int] = {}
        for name, value in rows.items():
            what, _, rest = name.decode().partition(":")
            if what == "ended":
                state = rest.rpartition(":")[2]
                counts[state] = counts.get(state, 0) + int(value)
        return counts

    async def unowned_blobs(self) -> list[str]:
        """Returns the blobs that no sweep would ever delete: Redis does not know when they end."""
        known = {name.decode() for name in await self.redis.zrange(redis_keys.BLOBS, 0, -1)}
        return sorted(set(await asyncio.to_thread(self._blobs)) - known)

    def _blobs(self) -> list[str]:
        if self.store_url.startswith("file://"):  # with the files that a store never shows
            folder = self.store_url.removeprefix("file://")
            walk = os.walk(folder)  # it passes over folders that go meanwhile
            return [os.path.relpath(os.path.join(at, name), folder) for at, _, names in walk for name in names]
        store: Any = open_store(self.store_url, self.redis)
        return [entry["path"] for page in obstore.list(store.store) for entry in page]

    async def clean(self, jobs: Sequence[str], seen: Observed) -> None:
        """Delete all jobs, let the times of the rest end, and note what is left of them."""
        unowned = await self.unowned_blobs()
        await self._delete(jobs[:-EXPIRING])
        await self._end_times(jobs[-EXPIRING:])
        until_s = time.monotonic() + CLEAN_S
        while (left := await self._leftover(list(jobs)))[0] or left[1]:
            if time.monotonic() > until_s:
                break
            await self._end_times(())
            await asyncio.sleep(1)
        seen.keys = left[0]
        seen.blobs = sorted({*unowned, *left[1]} & set(await asyncio.to_thread(self._blobs)))

    async def _delete(self, jobs: Sequence[str]) -> None:
        async with httpx.AsyncClient(base_url=self.urls[-1], timeout=30) as client:

            async def delete(job: str) -> None:
                async with self._limit:
                    await client.delete(f"/jobs/{job}", headers=self._owners[job])

            await asyncio.gather(*(delete(job) for job in jobs))

    async def _end_times(self, jobs: Sequence[str]) -> None:
        """Do what the passing of days does: ends of jobs, of reservations, and of blobs of no job are in the past."""
        for job in jobs:
            await self.redis.zadd(redis_keys.EXPIRY, {job: 1}, xx=True)
        for job, text in (await self.redis.hgetall(redis_keys.RESERVED)).items():
            await self.redis.hset(redis_keys.RESERVED, job, b"1 " + text.partition(b" ")[2])
        for name in await self.redis.zrange(redis_keys.BLOBS, 0, -1):
            await self.redis.zadd(redis_keys.BLOBS, {name: 1}, xx=True)

    async def _leftover(self, jobs: Sequence[str]) -> tuple[list[str], list[str]]:
        """Returns the Redis keys that should not be there, and the blobs."""
        keys = [key.decode() async for key in self.redis.scan_iter(count=500)]
        odd = [key for key in keys if not key.startswith((*LASTING, *ENDING))]
        odd += [key for key in keys if re.search(r"[0-9a-f]{32}", key) and key.startswith(LASTING)]
        for key in keys:
            if key.startswith(ENDING) and await self.redis.ttl(key) == -1:
                odd.append(f"{key} (without a time to live)")
        return sorted(set(odd)), await asyncio.to_thread(self._blobs)
