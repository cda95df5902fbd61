"""Everything that can happen to a job, on a real Valkey.  Time is moved by hand: through scores and arrival times."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from redis.asyncio import Redis

from jobs import redis_keys
from jobs.errors import BlobMissing, DuplicateJob, QueueFull
from jobs.queue import Event, Queue
from jobs.record import Failure, Outcome, Progress, State, WorkerInfo
from jobs.spec import HEAD_START_S, LANES, JobSpec
from jobs.store import Blob, RedisStore

BUNDLE = "b"
MANY = 1000
DAY_S = 86_400


def spec(lane="standard", **said) -> JobSpec:
    return JobSpec(**{"id": uuid4().hex, "bundle": BUNDLE, "lane": lane, "kind": "noop", "submitted_ms": 1, **said})


class Here:
    """A queue, a client beside it, and short words for what the tests do all the time."""

    def __init__(self, redis: Redis) -> None:
        self.redis, self.queue = redis, Queue(redis)

    async def submit(self, *lanes: str) -> list[JobSpec]:
        jobs = [spec(lane) for lane in lanes]
        for job in jobs:
            await self.queue.submit(job, MANY)
        return jobs

    async def lease(self, most=1, token="a", lanes=LANES, in_hand=0) -> list[str]:
        leased, refused = await self.queue.lease(
            [BUNDLE], lanes, most, worker=f"w-{token}", token=token, in_hand=in_hand
        )
        assert refused == []
        return [job.spec.id for job in leased]

    async def running(self, token="a") -> JobSpec:
        (job,) = await self.submit("standard")
        assert await self.lease(token=token) == [job.id]
        return job

    async def commit(self, job: JobSpec, state=State.SUCCEEDED, token="a", outcome=Outcome(), keep_s=DAY_S):  # noqa: B008
        (answer,) = await self.queue.commit(token, [(job.id, state, outcome, keep_s, 1.0)])
        return answer

    async def state(self, job: JobSpec) -> State | None:
        record = await self.queue.record(job.id)
        return record.state if record else None

    async def age(self, job: JobSpec, seconds: float) -> None:
        """As though it had arrived earlier."""
        await self.redis.hincrby(redis_keys.JOB + job.id, "enqueued_ms", -int(seconds * 1000))

    async def lease_runs_out(self, *jobs: JobSpec) -> None:
        for job in jobs:
            await self.redis.zadd(redis_keys.LEASES, {job.id: 1}, xx=True)

    async def event_types(self, job: JobSpec) -> list[str]:
        return [event.type for event in await self.queue.events(job.id)]

    async def everything(self) -> dict[bytes, object]:
        """The whole keyspace, with values."""
        seen = {}
        async for key in self.redis.scan_iter():
            match await self.redis.type(key):
                case b"hash":
                    seen[key] = await self.redis.hgetall(key)
                case b"list":
                    seen[key] = await self.redis.lrange(key, 0, -1)
                case b"zset":
                    seen[key] = await self.redis.zrange(key, 0, -1, withscores=True)
                case b"stream":
                    seen[key] = await self.redis.xrange(key)
                case b"set":
                    seen[key] = await self.redis.smembers(key)
                case _:
                    seen[key] = await self.redis.get(key)
        return seen

    async def traces(self, job: JobSpec) -> list[bytes]:
        """Keys that are named after a job or mention it; but for the bell, which only says that something came."""
        return [
            key
            for key, value in (await self.everything()).items()
            if not key.startswith(redis_keys.BELL.encode()) and (job.id.encode() in key or job.id in repr(value))
        ]


@pytest.fixture
def run(valkey_url) -> Callable[[Callable[[Here], Awaitable[None]]], None]:
    """Run one scenario on an empty server."""

    def run_scenario(scenario):
        async def main():
            async with Redis.from_url(valkey_url) as redis:
                await asyncio.wait_for(scenario(Here(redis)), 120)

        asyncio.run(main())

    return run_scenario


# --- taking in


def test_a_job_is_taken_in_with_all_that_is_known_of_it(run):
    async def scenario(here):
        job = spec("bulk", deadline_ms=5, owner="0123456789ab")
        assert await here.queue.submit(job, 1) == 0
        record = await here.queue.record(job.id)
        assert (record.spec, record.state, record.attempts, record.deaths, record.cancel) == (
            job, State.QUEUED, 0, 0, False,
        )  # fmt: skip
        assert abs(record.enqueued_ms - time.time() * 1000) < 60_000
        assert await here.event_types(job) == ["queued"]

    run(scenario)


def test_a_full_queue_takes_nothing_and_keeps_nothing(run):
    async def scenario(here):
        await here.submit("interactive", "bulk")
        before = await here.everything()
        refused = spec()
        with pytest.raises(QueueFull) as full:
            await here.queue.submit(refused, 2, Blob("a/input", b"pixels", 60))
        assert full.value.queued == 2
        assert await here.everything() == before

    run(scenario)


def test_a_blob_comes_with_its_job_and_expires_by_itself(run):
    async def scenario(here):
        data = bytes(range(256)) * 4
        await here.queue.submit(spec(), MANY, Blob("a/input", data, 60))
        assert await RedisStore(here.redis).get("a/input") == data
        assert 0 < await here.redis.ttl(redis_keys.BLOB + "a/input") <= 60

    run(scenario)


@pytest.mark.parametrize("fate", ["ours", "lost", "canceled"])
def test_a_result_comes_with_its_commit_and_only_where_that_counts(run, fate):
    async def scenario(here):
        job = await here.running(token="a")
        if fate == "lost":
            await here.queue.release("a", [job.id], died=False)
        elif fate == "canceled":
            await here.queue.cancel(job.id)
        await here.queue.commit(
            "a", [(job.id, State.SUCCEEDED, Outcome(), DAY_S, 1.0)], {job.id: Blob("a/result", b"pixels", 60)}
        )
        kept = await here.redis.get(redis_keys.BLOB + "a/result")
        assert kept == (b"pixels" if fate == "ours" else None)

    run(scenario)


def test_a_job_in_hand_takes_no_place_in_the_line(run):
    async def scenario(here):
        await here.running()
        assert await here.queue.submit(spec(), 1) == 0

    run(scenario)


def test_other_bundles_have_lines_of_their_own(run):
    async def scenario(here):
        await here.submit("standard")
        other = spec(bundle="other")
        assert await here.queue.submit(other, 1) == 0
        assert other.id not in await here.lease(9)

    run(scenario)


@pytest.mark.parametrize("when", ["queued", "running", "over"])
def test_an_id_is_taken_once(run, when):
    async def scenario(here):
        (job,) = await here.submit("standard")
        if when != "queued":
            await here.lease()
        if when == "over":
            await here.commit(job)
        before = await here.everything()
        with pytest.raises(DuplicateJob, match=job.id):
            await here.queue.submit(job, MANY)
        assert await here.everything() == before

    run(scenario)


# --- whose turn it is


def test_within_a_lane_the_first_comes_first(run):
    async def scenario(here):
        jobs = await here.submit(*["standard"] * 5)
        assert await here.lease(3) + await here.lease(9) == [job.id for job in jobs]

    run(scenario)


def test_lanes_go_in_their_order(run):
    async def scenario(here):
        bulk, standard, interactive = await here.submit("bulk", "standard", "interactive")
        assert await here.lease(3) == [interactive.id, standard.id, bulk.id]

    run(scenario)


@pytest.mark.parametrize(("slow", "fast"), [("standard", "interactive"), ("bulk", "standard"), ("bulk", "interactive")])
def test_a_lane_goes_first_once_it_has_waited_for_longer_than_the_others_head_start(run, slow, fast):
    head_start_s = HEAD_START_S[slow] - HEAD_START_S[fast]

    async def scenario(here):
        for patience_s, first in ((head_start_s - 5, fast), (head_start_s + 5, slow)):
            waits, comes = await here.submit(slow, fast)
            await here.age(waits, patience_s)
            order = [{waits.id: slow, comes.id: fast}[job] for job in await here.lease(2)]
            assert order[0] == first

    run(scenario)


def test_nobody_starves_under_a_flood_of_the_first_lane(run):
    """Two interactive jobs come every 10 s, one job is served: only those of the bulk job's first 300 s precede it."""
    before_it = 2 * int(HEAD_START_S["bulk"] / 10)

    async def scenario(here):
        (bulk,) = await here.submit("bulk")
        waiting = []
        for already in range(before_it + 2):
            waiting += await here.submit("interactive", "interactive")
            (served,) = await here.lease()
            if served == bulk.id:
                assert already >= before_it - 2
                return
            waiting = [job for job in waiting if job.id != served]
            for job in (bulk, *waiting):
                await here.age(job, 10)
        pytest.fail("the bulk job was never served")

    run(scenario)


