"""Whatever ends a job writes its deliveries in the same script, and nothing but a deletion loses them."""

import json
import re

import pytest
from queue_bench import BUNDLE, MANY, spec

from jobs import redis_keys
from jobs.deliveries import Attempt, Outbox, Settlement
from jobs.hooks import WEBHOOK_EVENTS, Hooks, group_of
from jobs.lua_scripts import FOLDER, PARTS
from jobs.record import Failure
from jobs.spec import LANES
from jobs.state import State

URL = "https://example.com/hook"
GROUP = group_of(None, "https://example.com")
HOOKS = Hooks(webhook_url=URL, webhook_group=GROUP, events=WEBHOOK_EVENTS)
WITH_RESULT = HOOKS.model_copy(
    update={"result_url": "https://bucket.test/x", "result_group": group_of(None, "https://bucket.test")}
)
LIMITS = {"per_group": 4, "per_owner": 32, "slots": {}, "slots_of_owner": {}}
DELIVERED = Settlement(state="delivered", outcome="delivered", attempt=Attempt(at_ms=1, status=200))


async def submitted(bench, hooks=HOOKS, **fields):
    job = spec(**fields)
    await bench.queue.submit(job, MANY, hooks=hooks)
    return job


async def running(bench, hooks=HOOKS, **fields):
    job = await submitted(bench, hooks, **fields)
    assert await bench.lease() == [job.id]
    await bench.begin(job)
    return job


async def committed(bench):
    job = await running(bench)
    await bench.commit(job)
    return job, "completed"


async def failed(bench):
    job = await running(bench)
    await bench.commit(job, State.FAILED)
    return job, "failed"


async def canceled_in_the_queue(bench):
    job = await submitted(bench)
    await bench.queue.cancel(job.id)
    return job, "canceled"


async def canceled_while_it_runs(bench):
    job = await running(bench)
    await bench.queue.cancel(job.id)
    await bench.commit(job)
    return job, "canceled"


async def expired_in_the_queue(bench):
    job = await submitted(bench, deadline_ms=1)
    assert await bench.queue.expire() == [job.id]
    return job, "expired"


async def expired_when_a_worker_takes_it(bench):
    job = await submitted(bench, deadline_ms=1)
    assert await bench.lease() == []
    return job, "expired"


async def too_large_for_a_worker(bench):
    job = await submitted(bench)
    await bench.redis.hset(redis_keys.RQ_JOB + job.id, "data", b"x" * 100_000)
    await bench.queue.lease([BUNDLE], LANES, 1, worker="w", token="a", held=0)
    return job, "failed"


async def purged(bench):
    job = await submitted(bench)
    assert await bench.queue.purge({job.id: job}, Failure(code="purged", detail="")) == [job.id]
    return job, "canceled"


async def killed_two_engines(bench):
    job = await running(bench)
    assert await bench.queue.release("a", [job.id], died=True) == {job.id: "queued"}
    assert await bench.lease() == [job.id]
    assert await bench.queue.release("a", [job.id], died=True) == {job.id: "poison"}
    return job, "failed"


async def killed_two_workers(bench):
    job = await running(bench)
    for answer in ("queued", "poison"):
        await bench.end_lease(job)
        assert await bench.queue.reclaim() == {job.id: answer}
        await bench.lease()
    return job, "failed"


async def canceled_and_its_worker_died(bench):
    job = await running(bench)
    await bench.queue.cancel(job.id)
    await bench.end_lease(job)
    assert await bench.queue.reclaim(ending_only=True) == {job.id: "canceled"}
    return job, "canceled"


async def canceled_and_its_lease_reply_was_lost(bench):
    job = await running(bench)
    await bench.queue.cancel(job.id)
    assert await bench.queue.release_unheld("a", []) == [job.id]
    return job, "canceled"


ENDS = {
    "commit": [committed, failed, canceled_while_it_runs],
    "cancel": [canceled_in_the_queue],
    "expire": [expired_in_the_queue],
    "lease": [expired_when_a_worker_takes_it, too_large_for_a_worker],
    "purge": [purged],
    "release": [killed_two_engines],
    "reclaim": [killed_two_workers, canceled_and_its_worker_died],
    "release_unheld": [canceled_and_its_lease_reply_was_lost],
}
"""Each script that may end a job, with the ways to make it do so."""


