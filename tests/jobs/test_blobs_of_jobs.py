"""The blobs of a job end with it: an input stays only for another try, and pictures only where the job succeeded."""

import asyncio
import time

import obstore
import pytest
from queue_bench import MANY, QueueBench, spec
from redis.asyncio import Redis
from store_bench import HOUR_S, every_backend, run

from jobs import redis_keys
from jobs.blob_store import BlobStore
from jobs.errors import BlobMissing, BlobUnwanted
from jobs.state import State

TRIED_AGAIN = ("failed", "poison")
"""Ends after which the input stays as long as the job."""


@every_backend
def test_a_job_that_is_gone_takes_no_blobs(valkey_url, url):
    async def scenario(store: BlobStore, client: Redis) -> None:
        bench = QueueBench(client)
        job = await bench.running()
        await store.put(f"{job.id}/pass-1", b"x", HOUR_S)
        assert await store.names_of_job(job.id) == [f"{job.id}/pass-1"]
        await bench.queue.cancel(job.id)
        await bench.commit(job, State.CANCELED)
        with pytest.raises(BlobUnwanted):
            await store.put(f"{job.id}/pass-2", b"x", HOUR_S)
        await bench.queue.forget(job.id)
        with pytest.raises(BlobUnwanted):
            await store.put(f"{job.id}/result", b"x", HOUR_S)
        await store.sweep(time.time())
        for name in ("pass-1", "pass-2", "result"):
            with pytest.raises(BlobMissing):
                await store.get(f"{job.id}/{name}")
        assert await bench.traces(job) == []

    run(valkey_url, url, scenario)


@pytest.mark.parametrize("url", ["memory", "file"], indirect=True)
def test_a_blob_whose_job_is_deleted_while_it_is_written_does_not_stay(valkey_url, url, monkeypatch):
    async def scenario(store: BlobStore, client: Redis) -> None:
        bench = QueueBench(client)
        job = await bench.running()
        call = store._call

        async def call_and_forget(function, *arguments):
            answer = await call(function, *arguments)
            if function is obstore.put:
                await bench.queue.forget(job.id)
                await store.sweep(time.time())
                await call(function, *arguments)  # the write ends after the sweep
            return answer

        monkeypatch.setattr(store, "_call", call_and_forget)
        with pytest.raises(BlobUnwanted):
            await store.put(f"{job.id}/result", b"x", HOUR_S)
        with pytest.raises(BlobMissing):
            await store.get(f"{job.id}/result")
        assert await bench.traces(job) == []

    run(valkey_url, url, scenario)


@pytest.mark.parametrize("url", ["memory", "file"], indirect=True)
@pytest.mark.parametrize("last", ["canceled", "killed"])
@pytest.mark.parametrize("swept", [True, False], ids=["swept before it arrives", "swept after it"])
def test_a_write_that_arrives_after_its_writer_is_gone_does_not_stay(valkey_url, url, monkeypatch, last, swept):
    """A worker gives a canceled job up, or dies, and the store gets the picture all the same."""

    async def scenario(store: BlobStore, client: Redis) -> None:
        bench = QueueBench(client)
        job = await bench.running()
        name, call, sent, arrived = f"{job.id}/result", store._call, asyncio.Event(), []

        async def arrive_late(function, *arguments, **named):
            if function is obstore.put:
                arrived.append(lambda: call(function, *arguments, **named))
                sent.set()
                await asyncio.sleep(HOUR_S)
            return await call(function, *arguments, **named)

        with monkeypatch.context() as slow:
            slow.setattr(store, "_call", arrive_late)
            writing = asyncio.create_task(store.put(name, b"x", HOUR_S))
            await sent.wait()
            if last == "canceled":
                writing.cancel()
            await bench.queue.cancel(job.id)
            await bench.commit(job, State.CANCELED)
            if swept:
                await store.sweep(time.time())
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
        await arrived[0]()
        for when_s in (0, 700, 1400):
            await store.sweep(time.time() + when_s)
        with pytest.raises(BlobMissing):
            await store.get(name)
        await bench.queue.forget(job.id)
        assert await bench.traces(job) == []

    run(valkey_url, url, scenario)


@pytest.mark.parametrize("url", ["memory", "file"], indirect=True)
def test_a_write_that_is_confirmed_twice_stays(valkey_url, url):
    """The Redis client repeats a command whose reply was lost."""

    async def scenario(store: BlobStore, client: Redis) -> None:
        job = await QueueBench(client).running()
        name = f"{job.id}/result"
        await store.put(name, b"x", HOUR_S)
        assert await store._scripts.run("blob_written", name=name) == 1
        await store.sweep(time.time())
        assert await store.get(name) == b"x"
        assert await client.zcard(redis_keys.BLOBS_IN_FLIGHT) == 0

    run(valkey_url, url, scenario)


@every_backend
@pytest.mark.parametrize(
    "end", ["succeeded", "failed", "expired", "canceled", "canceled late", "poison", "late", "late and without worker"]
)
def test_an_ended_job_leaves_its_input_only_for_another_try_and_pictures_only_where_it_succeeded(valkey_url, url, end):
    async def scenario(store: BlobStore, client: Redis) -> None:
        bench = QueueBench(client)
        job = spec(deadline_ms=1 if end == "late" else None)
        await store.put(f"{job.id}/input", b"x" * 999, HOUR_S)
        await bench.queue.submit(job, MANY)
        await store.put(f"{job.id}/pass-1", b"x" * 99, HOUR_S)
        if "without worker" in end or end == "canceled late":
            await bench.lease()
            await bench.end_lease(job)
            if end == "canceled late":
                await bench.queue.cancel(job.id)
            else:
                await client.hset(redis_keys.JOB + job.id, "deadline_ms", 1)
            assert job.id in await bench.queue.reclaim(ending_only=True)
        elif end == "late":
            assert await bench.queue.expire() == [job.id]
        elif end == "poison":
            for _ in range(2):
                await bench.lease()
                await bench.queue.release("a", [job.id], died=True)
        elif end == "canceled":
            await bench.queue.cancel(job.id)
        else:
            await bench.lease()
            await bench.commit(job, State(end))
        await store.sweep(time.time())
        if end in TRIED_AGAIN:
            assert await store.get(f"{job.id}/input")
            await bench.queue.forget(job.id)
            await store.sweep(time.time())
        with pytest.raises(BlobMissing):
            await store.get(f"{job.id}/input")
        if end == "succeeded":
            assert await store.get(f"{job.id}/pass-1")
            await store.delete(f"{job.id}/pass-1")
        with pytest.raises(BlobMissing):
            await store.get(f"{job.id}/pass-1")
        with pytest.raises(BlobUnwanted):
            await store.put(f"{job.id}/pass-2", b"x", HOUR_S)
        assert await client.hgetall("undegrade:stored-totals") == {}

    run(valkey_url, url, scenario)