def test_a_worker_gets_only_its_lanes_and_no_more_than_it_asked_for(run):
    async def scenario(here):
        interactive, bulk, another = await here.submit("interactive", "bulk", "bulk")
        assert await here.lease(1, lanes=("bulk",)) == [bulk.id]
        assert await here.lease(9, lanes=("bulk",)) == [another.id]
        assert await here.lease(0) == []
        assert await here.lease(9) == [interactive.id]

    run(scenario)


def test_a_lease_says_what_the_worker_must_know(run):
    async def scenario(here):
        (job,) = await here.submit("standard")
        ((leased,), _) = await here.queue.lease([BUNDLE], LANES, 1, worker="w", token="a", in_hand=0)
        assert (leased.spec, leased.attempts, leased.deaths, leased.alone, leased.cancel) == (job, 1, 0, False, False)
        record = await here.queue.record(job.id)
        assert (record.state, record.attempts) == (State.RUNNING, 1)
        assert record.started_ms >= record.enqueued_ms
        ends_ms = await here.redis.zscore(redis_keys.LEASES, job.id)
        assert 0 < ends_ms - record.started_ms <= redis_keys.LEASE_MS
        assert await here.event_types(job) == ["queued", "started"]

    run(scenario)


def test_a_job_whose_deadline_passes_in_line_ends_there_and_holds_nobody_up(run):
    async def scenario(here):
        late, kept = spec(deadline_ms=1, keep_s=60), spec(deadline_ms=2**52)
        for job in (late, kept):
            await here.queue.submit(job, MANY)
        assert await here.lease(9) == [kept.id]
        record = await here.queue.record(late.id)
        assert (record.state, record.outcome.failure.code) == (State.EXPIRED, "deadline")
        assert 0 < record.expires_ms - record.ended_ms <= 60_000
        assert await here.event_types(late) == ["queued", "failed"]
        assert await here.commit(late) is None

    run(scenario)


# --- the fence


def test_another_token_can_neither_commit_nor_report_nor_renew_nor_release(run):
    async def scenario(here):
        job = await here.running("a")
        before = await here.everything()
        assert await here.commit(job, token="b") is None
        assert not await here.queue.report("b", job.id, Progress(fraction=0.5))
        assert await here.queue.renew("b", [job.id]) == {job.id: "lost"}
        assert await here.queue.release("b", [job.id], died=True) == {job.id: "lost"}
        assert await here.everything() == before

    run(scenario)