def code_of(path):
    return re.sub(r"--.*", "", path.read_text())


def test_this_file_knows_every_script_that_ends_a_job():
    ending = {path.stem for path in FOLDER.glob("*.lua") if re.search(r"\b(finish|expire|requeue)\(", code_of(path))}
    assert ending - {"finish_and_requeue"} == set(ENDS)
    assert all("outbox" in PARTS[script] for script in ENDS)


def test_no_script_but_the_shared_one_writes_an_end():
    states = "|".join(state.value for state in State if state.over)
    for path in FOLDER.glob("*.lua"):
        writes = re.findall(rf"'HSET', [^\n]*'state', (?:'(?:{states})'|state\b)", code_of(path))
        assert not writes or path.stem == "finish_and_requeue", f"{path.name} ends jobs without the outbox: {writes}"


@pytest.mark.parametrize("end", [end for ends in ENDS.values() for end in ends], ids=lambda end: end.__name__)
def test_every_end_writes_a_delivery(run, end):
    async def scenario(bench):
        job, event = await end(bench)
        outbox = Outbox(bench.redis)
        (delivery,) = await outbox.of_job(job.id)
        assert (delivery.kind, delivery.event, delivery.state) == ("webhook", event, "waiting")
        (due,) = await outbox.claim("t", 9, **LIMITS)
        assert (due.job, due.event, due.hooks, due.owner) == (job.id, event, HOOKS, None)
        assert due.state is await bench.state(job) and due.ended_ms > 0
        assert await bench.redis.zcard(redis_keys.HOOKED) == 0

    run(scenario)


@pytest.mark.parametrize("events", [(), ("failed",), ("completed",)])
def test_only_the_chosen_events_are_sent(run, events):
    async def scenario(bench):
        job = await running(bench, HOOKS.model_copy(update={"events": events}))
        await bench.commit(job)
        assert len(await Outbox(bench.redis).of_job(job.id)) == ("completed" in events)

    run(scenario)


def test_a_job_without_webhooks_writes_nothing(run):
    async def scenario(bench):
        job = await running(bench, None)
        await bench.commit(job)
        assert await Outbox(bench.redis).of_job(job.id) == []
        assert not [key for key in await bench.keyspace() if b"deliver" in key or b"outbox" in key or b"hook" in key]

    run(scenario)


def test_a_commit_that_is_repeated_writes_one_delivery(run):
    async def scenario(bench):
        job = await running(bench)
        for _ in range(3):
            await bench.commit(job)
        assert len(await Outbox(bench.redis).of_job(job.id)) == 1

    run(scenario)


@pytest.mark.parametrize("settlement", [
    DELIVERED, Settlement(state="failed", outcome="failed", attempt=Attempt(at_ms=1, code="url-unreachable")),
])  # fmt: skip
def test_the_webhook_follows_the_result_whatever_becomes_of_it(run, settlement):
    async def scenario(bench):
        job, outbox = await running(bench, WITH_RESULT), Outbox(bench.redis)
        await bench.commit(job)
        assert [delivery.state for delivery in await outbox.of_job(job.id)] == ["waiting", "held"]
        assert await outbox.redeliver(job.id, 2) == "held"
        (result,) = await outbox.claim("t", 9, **LIMITS)
        assert result.kind == "result" and await outbox.claim("t", 9, **LIMITS) == []
        assert await outbox.settle("t", result, settlement)
        (webhook,) = await outbox.claim("t", 9, **LIMITS)
        assert webhook.kind == "webhook" and webhook.number == 2

    run(scenario)


def test_a_job_that_failed_has_no_result_to_deliver(run):
    async def scenario(bench):
        job = await running(bench, WITH_RESULT)
        await bench.commit(job, State.FAILED)
        assert [delivery.kind for delivery in await Outbox(bench.redis).of_job(job.id)] == ["webhook"]

    run(scenario)


