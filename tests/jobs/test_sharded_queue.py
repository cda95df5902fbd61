"""The queue on two databases of a real Valkey: what is counted for all shards together is right."""

import asyncio
from dataclasses import replace

import pytest
from queue_bench import BUNDLE, MANY, QueueBench, spec
from redis.asyncio import Redis

from jobs import api_keys, redis_keys
from jobs.claims import claim_of
from jobs.errors import ClaimTaken, QueueFull, QuotaExceeded, ShardAway, StoreFull
from jobs.job_list import Filter
from jobs.quotas import Quotas
from jobs.record import OperatorMark
from jobs.shards.numbers import numbered, ranked, shard_of
from jobs.shards.queue import ShardedQueue, open_sharded
from jobs.shards.shards import Shards
from jobs.spec import JobSpec, Source
from jobs.state import State
from jobs.storage_limits import StorageLimits
from service.job_ids import new_job_id

OWNER = "0123456789ab"


@pytest.fixture
def on_shards(valkey_url):
    """Runs a scenario with a queue on as many empty shards."""

    def run(scenario, count: int = 2):
        async def main():
            shards = Shards(" ".join(f"{valkey_url}?db={number}" for number in range(count)), bundle=BUNDLE)
            try:
                await asyncio.wait_for(scenario(await open_sharded(shards)), 60)
            finally:
                await shards.close()

        asyncio.run(main())

    return run


def job(queue: ShardedQueue, shard: int | None = None, **fields) -> JobSpec:
    return spec(id=new_job_id(shard=queue.place() if shard is None else shard), **fields)


def picture(job_id: str, pixels: int) -> Source:
    return Source(
        blob=f"{job_id}/input", bytes=1000, sha256="0" * 64, format="png", width_px=1000, height_px=pixels // 1000
    )


async def accepted(queue: ShardedQueue, quotas: Quotas, **fields) -> JobSpec | None:
    made = job(queue, owner=OWNER, **fields)
    try:
        await queue.submit(made, MANY, quotas=quotas)
    except QuotaExceeded:
        return None
    return made


def test_of_many_submissions_at_once_as_many_are_accepted_as_the_quota_allows(on_shards):
    async def scenario(queue):
        quotas = Quotas(jobs=7)
        done = await asyncio.gather(*(accepted(queue, quotas) for _ in range(20)))
        jobs = [each for each in done if each]
        assert len(jobs) <= 7 and {shard_of(each.id) for each in jobs} == {0, 1}
        while made := await accepted(queue, quotas):  # one that saw a rival on its way may come again
            jobs.append(made)
        assert len(jobs) == 7
        usage = await queue.quotas.count_request(OWNER, quotas)
        assert usage.jobs == 7
        assert await queue.cancel(jobs[0].id) is State.QUEUED
        assert await accepted(queue, quotas) and not await accepted(queue, quotas)

    on_shards(scenario)


def test_the_megapixels_of_a_day_count_on_all_shards_and_those_of_a_refused_job_come_back(on_shards):
    async def scenario(queue):
        quotas = Quotas(megapixels=10)

        async def submit(shard, pixels, max_queued=MANY):
            made = job(queue, shard)
            made = made.model_copy(update={"source": picture(made.id, pixels), "owner": OWNER})
            await queue.submit(made, max_queued, quotas=quotas)

        await submit(0, 4_000_000)
        with pytest.raises(QueueFull):
            await submit(1, 6_000_000, max_queued=1)
        await submit(1, 6_000_000)
        for shard in (0, 1):
            with pytest.raises(QuotaExceeded):
                await submit(shard, 1_000_000)
        assert (await queue.quotas.count_request(OWNER, quotas)).pixels == 10_000_000

    on_shards(scenario)


def test_the_limit_of_queued_jobs_is_of_all_shards(on_shards):
    async def scenario(queue):
        for _ in range(4):
            await queue.submit(job(queue), 4)
        await queue.shards.check()
        for shard in (0, 1):
            with pytest.raises(QueueFull, match="got 4 queued jobs, expected fewer than 4"):
                await queue.submit(job(queue, shard), 4)

    on_shards(scenario)


@pytest.mark.parametrize("limit", ["max_bytes", "max_owner_bytes"])
def test_stored_bytes_count_on_all_shards(on_shards, limit):
    async def scenario(queue):
        limits = StorageLimits(max_bytes=10**6, max_owner_bytes=10**6, in_redis=False)
        queue.shards.limit(replace(limits, **{limit: 2500}))

        async def reserve(shard):
            made = job(queue, shard)
            await queue.reserve(made.model_copy(update={"source": picture(made.id, 1_000_000), "owner": OWNER}))
            await queue.shards.check()
            queue._owner_bytes.clear()  # as after a second

        await reserve(0)
        await reserve(1)
        for shard in (0, 1):
            with pytest.raises(StoreFull):
                await reserve(shard)

    on_shards(scenario)


def test_new_jobs_avoid_a_drained_shard_and_claims_made_there_are_found(on_shards):
    async def scenario(queue):
        shards = queue.shards
        claims = [claim_of(OWNER, f"key-{number}", "digest") for number in range(8)]
        made = {}
        for claim in claims:
            made[claim] = job(queue, queue.place(claim))
            await queue.submit(made[claim], MANY, claim=claim)
        assert {shard_of(each.id) for each in made.values()} == {0, 1}
        await shards.numbered(1).set_drain(OperatorMark(since_ms=1, by="test"))
        assert {queue.place() for _ in range(8)} == {0} == {queue.place(claim) for claim in claims}
        for claim in claims:
            assert await queue.claim_holder(claim) == ("digest", made[claim].id)
        await shards.numbered(0).set_drain(OperatorMark(since_ms=1, by="test"))
        with pytest.raises(ShardAway, match="an operator drains shard 0"):
            queue.place()
        await shards.numbered(1).set_drain(None)
        assert queue.place() == 1

    on_shards(scenario)