def test_who_lost_the_lease_changes_nothing_for_the_next(run):
    async def scenario(here):
        job = await here.running("a")
        await here.lease_runs_out(job)
        await here.queue.reclaim()
        assert await here.commit(job, token="a") is None, "while it is in line"
        assert await here.lease(token="b") == [job.id]
        assert await here.commit(job, token="a") is None, "while another has it"
        assert await here.queue.renew("a", [job.id]) == {job.id: "lost"}
        assert await here.commit(job, token="b") is State.SUCCEEDED

    run(scenario)


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.FAILED, State.CANCELED, State.EXPIRED])
def test_a_job_ends_once(run, state):
    async def scenario(here):
        job = await here.running()
        outcome = Outcome(failure=Failure(code="some", detail="reason")) if state is State.FAILED else Outcome(seed=7)
        assert await here.commit(job, state, outcome=outcome, keep_s=60) is state
        before = await here.everything()
        assert await here.commit(job, State.FAILED) is None
        assert not await here.queue.report("a", job.id, Progress(fraction=0.1))
        assert await here.queue.release("a", [job.id], died=True) == {job.id: "lost"}
        assert await here.everything() == before
        record = await here.queue.record(job.id)
        assert (record.state, record.outcome) == (state, outcome)
        ended = {"succeeded": "completed", "failed": "failed", "canceled": "canceled", "expired": "failed"}[state]
        assert await here.event_types(job) == ["queued", "started", ended]
        assert (await here.queue.counters())[f"ended:{BUNDLE}:{state}"] == 1

    run(scenario)


def test_a_commit_answers_for_each_job_in_its_order(run):
    async def scenario(here):
        jobs = await here.submit(*["standard"] * 3)
        await here.lease(2)
        rows = [(job.id, State.SUCCEEDED, Outcome(), 60, 1.0) for job in reversed(jobs)]
        assert await here.queue.commit("a", rows) == [None, State.SUCCEEDED, State.SUCCEEDED]
        assert await here.queue.commit("a", []) == []

    run(scenario)


def test_a_renewed_lease_ends_later(run):
    async def scenario(here):
        job = await here.running()
        await here.redis.zadd(redis_keys.LEASES, {job.id: 1})
        assert await here.queue.renew("a", [job.id, "unknown"]) == {job.id: "ok", "unknown": "lost"}
        assert await here.queue.reclaim() == {}
        assert await here.queue.renew("a", []) == {}

    run(scenario)


def test_progress_and_what_is_known_so_far_are_published(run):
    async def scenario(here):
        job = await here.running()
        at, found = Progress(fraction=0.25, step=1, steps=4), Outcome(degradations={"rain": 0.5})
        event = Event(id="", type="step.progress", data=at.model_dump())
        assert await here.queue.report("a", job.id, at, found, event)
        record = await here.queue.record(job.id)
        assert (record.progress, record.outcome) == (at, found)
        last = (await here.queue.events(job.id))[-1]
        assert (last.type, last.data) == ("step.progress", at.model_dump())

    run(scenario)


# --- the user wants an end


def test_a_queued_job_is_canceled_at_once(run):
    async def scenario(here):
        job, other = await here.submit("standard", "standard")
        assert await here.queue.cancel(job.id, keep_s=60) is State.QUEUED
        record = await here.queue.record(job.id)
        assert record.state is State.CANCELED
        assert record.expires_ms - record.ended_ms <= 60_000
        assert await here.event_types(job) == ["queued", "canceled"]
        assert await here.queue.place(job) is None
        assert await here.lease(9) == [other.id]
        assert await here.redis.zscore(f"{redis_keys.RQ_CANCELED}{job.queue}", job.id) is not None
        assert await here.queue.cancel(job.id) is State.CANCELED, "once more changes nothing"
        assert await here.event_types(job) == ["queued", "canceled"]

    run(scenario)


def test_a_running_job_is_asked_to_end_and_its_worker_hears_of_it(run):
    async def scenario(here):
        job = await here.running()
        assert await here.queue.cancel(job.id) is State.RUNNING
        record = await here.queue.record(job.id)
        assert (record.state, record.cancel) == (State.RUNNING, True)
        assert await here.queue.renew("a", [job.id]) == {job.id: "cancel"}

    run(scenario)


def test_a_cancel_wins_over_the_success_that_comes_after_it(run):
    async def scenario(here):
        job = await here.running()
        await here.queue.cancel(job.id)
        assert await here.commit(job, State.SUCCEEDED, outcome=Outcome(seed=7)) is State.CANCELED
        record = await here.queue.record(job.id)
        assert (record.state, record.outcome) == (State.CANCELED, Outcome())
        assert await here.event_types(job) == ["queued", "started", "canceled"]

    run(scenario)


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.FAILED])
def test_a_job_that_is_over_stays_as_it_is(run, state):
    async def scenario(here):
        job = await here.running()
        await here.commit(job, state)
        before = await here.everything()
        assert await here.queue.cancel(job.id) is state
        assert await here.everything() == before

    run(scenario)


def test_an_unknown_job_cannot_be_canceled(run):
    async def scenario(here):
        assert await here.queue.cancel("0" * 32) is None
        assert await here.everything() == {}

    run(scenario)


@pytest.mark.parametrize("died", [True, False])
def test_a_canceled_job_that_is_handed_back_ends_there(run, died):
    async def scenario(here):
        job = await here.running()
        await here.queue.cancel(job.id)
        assert await here.queue.release("a", [job.id], died=died) == {job.id: "canceled"}
        assert await here.state(job) is State.CANCELED
        assert await here.lease(9) == []

    run(scenario)


def test_a_canceled_job_of_a_dead_worker_ends_there(run):
    async def scenario(here):
        job = await here.running()
        await here.queue.cancel(job.id)
        await here.lease_runs_out(job)
        assert await here.queue.reclaim() == {job.id: "canceled"}
        assert await here.state(job) is State.CANCELED

    run(scenario)


# --- handed back, and deaths


def test_jobs_handed_back_keep_their_order_and_spend_no_attempt(run):
    async def scenario(here):
        jobs = await here.submit(*["standard"] * 5)
        ids = await here.lease(3)
        assert set((await here.queue.release("a", ids, died=False)).values()) == {"queued"}
        leased, _ = await here.queue.lease([BUNDLE], LANES, 9, worker="w", token="b", in_hand=0)
        assert [job.spec.id for job in leased] == [job.id for job in jobs]
        assert [(job.attempts, job.deaths, job.alone) for job in leased] == [(1, 0, False)] * 5

    run(scenario)