def test_a_deletion_takes_the_deliveries_along(run):
    async def scenario(bench):
        job, outbox = await running(bench, WITH_RESULT), Outbox(bench.redis)
        await bench.commit(job)
        (due,) = await outbox.claim("t", 9, **LIMITS)
        await outbox.settle("t", due, Settlement(state="waiting", retry_s=9, attempt=Attempt(at_ms=1, status=500)))
        await bench.queue.forget(job.id)
        assert await bench.traces(job) == []
        assert await bench.redis.zcard(redis_keys.OUTBOX) == 0
        assert await outbox.settle("t", due, DELIVERED) is False, "and nothing comes back"
        assert await outbox.of_job(job.id) == []

    run(scenario)


def test_a_job_that_is_deleted_before_its_end_leaves_nothing(run):
    async def scenario(bench):
        job = await submitted(bench)
        await bench.queue.forget(job.id)
        assert await bench.traces(job) == []

    run(scenario)


def test_every_key_of_a_delivery_expires_with_its_job(run):
    async def scenario(bench):
        job, outbox = await running(bench, WITH_RESULT, keep_s=100), Outbox(bench.redis)
        await bench.commit(job, keep_s=100)
        (due,) = await outbox.claim("t", 9, **LIMITS)
        await outbox.settle("t", due, Settlement(state="waiting", retry_s=9, attempt=Attempt(at_ms=1, status=500)))
        limit_s = 100 + redis_keys.EXPIRY_MARGIN_S
        keys = [key for key in await bench.traces(job) if b"undegrade:delivery" in key]
        assert len(keys) == 3
        assert all([0 < await bench.redis.ttl(key) <= limit_s for key in keys])
        for key in (*keys, redis_keys.JOB + job.id):
            await bench.redis.delete(key)  # as Redis does at that time
        await bench.redis.zadd(redis_keys.OUTBOX_OF_GROUP + due.group, {f"{job.id}:1": 1})
        await bench.redis.zadd(redis_keys.OUTBOX, {due.group: 1})
        assert await outbox.claim("t", 9, **LIMITS) == []
        assert await bench.redis.zcard(redis_keys.OUTBOX) == 0, "what is left of it goes when it is found"

    run(scenario)


def test_a_delivery_is_leased_by_one_process_and_by_another_after_its_death(run):
    async def scenario(bench):
        job, outbox = await running(bench), Outbox(bench.redis)
        await bench.commit(job)
        (first,) = await outbox.claim("first", 9, **LIMITS)
        assert await outbox.claim("second", 9, **LIMITS) == []
        key, member = redis_keys.OUTBOX_OF_GROUP + GROUP, f"{job.id}:1"
        for token, renewed in (("second", False), ("first", True)):
            await bench.redis.zadd(key, {member: 5})
            await outbox.renew(token, [first])
            assert (await bench.redis.zscore(key, member) > 5) is renewed, "only by its holder"
            assert await bench.redis.zscore(redis_keys.OUTBOX, GROUP) > 5, "and the group is due with it"
        await bench.redis.zadd(redis_keys.OUTBOX_OF_GROUP + GROUP, {f"{job.id}:1": 1})  # its lease ends
        await bench.redis.zadd(redis_keys.OUTBOX, {GROUP: 1})
        (second,) = await outbox.claim("second", 9, **LIMITS)
        assert second.webhook_id == first.webhook_id
        retry = Settlement(state="waiting", retry_s=60, attempt=Attempt(at_ms=1, status=500))
        assert await outbox.settle("first", first, retry) is False, "it lost the lease"
        assert await outbox.settle("second", second, DELIVERED)
        (delivery,) = await outbox.of_job(job.id)
        assert delivery.state == "delivered" and delivery.tries == 2, "each try is shown"
        assert await outbox.settle("first", first, retry) is False
        assert (await outbox.of_job(job.id))[0].state == "delivered"

    run(scenario)


def test_a_group_at_its_limit_does_not_stop_the_others(run):
    async def scenario(bench):
        outbox, groups = (
            Outbox(bench.redis),
            [GROUP, group_of(None, "https://other.test"), group_of("k", "https://x.test")],
        )
        for group in [groups[0]] * 6 + groups[1:]:
            await bench.commit(await running(bench, HOOKS.model_copy(update={"webhook_group": group})))
        limits = {**LIMITS, "per_group": 2, "slots": {groups[0]: 0}}
        assert sorted(due.group for due in await outbox.claim("t", 9, **limits)) == sorted(groups[1:])
        limits["slots"] = {}
        assert [due.group for due in await outbox.claim("t", 9, **limits)] == [groups[0]] * 2
        limits["slots_of_owner"] = {"none": 1}
        assert [due.group for due in await outbox.claim("t", 9, **limits)] == [groups[0]]
        limits["slots_of_owner"] = {"none": 0}
        assert await outbox.claim("t", 9, **limits) == []

    run(scenario)