def test_of_two_requests_with_one_key_one_makes_the_job(on_shards):
    async def scenario(queue):
        claim = claim_of(OWNER, "key", "digest")
        first, second = (job(queue, queue.place(claim)) for _ in range(2))
        await queue.submit(first, MANY, claim=claim)
        with pytest.raises(ClaimTaken) as taken:
            await queue.submit(second, MANY, claim=claim)
        assert taken.value.made == first.id

    on_shards(scenario)


def test_a_worker_is_told_that_the_next_job_must_run_alone(run):
    async def scenario(bench: QueueBench):
        (one,) = await bench.submit("standard")
        await bench.lease(token="a")
        await bench.queue.release("a", [one.id], died=True)
        told: list[str] = []
        for held in (1, 0):
            leased, _ = await bench.queue.lease(
                [BUNDLE], ["standard"], 4, worker="w", token="b", held=held, on_alone=lambda: told.append("alone")
            )
            assert [entry.run_alone for entry in leased] == [True] * (held == 0) and told == ["alone"]

    run(scenario)


def test_keys_are_copied_and_an_empty_server_never_becomes_their_home(valkey_url):
    async def scenario():
        urls = [f"{valkey_url}?db={number}&shard={number}" for number in range(3)]
        async with Redis.from_url(f"{valkey_url}?db=2") as before:  # a service with one server has keys already
            key_id, secret = await api_keys.create(before, "web", weight=5)
            shards = Shards(" ".join(urls[1:]))
            queue = await open_sharded(shards)
            assert [shard.role for shard in shards.all] == ["copy 1", "home 1"]
            assert (await api_keys.verify(queue.keys, secret)).weight == 5
            await shards.close()

            shards = Shards(" ".join(urls))  # an empty one comes first
            queue = await open_sharded(shards)
            assert [shard.role for shard in shards.all] == ["copy 1", "copy 1", "home 1"]
            for shard in shards.all:
                assert (await api_keys.find(shard.redis, key_id)).weight == 5
            shards.numbered(2).failed(OSError("away"))
            assert (await api_keys.verify(queue.keys, secret)).id == key_id
            with pytest.raises(ShardAway):
                await api_keys.revoke(queue.keys, key_id)
            await shards.check()
            assert await api_keys.revoke(queue.keys, key_id)
            await queue.records.copy()
            for shard in shards.all:
                assert await api_keys.find(shard.redis, key_id) is None
            await shards.close()

            shards = Shards(" ".join(urls[:2]))  # the home was removed
            await open_sharded(shards)
            assert [shard.role for shard in shards.all] == ["home 2", "copy 2"]
            await shards.close()

    asyncio.run(scenario())


def test_before_all_have_answered_an_empty_server_does_not_mean_that_there_are_no_keys(valkey_url):
    async def scenario():
        shards = Shards(f"{valkey_url}?db=1 unix:///nowhere/s")
        queue = await open_sharded(shards)
        with pytest.raises(ShardAway):
            await api_keys.any_keys(queue.keys)
        await shards.close()

    asyncio.run(scenario())


def test_lists_have_all_jobs_and_name_the_shard_that_is_away(on_shards):
    async def scenario(queue):
        jobs = [job(queue) for _ in range(9)]
        for each in jobs:
            await queue.submit(each, MANY)
        seen, after = [], None
        while True:
            page = await queue.listing.page(Filter(), 2, after, looks=3)
            seen += [record.spec.id for record in page.records]
            if (after := page.next) is None:
                break
        assert sorted(seen) == sorted(each.id for each in jobs)
        queue.shards.numbered(1).failed(OSError("away"))
        page = await queue.listing.page(Filter(), 50)
        assert page.missing == (1,) and {shard_of(record.spec.id) for record in page.records} == {0}

    on_shards(scenario)


def test_counters_do_not_go_down_while_a_shard_is_away(on_shards):
    async def scenario(queue):
        for shard, count in zip(queue.shards.all, (3, 4), strict=True):
            await shard.queue.counters.add("ended:b:succeeded", count)
        assert (await queue.counters.read())["ended:b:succeeded"] == 7
        queue.shards.numbered(1).failed(OSError("away"))
        assert (await queue.counters.read())["ended:b:succeeded"] == 7

    on_shards(scenario)


def test_a_quota_shard_that_is_away_refuses_only_its_own_callers(on_shards):
    async def scenario(queue):
        queue.shards.numbered(1).failed(OSError("away"))
        for subject in (f"{number:012x}" for number in range(8)):
            if ranked(subject, [0, 1])[0] == 1:
                with pytest.raises(ShardAway):
                    await queue.quotas.count_request(subject, Quotas(jobs=1))
            else:
                assert (await queue.quotas.count_request(subject, Quotas(jobs=1))).jobs == 0

    on_shards(scenario)


def test_a_number_is_kept_by_the_server(on_shards, valkey_url):
    async def scenario(queue):
        other = Shards(f"{valkey_url}?db=0&shard=4")
        await other.check()
        with pytest.raises(ShardAway, match="its server is shard 0, not 4"):
            other.of(numbered(new_job_id(), 4))
        await other.close()
        assert int(await queue.shards.numbered(0).redis.get(redis_keys.SHARD_NUMBER)) == 0

    on_shards(scenario)