def test_a_job_handed_back_looks_as_if_it_had_not_begun(run):
    async def scenario(here):
        job = await here.running()
        await here.queue.report("a", job.id, Progress(fraction=0.5))
        await here.queue.release("a", [job.id], died=False)
        record = await here.queue.record(job.id)
        assert (record.state, record.started_ms, record.progress, record.attempts) == (
            State.QUEUED, None, Progress(), 0,
        )  # fmt: skip
        assert (await here.queue.events(job.id))[-1].data == {"again": True}
        assert await here.queue.release("a", [], died=False) == {}

    run(scenario)


def test_a_job_handed_back_has_found_nothing_yet(run):
    async def scenario(here):
        job = await here.running()
        await here.queue.report("a", job.id, Progress(), Outcome(degradations={"rain": 1.0}, stop_reason="clean"))
        await here.queue.release("a", [job.id], died=True)
        assert (await here.queue.record(job.id)).outcome == Outcome()

    run(scenario)


def test_a_job_whose_engine_died_goes_first_and_alone(run):
    async def scenario(here):
        doomed, other = await here.submit("standard", "standard")
        await here.lease(1)
        assert await here.queue.release("a", [doomed.id], died=True) == {doomed.id: "queued"}
        leased, _ = await here.queue.lease([BUNDLE], LANES, 9, worker="w", token="b", in_hand=0)
        assert [(job.spec.id, job.attempts, job.deaths, job.alone) for job in leased] == [(doomed.id, 2, 1, True)]
        assert await here.lease(9) == [other.id], "another worker may go on"

    run(scenario)


def test_a_job_to_be_run_alone_waits_for_empty_hands(run):
    async def scenario(here):
        (doomed,) = await here.submit("standard")
        await here.lease()
        await here.queue.release("a", [doomed.id], died=True)
        await here.submit("bulk")
        assert await here.lease(9, token="b", in_hand=1) == []
        assert await here.queue.place(doomed) == 0
        assert await here.lease(9, token="b", in_hand=0) == [doomed.id]

    run(scenario)


def test_a_job_to_be_run_alone_joins_no_others(run):
    async def scenario(here):
        (doomed,) = await here.submit("bulk")
        await here.lease()
        await here.queue.release("a", [doomed.id], died=True)
        (first,) = await here.submit("interactive")
        assert await here.lease(9, token="b") == [first.id], "its batch ends before the lonely one"
        assert await here.lease(9, token="c") == [doomed.id]

    run(scenario)


def test_each_of_the_jobs_beside_a_dead_engine_is_run_singly(run):
    async def scenario(here):
        jobs = await here.submit("standard", "standard", "standard")
        ids = await here.lease(3)
        await here.queue.release("a", ids, died=True)
        for job in jobs:
            assert await here.lease(9, token="b") == [job.id]
            assert await here.commit(job, token="b") is State.SUCCEEDED

    run(scenario)


def test_the_second_death_ends_a_job_as_suspected_poison(run):
    async def scenario(here):
        job = await here.running()
        await here.queue.release("a", [job.id], died=True)
        assert await here.lease() == [job.id]
        assert await here.queue.release("a", [job.id], died=True, keep_s=60) == {job.id: "poison"}
        record = await here.queue.record(job.id)
        assert (record.state, record.deaths, record.outcome.failure.code) == (State.FAILED, 2, "poison-suspected")
        assert record.outcome.failure.detail and record.outcome.failure.hint
        assert (await here.event_types(job))[-1] == "failed"
        assert await here.lease(9) == []
        assert await here.redis.zscore(f"{redis_keys.RQ_FAILED}{job.queue}", job.id) is not None

    run(scenario)


def test_a_drain_after_a_death_forgives_nothing_and_adds_nothing(run):
    async def scenario(here):
        job = await here.running()
        await here.queue.release("a", [job.id], died=True)
        await here.lease()
        await here.queue.release("a", [job.id], died=False)
        ((leased,), _) = await here.queue.lease([BUNDLE], LANES, 9, worker="w", token="b", in_hand=0)
        assert (leased.attempts, leased.deaths, leased.alone) == (2, 1, True)

    run(scenario)


def test_jobs_of_a_dead_worker_go_back_into_line_when_their_lease_ends(run):
    async def scenario(here):
        lost, kept = await here.submit("standard", "standard")
        await here.lease(2)
        assert await here.queue.reclaim() == {}, "not before"
        await here.lease_runs_out(lost)
        assert await here.queue.reclaim() == {lost.id: "queued"}
        assert await here.queue.reclaim() == {}, "once"
        assert (await here.state(lost), await here.state(kept)) == (State.QUEUED, State.RUNNING)
        assert (await here.queue.counters())["lease_expired"] == 1
        assert (await here.queue.record(lost.id)).deaths == 1
        assert await here.redis.zrange(f"{redis_keys.RQ_STARTED}{lost.queue}", 0, -1) == [f"{kept.id}:a".encode()]

    run(scenario)


def test_a_job_whose_worker_died_twice_is_not_tried_a_third_time(run):
    async def scenario(here):
        job = await here.running()
        for answer in ("queued", "poison"):
            await here.lease_runs_out(job)
            assert await here.queue.reclaim() == {job.id: answer}
            await here.lease()
        assert await here.state(job) is State.FAILED

    run(scenario)


# --- forgetting