def test_a_job_that_an_earlier_version_has_ended_gets_its_deliveries_later(run):
    async def scenario(bench):
        old, waiting, gone = await running(bench), await submitted(bench), await submitted(bench)
        await bench.redis.hset(redis_keys.JOB + old.id, mapping={"state": "succeeded", "ended_ms": 7})
        await bench.redis.delete(redis_keys.JOB + gone.id)
        outbox = Outbox(bench.redis)
        assert await outbox.adopt() == 1 and await outbox.adopt() == 0
        (due,) = await outbox.claim("t", 9, **LIMITS)
        assert (due.job, due.event) == (old.id, "completed")
        assert await bench.redis.zrange(redis_keys.HOOKED, 0, -1) == [waiting.id.encode()]

    run(scenario)


def test_redelivery_starts_again_with_all_tries_and_keeps_the_id(run):
    async def scenario(bench):
        job, outbox = await running(bench), Outbox(bench.redis)
        await bench.commit(job)
        (due,) = await outbox.claim("t", 9, **LIMITS)
        await outbox.settle(
            "t", due, Settlement(state="failed", outcome="failed", attempt=Attempt(at_ms=1, status=500))
        )
        assert (await outbox.snapshot(0)).waiting == 0
        assert await outbox.redeliver(job.id, 1) == "waiting" and await outbox.redeliver(job.id, 2) == ""
        (again,) = await outbox.claim("t", 9, **LIMITS)
        assert (again.webhook_id, again.tries, again.again) == (due.webhook_id, 0, True)
        assert await outbox.redeliver(job.id, 1) == "waiting", "it is being sent"
        assert await outbox.claim("t", 9, **LIMITS) == []
        await outbox.settle("t", again, DELIVERED)
        (delivery,) = await outbox.of_job(job.id)
        assert [attempt.status for attempt in delivery.attempts] == [500, 200]

    run(scenario)


def test_the_snapshot_tells_how_long_deliveries_wait(run):
    async def scenario(bench):
        outbox = Outbox(bench.redis)
        assert (await outbox.snapshot(10**13)).waiting == 0
        await bench.commit(await running(bench, WITH_RESULT))
        now_ms = await bench.queue.now_ms()
        snapshot = await outbox.snapshot(now_ms + 60_000)
        assert snapshot.waiting == 2 and 59 < snapshot.oldest_s < 120 and 59 < snapshot.overdue_s < 120
        (due,) = await outbox.claim("t", 9, **LIMITS)
        assert (await outbox.snapshot(now_ms)).overdue_s == 0, "it is being sent"
        await outbox.settle("t", due, DELIVERED)
        assert (await bench.queue.counters.read())["webhook:delivered"] == 1

    run(scenario)


def test_the_hooks_are_json_that_the_scripts_read():
    assert json.loads(WITH_RESULT.dump())["events"] == list(WEBHOOK_EVENTS)
    assert json.loads(Hooks().dump()) == {"events": [], "path_prefix": ""}


def test_of_many_waiting_jobs_a_call_asks_the_oldest_and_some_others(run, monkeypatch):
    monkeypatch.setattr("jobs.deliveries.OLDEST_ADOPTED", 2)
    monkeypatch.setattr("jobs.deliveries.OTHERS_ADOPTED", 3)

    async def scenario(bench):
        jobs = [await submitted(bench) for _ in range(12)]
        for number, job in enumerate(jobs):
            await bench.redis.zadd(redis_keys.HOOKED, {job.id: number})
        outbox = Outbox(bench.redis)
        for ended, calls in (jobs[0], 1), (jobs[11], 4):
            await bench.redis.hset(redis_keys.JOB + ended.id, mapping={"state": "succeeded", "ended_ms": 7})
            assert sum([await outbox.adopt() for _ in range(calls)]) == 1
        assert await bench.redis.zcard(redis_keys.HOOKED) == 10

    run(scenario)