@pytest.mark.parametrize("state", ["queued", "canceled", "succeeded", "failed", "expired", "poison"])
def test_a_forgotten_job_leaves_no_trace(run, state):
    async def scenario(here):
        (job,) = await here.submit("standard")
        if state == "canceled":
            await here.queue.cancel(job.id)
        elif state == "poison":
            for _ in range(2):
                await here.lease()
                await here.queue.release("a", [job.id], died=True)
        elif state != "queued":
            await here.lease()
            await here.queue.report("a", job.id, Progress(), event=Event(id="", type="step.progress", data={}))
            await here.commit(job, State(state))
        assert await here.traces(job)
        assert await here.queue.forget(job.id) == 1
        assert await here.traces(job) == []
        assert await here.queue.forget(job.id) == 0
        assert await here.queue.record(job.id) is None

    run(scenario)


def test_a_job_that_is_forgotten_while_it_runs_leaves_no_trace(run):
    async def scenario(here):
        job = await here.running()
        await here.queue.forget(job.id)
        assert await here.traces(job) == []
        assert (await here.queue.backlog(BUNDLE)).running == 0

    run(scenario)


def test_nothing_but_counters_and_the_bell_is_left_when_all_are_forgotten(run):
    async def scenario(here):
        jobs = await here.submit("standard", "bulk")
        await here.lease(2)
        for job in jobs:
            await here.commit(job)
        await here.queue.forget(*[job.id for job in jobs])
        left = {redis_keys.BELL + BUNDLE, redis_keys.DRAIN + BUNDLE, redis_keys.COUNTERS, redis_keys.RQ_QUEUES}
        assert set(await here.everything()) == {key.encode() for key in left}

    run(scenario)


def test_jobs_are_forgotten_when_they_have_been_kept_long_enough(run):
    async def scenario(here):
        due, kept = await here.submit("standard", "standard")
        await here.lease(2)
        for job in (due, kept):
            await here.commit(job, keep_s=3600)
        assert await here.queue.forget_expired() == []
        await here.redis.zadd(redis_keys.EXPIRY, {due.id: 1}, xx=True)
        assert await here.queue.forget_expired() == [due.id]
        assert await here.traces(due) == []
        assert await here.state(kept) is State.SUCCEEDED

    run(scenario)


def test_a_job_whose_hash_expired_before_the_sweep_leaves_no_trace(run):
    """So it is when no worker has swept for a long time."""

    async def scenario(here):
        job = await here.running()
        await here.commit(job, keep_s=60)
        await here.redis.zadd(redis_keys.EXPIRY, {job.id: 1}, xx=True)
        for key in (redis_keys.JOB, redis_keys.EVENTS, redis_keys.RQ_JOB, redis_keys.RQ_RESULTS):  # as their TTL does
            await here.redis.delete(key + job.id)
        assert await here.queue.forget_expired() == [job.id]
        assert await here.traces(job) == []

    run(scenario)


@pytest.mark.parametrize("end", ["commit", "cancel", "poison"])
def test_all_that_is_kept_of_an_ended_job_has_a_time_to_live(run, end):
    async def scenario(here):
        (job,) = await here.submit("standard")
        if end == "commit":
            await here.lease()
            await here.commit(job, keep_s=60)
        elif end == "cancel":
            await here.queue.cancel(job.id, keep_s=60)
        else:
            for _ in range(2):
                await here.lease()
                await here.queue.release("a", [job.id], died=True, keep_s=60)
        own = [key for key in await here.everything() if job.id.encode() in key]
        assert len(own) >= 3
        for key in own:
            assert 60 < await here.redis.ttl(key) <= 60 + 2 * 3600, "it outlives the sweep that forgets it, by hours"
        record = await here.queue.record(job.id)
        assert 0 < record.expires_ms - record.ended_ms <= 60_000
        assert await here.redis.zscore(redis_keys.EXPIRY, job.id) == record.expires_ms

    run(scenario)


def test_a_job_of_a_dead_worker_is_kept_for_as_long_as_its_spec_says(run):
    async def scenario(here):
        job = spec(keep_s=60)
        await here.queue.submit(job, MANY)
        for _ in range(2):
            await here.lease()
            await here.lease_runs_out(job)
            await here.queue.reclaim()
        record = await here.queue.record(job.id)
        assert record.expires_ms - record.ended_ms <= 60_000

    run(scenario)


def test_a_job_in_line_or_in_hand_does_not_expire_by_itself(run):
    async def scenario(here):
        running, _ = await here.submit("standard", "standard")
        await here.lease()
        lasting = [key for key in await here.everything() if await here.redis.ttl(key) != -1]
        assert lasting == []
        week_ms = await here.redis.zscore(redis_keys.EXPIRY, running.id) - (await here.queue.now_ms())
        assert 0 < week_ms <= redis_keys.QUEUED_TTL_S * 1000

    run(scenario)


# --- looking


def test_events_are_repeated_after_the_last_one_that_was_seen(run):
    async def scenario(here):
        job = await here.running()
        for number in range(3):
            await here.queue.report("a", job.id, Progress(), event=Event(id="", type="n", data={"n": number}))
        events = await here.queue.events(job.id)
        assert [event.type for event in events] == ["queued", "started", "n", "n", "n"]
        for seen, event in enumerate(events):
            assert await here.queue.events(job.id, event.id) == events[seen + 1 :]
        assert await here.queue.events("0" * 32) == []

    run(scenario)


def test_changes_are_told_as_they_happen(run):
    async def scenario(here):
        job = await here.running()
        changes = here.queue.changes()
        first = asyncio.ensure_future(anext(changes))
        while (await here.redis.pubsub_numsub(redis_keys.WAKE))[0][1] == 0:
            await asyncio.sleep(0.01)
        await here.commit(job)
        assert await first == (job.id, True)
        await changes.aclose()

    run(scenario)


def test_whoever_waits_sees_the_end_with_its_picture_in_one_look(run):
    async def scenario(here):
        job, picture = await here.running(), b"\n\x00\xff 7" * 999
        assert await here.queue.look(job) == (await here.queue.record(job.id), None)
        outcome = Outcome(stop_reason="clean", degradations={"noise": 0.25})
        await here.queue.commit(
            "a", [(job.id, State.SUCCEEDED, outcome, DAY_S, 1.0)], {job.id: Blob("a/result", picture, 60)}
        )
        record = await here.queue.record(job.id)
        assert await here.queue.look(job) == (record, picture) and record.outcome == outcome
        await RedisStore(here.redis).delete("a/result")
        assert await here.queue.look(job) == (record, None)
        assert await here.queue.look(spec()) == (None, None)

    run(scenario)


def test_a_place_counts_those_before_it_in_its_lane(run):
    async def scenario(here):
        first, other, second = await here.submit("standard", "bulk", "standard")
        assert [await here.queue.place(job) for job in (first, other, second)] == [0, 0, 1]
        await here.lease()
        assert [await here.queue.place(job) for job in (first, other, second)] == [None, 0, 0]

    run(scenario)


def test_the_backlog_counts_each_lane_and_those_in_hand(run):
    async def scenario(here):
        jobs = await here.submit("interactive", "standard", "standard", "bulk")
        empty = await here.queue.backlog("other")
        assert (empty.total, empty.running, empty.seconds_per_job) == (0, 0, None)
        await here.lease(2)
        backlog = await here.queue.backlog(BUNDLE)
        assert (backlog.queued, backlog.total) == ({"interactive": 0, "standard": 1, "bulk": 1}, 2)
        assert backlog.running == 2
        await here.commit(jobs[0])
        assert (await here.queue.backlog(BUNDLE)).running == 1

    run(scenario)


def test_the_drain_rate_is_of_the_last_ends(run):
    async def scenario(here):
        await here.redis.rpush(redis_keys.DRAIN + BUNDLE, "9000 1.0", "5000 2.0", "3000 1.5")
        assert (await here.queue.backlog(BUNDLE)).seconds_per_job == 3.0
        for _ in range(redis_keys.DRAIN_KEPT):
            job = await here.running()
            await here.commit(job)
        assert await here.redis.llen(redis_keys.DRAIN + BUNDLE) == redis_keys.DRAIN_KEPT

    run(scenario)


def test_the_newest_jobs_come_first_page_by_page(run):
    async def scenario(here):
        jobs = await here.submit(*["standard"] * 7)
        for number, job in enumerate(jobs):  # a millisecond of its own for each
            await here.redis.zadd(redis_keys.INDEX, {job.id: 1000 + number})
            await here.redis.hset(redis_keys.JOB + job.id, "enqueued_ms", 1000 + number)
        seen, before_ms = [], None
        while page := await here.queue.newest(3, before_ms):
            seen += [record.spec.id for record in page]
            before_ms = page[-1].enqueued_ms
        assert seen == [job.id for job in reversed(jobs)]

    run(scenario)


def test_jobs_of_one_millisecond_are_on_some_page(run):
    async def scenario(here):
        jobs = await here.submit(*["standard"] * 4)
        for job in jobs:
            await here.redis.zadd(redis_keys.INDEX, {job.id: 1000})
            await here.redis.hset(redis_keys.JOB + job.id, "enqueued_ms", 1000)
        seen, before_ms = set(), None
        while page := await here.queue.newest(3, before_ms):
            seen |= {record.spec.id for record in page}
            before_ms = page[-1].enqueued_ms
        assert seen == {job.id for job in jobs}

    run(scenario)


def test_each_owner_sees_the_jobs_of_one_key_only(run):
    async def scenario(here):
        hers, his = spec(owner="aaaaaaaaaaaa"), spec(owner="bbbbbbbbbbbb")
        for job in (hers, his):
            await here.queue.submit(job, MANY)
        assert [record.spec for record in await here.queue.newest(9, owner="aaaaaaaaaaaa")] == [hers]
        assert await here.queue.newest(9, owner="cccccccccccc") == []
        assert {record.spec.id for record in await here.queue.newest(9)} == {hers.id, his.id}
        await here.queue.forget(hers.id)
        assert await here.traces(hers) == []

    run(scenario)


def test_jobs_of_several_bundles_are_leased_in_one_line(run):
    async def scenario(here):
        jobs = [spec(bundle=name, lane="standard") for name in ("a", "b", "a", "c")]
        for job in jobs:
            await here.queue.submit(job, MANY)
            await asyncio.sleep(0.003)  # arrival is counted in milliseconds
        leased, _ = await here.queue.lease(["a", "b"], LANES, 9, worker="w", token="t", in_hand=0)
        assert [entry.spec.id for entry in leased] == [job.id for job in jobs[:3]], "by arrival, and not another's"
        await here.queue.wait_for_work(["b", "c"], 30)  # c's bell has rung
        said = [WorkerInfo(name="w", host="h", bundle=name, family="f", bundle_version="1", device="cpu", lanes=LANES,
                           max_batch=1, started_ms=1, ready=True) for name in ("a", "b")]  # fmt: skip
        await here.queue.announce(*said)
        assert await here.queue.workers() == said
        await here.queue.withdraw("w", ["a", "b"])
        assert await here.queue.workers() == []

    run(scenario)


def test_a_bell_wakes_who_waits_and_silence_ends_by_itself(run):
    async def scenario(here):
        await here.queue.wait_for_work([BUNDLE], 0.05)
        waits = asyncio.ensure_future(here.queue.wait_for_work([BUNDLE], 30))
        async with Redis(connection_pool=here.redis.connection_pool) as other:
            await Queue(other).submit(spec(), MANY)
        await asyncio.wait_for(waits, 20)

    run(scenario)


def leasing(here, token="a", most=1):
    return here.queue.lease([BUNDLE], LANES, most, worker="w", token=token, in_hand=0)


def test_a_server_that_has_forgotten_its_scripts_leases_all_the_same(run):
    async def scenario(here):
        (job,) = await here.submit("standard")
        await here.redis.script_flush()
        ((leased,), _) = await leasing(here)
        assert leased.spec == job

    run(scenario)


def test_a_small_input_goes_with_the_lease_and_away_with_the_end(run):
    async def scenario(here):
        job, picture = spec(), Blob("picture", b"\x00\xff" * 500, 60)
        await here.queue.submit(job, MANY, picture)
        ((leased,), _) = await leasing(here)
        assert leased.input == picture.data
        await here.commit(job)
        with pytest.raises(BlobMissing):
            await RedisStore(here.redis).get("picture")

    run(scenario)


def test_a_job_handed_back_takes_its_input_along_again(run):
    async def scenario(here):
        job = spec()
        await here.queue.submit(job, MANY, Blob("picture", b"bytes", 60))
        for token in ("a", "b"):
            ((leased,), _) = await leasing(here, token)
            assert leased.input == b"bytes"
            await here.queue.release(token, [job.id], died=False)

    run(scenario)


def test_a_lease_of_many_jobs_carries_no_more_than_a_megabyte(run):
    async def scenario(here):
        for index in range(5):
            await here.queue.submit(spec(), MANY, Blob(f"picture-{index}", b"x" * 300_000, 60))
        leased, _ = await leasing(here, most=9)
        inputs = [len(entry.input or b"") for entry in leased]
        assert inputs == [300_000] * 3 + [0] * 2, "the others are fetched from the store"

    run(scenario)


def test_a_job_that_waited_for_its_input_says_so_when_it_is_gone(run):
    async def scenario(here):
        await here.queue.submit(spec(), MANY, Blob("picture", b"bytes", 60))
        await RedisStore(here.redis).delete("picture")
        ((leased,), _) = await leasing(here)
        assert leased.input is None, "the worker looks for it in the store, and finds that it is missing"

    run(scenario)


def test_the_bell_does_not_pile_up(run):
    async def scenario(here):
        await here.submit(*["standard"] * (redis_keys.BELL_KEPT + 9))
        assert await here.redis.llen(redis_keys.BELL + BUNDLE) == redis_keys.BELL_KEPT

    run(scenario)


def test_workers_are_known_for_as_long_as_they_say_so(run):
    async def scenario(here):
        infos = [
            WorkerInfo(name=name, host="h", bundle=BUNDLE, family="autodir", bundle_version="1", device="cpu",
                       lanes=LANES, max_batch=1, started_ms=1, ready=True)
            for name in ("w1", "w2", "w3")
        ]  # fmt: skip
        assert await here.queue.workers() == []
        for info in infos:
            await here.queue.announce(info)
        assert await here.queue.workers() == infos
        assert 0 < await here.redis.ttl(redis_keys.WORKER + f"w1/{BUNDLE}") <= redis_keys.WORKER_TTL_S
        await here.queue.withdraw("w1", [BUNDLE])
        await here.redis.delete(redis_keys.WORKER + f"w2/{BUNDLE}")  # it fell silent
        assert await here.queue.workers() == infos[2:]
        assert await here.redis.smembers(redis_keys.WORKERS) == {f"w3/{BUNDLE}".encode()}

    run(scenario)


# --- all at once


def test_eight_workers_end_each_of_500_jobs_exactly_once(run):
    count = 500

    async def scenario(here):
        jobs = [spec(LANES[i % 3]) for i in range(count)]
        ends: dict[str, list[State]] = {job.id: [] for job in jobs}

        async def submit():
            for job in jobs:
                await here.queue.submit(job, MANY)

        async def work(number: int):
            token, round_ = f"worker-{number}", 0
            while sum(map(len, ends.values())) < count:
                ids = await here.lease(1 + number % 5, token=token)
                round_ += 1
                if not ids:
                    await asyncio.sleep(0.01)
                elif round_ % 7 == 0:
                    await here.queue.release(token, ids, died=False)
                else:
                    rows = [(job, State.SUCCEEDED, Outcome(), 600, 1.0) for job in ids]
                    for job, state in zip(ids, await here.queue.commit(token, rows), strict=True):
                        ends[job].append(state)
                    assert await here.queue.commit(token, rows) == [None] * len(rows)

        await asyncio.gather(submit(), *(work(number) for number in range(8)))
        assert all(states == [State.SUCCEEDED] for states in ends.values())
        assert (await here.queue.counters())[f"ended:{BUNDLE}:succeeded"] == count
        assert await here.redis.zcard(redis_keys.LEASES) == 0
        backlog = await here.queue.backlog(BUNDLE)
        assert (backlog.total, backlog.running) == (0, 0)
        finished = [await here.redis.zcard(f"{redis_keys.RQ_FINISHED}{BUNDLE}.{lane}") for lane in LANES]
        assert sum(finished) == count
        for job in jobs[::50]:
            assert (await here.event_types(job)).count("completed") == 1

    run(scenario)


class Life(RuleBasedStateMachine):
    """Random lives of a few jobs between two workers; the model knows each one's state, holder, deaths and wish."""

    url = ""
    TOKENS = st.sampled_from(["a", "b"])
    PICK = st.integers(0, 7)

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.redis = Redis.from_url(self.url)
        self.do(self.redis.flushall())
        self.here = Here(self.redis)
        self.jobs: list[JobSpec] = []
        self.state: dict[str, State] = {}
        self.holder: dict[str, str] = {}
        self.deaths: dict[str, int] = {}
        self.wished: set[str] = set()

    def do(self, work):
        return self.runner.run(work) if asyncio.iscoroutine(work) else self.runner.run(_awaited(work))

    def teardown(self) -> None:
        self.do(self.redis.aclose())
        self.runner.close()

    def pick(self, number: int) -> JobSpec:
        return self.jobs[number % len(self.jobs)]

    def held(self, job: JobSpec, token: str) -> bool:
        return self.state[job.id] is State.RUNNING and self.holder[job.id] == token

    def handed_back(self, job: JobSpec, deaths: int) -> str:
        self.deaths[job.id] += deaths
        if job.id in self.wished:
            self.deaths[job.id] -= deaths  # nobody counts the deaths of a job that ends anyway
            self.state[job.id] = State.CANCELED
            return "canceled"
        poison = self.deaths[job.id] >= redis_keys.MOST_DEATHS
        self.state[job.id] = State.FAILED if poison else State.QUEUED
        return "poison" if poison else "queued"

    @precondition(lambda self: len(self.jobs) < 8)
    @rule(lane=st.sampled_from(LANES))
    def submit(self, lane):
        job = spec(lane, owner="0123456789ab")
        self.do(self.here.queue.submit(job, MANY))
        self.jobs.append(job)
        self.state[job.id], self.deaths[job.id] = State.QUEUED, 0

    @rule(token=TOKENS, most=st.integers(1, 4))
    def lease(self, token, most):
        in_hand = sum(self.held(job, token) for job in self.jobs)
        leased, _ = self.do(self.here.queue.lease([BUNDLE], LANES, most, worker=token, token=token, in_hand=in_hand))
        ids = [job.spec.id for job in leased]
        assert len(set(ids)) == len(ids) <= most
        for job in leased:
            assert self.state[job.spec.id] is State.QUEUED
            assert (job.deaths, job.alone) == (self.deaths[job.spec.id], self.deaths[job.spec.id] > 0)
            if job.alone:
                assert (len(leased), in_hand) == (1, 0)
            self.state[job.spec.id], self.holder[job.spec.id] = State.RUNNING, token
        queued = [job for job in self.jobs if self.state[job.id] is State.QUEUED]
        if not leased and queued:
            assert in_hand and any(self.deaths[job.id] for job in queued), "only a lonely one may be left for later"

    @precondition(lambda self: self.jobs)
    @rule(token=TOKENS, number=PICK, state=st.sampled_from([State.SUCCEEDED, State.FAILED, State.EXPIRED]))
    def commit(self, token, number, state):
        job = self.pick(number)
        answer = self.do(self.here.commit(job, state, token))
        if not self.held(job, token):
            assert answer is None
            return
        self.state[job.id] = State.CANCELED if job.id in self.wished else state
        assert answer is self.state[job.id]

    @precondition(lambda self: self.jobs)
    @rule(number=PICK)
    def cancel(self, number):
        job = self.pick(number)
        assert self.do(self.here.queue.cancel(job.id)) is self.state[job.id]
        if self.state[job.id] is State.QUEUED:
            self.state[job.id] = State.CANCELED
        elif self.state[job.id] is State.RUNNING:
            self.wished.add(job.id)

    @precondition(lambda self: self.jobs)
    @rule(token=TOKENS, number=PICK, died=st.booleans())
    def release(self, token, number, died):
        job = self.pick(number)
        answer = self.do(self.here.queue.release(token, [job.id], died=died))
        assert answer == {job.id: self.handed_back(job, int(died)) if self.held(job, token) else "lost"}

    @precondition(lambda self: self.jobs)
    @rule(number=PICK)
    def a_lease_runs_out(self, number):
        job = self.pick(number)
        self.do(self.here.lease_runs_out(job))
        expected = {job.id: self.handed_back(job, 1)} if self.state[job.id] is State.RUNNING else {}
        assert self.do(self.here.queue.reclaim()) == expected

    @precondition(lambda self: self.jobs)
    @rule(token=TOKENS)
    def renew(self, token):
        answers = self.do(self.here.queue.renew(token, [job.id for job in self.jobs]))
        for job in self.jobs:
            wished = "cancel" if job.id in self.wished else "ok"
            assert answers[job.id] == (wished if self.held(job, token) else "lost")

    @precondition(lambda self: any(state.over for state in self.state.values()))
    @rule(number=PICK)
    def forget(self, number):
        over = [job for job in self.jobs if self.state[job.id].over]
        job = over[number % len(over)]
        self.do(self.here.queue.forget(job.id))
        assert self.do(self.here.traces(job)) == []
        self.jobs.remove(job)
        del self.state[job.id]

    @invariant()
    def redis_knows_what_the_model_knows(self):
        self.do(self.compare())

    async def compare(self):
        redis = self.redis
        lines = [job for lane in LANES for job in await redis.lrange(f"{redis_keys.RQ_QUEUE}{BUNDLE}.{lane}", 0, -1)]
        in_state = {
            state: sorted(job.id.encode() for job in self.jobs if self.state[job.id] is state) for state in State
        }
        assert sorted(lines) == in_state[State.QUEUED], "each once, in line"
        running = in_state[State.RUNNING]
        assert sorted(await redis.zrange(redis_keys.LEASES, 0, -1)) == running
        wip = [
            entry for lane in LANES for entry in await redis.zrange(f"{redis_keys.RQ_STARTED}{BUNDLE}.{lane}", 0, -1)
        ]
        assert sorted(wip) == [job + b":" + self.holder[job.decode()].encode() for job in running]
        for registry, states in (
            (redis_keys.RQ_FINISHED, [State.SUCCEEDED]),
            (redis_keys.RQ_FAILED, [State.FAILED, State.EXPIRED]),
            (redis_keys.RQ_CANCELED, [State.CANCELED]),
        ):
            seen = [job for lane in LANES for job in await redis.zrange(f"{registry}{BUNDLE}.{lane}", 0, -1)]
            assert sorted(seen) == sorted(job for state in states for job in in_state[state])
        for job in self.jobs:
            record = await self.here.queue.record(job.id)
            assert record.state is self.state[job.id]
            types = await self.here.event_types(job)
            assert sum(kind in ("completed", "failed", "canceled") for kind in types) == record.state.over


async def _awaited(work):
    return await work


def test_any_life_of_jobs_agrees_with_the_model(valkey_url):
    machine = type("LifeOnAServer", (Life,), {"url": valkey_url})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=25, stateful_step_count=25, deadline=None, database=None, derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
