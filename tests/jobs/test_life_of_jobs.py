"""Many jobs at once, and random lives of jobs against a model."""

import asyncio
from typing import ClassVar
from uuid import uuid4

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from queue_bench import BUNDLE, DAY_S, MANY, QueueBench, finished, spec
from redis.asyncio import Redis
from script_rules import CHANGE_NO_JOB, RUN_BY_RULES

from jobs import redis_keys
from jobs.batches import BatchEntry
from jobs.job_list import Filter
from jobs.lua_scripts import FOLDER, PARTS, PRELUDE
from jobs.record import Failure, Progress
from jobs.spec import LANES, JobSpec
from jobs.state import State

OWNER = "0123456789ab"


def test_eight_workers_end_each_of_500_jobs_exactly_once(run):
    count = 500

    async def scenario(bench):
        jobs = [spec(LANES[i % 3]) for i in range(count)]
        ends: dict[str, list[State]] = {job.id: [] for job in jobs}

        async def submit():
            for job in jobs:
                await bench.queue.submit(job, MANY)

        async def work(number: int):
            token, round_ = f"worker-{number}", 0
            while sum(map(len, ends.values())) < count:
                ids = await bench.lease(1 + number % 5, token=token)
                round_ += 1
                if not ids:
                    await asyncio.sleep(0.01)
                elif round_ % 7 == 0:
                    await bench.queue.release(token, ids, died=False)
                else:
                    rows = [finished(job) for job in ids]
                    for job, state in zip(ids, await bench.queue.commit(token, rows), strict=True):
                        ends[job].append(state)
                    assert await bench.queue.commit(token, rows) == [None] * len(rows)

        await asyncio.gather(submit(), *(work(number) for number in range(8)))
        assert all(states == [State.SUCCEEDED] for states in ends.values())
        assert (await bench.queue.counters.read())[f"ended:{BUNDLE}:succeeded"] == count
        assert await bench.redis.zcard(redis_keys.LEASES) == 0
        backlog = await bench.queue.backlog(BUNDLE)
        assert (backlog.total, backlog.running) == (0, 0)
        in_registry = [await bench.redis.zcard(f"{redis_keys.RQ_FINISHED}{BUNDLE}.{lane}") for lane in LANES]
        assert sum(in_registry) == count
        for job in jobs[::50]:
            assert (await bench.event_types(job)).count("completed") == 1

    run(scenario)


class Life(RuleBasedStateMachine):
    """Random lives of a few jobs between two workers.  The model knows each job's state, holder and deaths."""

    url = ""
    ran: ClassVar[set[str]] = set()
    """The scripts that have run."""
    TOKENS = st.sampled_from(["a", "b"])
    PICK = st.integers(0, 7)

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.redis = Redis.from_url(self.url)
        self.do(self.redis.flushall())
        self.bench = QueueBench(self.redis)
        self.jobs: list[JobSpec] = []
        self.state: dict[str, State] = {}
        self.holder: dict[str, str] = {}
        self.deaths: dict[str, int] = {}
        self.canceled: set[str] = set()
        self.begun: set[str] = set()
        self.batches: dict[str, list[str]] = {}
        scripts = self.bench.queue._scripts
        scripts.run = _noted(scripts.run, self.ran)

    def do(self, work):
        return self.runner.run(work) if asyncio.iscoroutine(work) else self.runner.run(_awaited(work))

    def teardown(self) -> None:
        self.do(self.redis.aclose())
        self.runner.close()

    def pick(self, number: int) -> JobSpec:
        return self.jobs[number % len(self.jobs)]

    def holds(self, job: JobSpec, token: str) -> bool:
        return self.state[job.id] is State.RUNNING and self.holder[job.id] == token

    def put_back(self, job: JobSpec, deaths: int) -> str:
        self.deaths[job.id] += deaths
        if job.id in self.canceled:
            self.deaths[job.id] -= deaths  # a canceled job ends, and its deaths are not counted
            self.state[job.id] = State.CANCELED
            return "canceled"
        poison = self.deaths[job.id] >= redis_keys.MAX_DEATHS
        self.state[job.id] = State.FAILED if poison else State.QUEUED
        return "poison" if poison else "queued"

    @precondition(lambda self: len(self.jobs) < 8)
    @rule(lane=st.sampled_from(LANES))
    def submit(self, lane):
        job = spec(lane, owner=OWNER)
        self.do(self.bench.queue.submit(job, MANY))
        self.jobs.append(job)
        self.state[job.id], self.deaths[job.id] = State.QUEUED, 0

    @rule(token=TOKENS, max_jobs=st.integers(1, 4))
    def lease(self, token, max_jobs):
        held = sum(self.holds(job, token) for job in self.jobs)
        leased, _ = self.do(self.bench.queue.lease([BUNDLE], LANES, max_jobs, worker=token, token=token, held=held))
        ids = [job.spec.id for job in leased]
        assert len(set(ids)) == len(ids) <= max_jobs
        for job in leased:
            assert self.state[job.spec.id] is State.QUEUED
            assert (job.deaths, job.run_alone) == (self.deaths[job.spec.id], self.deaths[job.spec.id] > 0)
            if job.run_alone:
                assert (len(leased), held) == (1, 0)
            self.state[job.spec.id], self.holder[job.spec.id] = State.RUNNING, token
            self.begun.discard(job.spec.id)
        queued = [job for job in self.jobs if self.state[job.id] is State.QUEUED]
        if not leased and queued:
            assert held and any(self.deaths[job.id] for job in queued), (
                "only a job that must run alone may be left for later"
            )

    @precondition(lambda self: self.jobs)
    @rule(token=TOKENS, number=PICK)
    def begin(self, token, number):
        job = self.pick(number)
        assert self.do(self.bench.queue.report(token, job.id, Progress())) is self.holds(job, token)
        if self.holds(job, token):
            self.begun.add(job.id)

    @precondition(lambda self: self.jobs)
    @rule(token=TOKENS, number=PICK, state=st.sampled_from([State.SUCCEEDED, State.FAILED, State.EXPIRED]))
    def commit(self, token, number, state):
        job = self.pick(number)
        answer = self.do(self.bench.commit(job, state, token))
        if not self.holds(job, token):
            assert answer is None
            return
        self.state[job.id] = State.CANCELED if job.id in self.canceled else state
        assert answer is self.state[job.id]

    @precondition(lambda self: self.jobs)
    @rule(number=PICK)
    def cancel(self, number):
        job = self.pick(number)
        assert self.do(self.bench.queue.cancel(job.id)) is self.state[job.id]
        if self.state[job.id] is State.QUEUED:
            self.state[job.id] = State.CANCELED
        elif self.state[job.id] is State.RUNNING:
            self.canceled.add(job.id)

    @precondition(lambda self: self.jobs)
    @rule(token=TOKENS, number=PICK, died=st.booleans())
    def release(self, token, number, died):
        job = self.pick(number)
        answer = self.do(self.bench.queue.release(token, [job.id], died=died))
        assert answer == {job.id: self.put_back(job, int(died)) if self.holds(job, token) else "lost"}

    @precondition(lambda self: self.jobs)
    @rule(number=PICK)
    def a_lease_ends(self, number):
        job = self.pick(number)
        self.do(self.bench.end_lease(job))
        expected = {job.id: self.put_back(job, 1)} if self.state[job.id] is State.RUNNING else {}
        assert self.do(self.bench.queue.reclaim()) == expected

    @precondition(lambda self: self.jobs)
    @rule(token=TOKENS)
    def renew(self, token):
        answers = self.do(self.bench.queue.renew(token, [job.id for job in self.jobs]))
        for job in self.jobs:
            expected = "cancel" if job.id in self.canceled else "ok"
            assert answers[job.id] == (expected if self.holds(job, token) else "lost")

    @precondition(lambda self: self.jobs)
    @rule(number=PICK)
    def purge(self, number):
        job = self.pick(number)
        ended = self.do(self.bench.queue.purge({job.id: job}, Failure(code="purged", detail="an operator")))
        assert ended == ([job.id] if self.state[job.id] is State.QUEUED else [])
        if ended:
            self.state[job.id] = State.CANCELED

    @precondition(lambda self: self.jobs)
    @rule(number=PICK)
    def a_deadline_passes(self, number):
        job = self.pick(number)
        queued = self.state[job.id] is State.QUEUED
        if queued:
            self.do(self.redis.hset(redis_keys.JOB + job.id, "deadline_ms", 1))
            self.do(self.redis.zadd(redis_keys.DEADLINES, {job.id: 1}))
            self.state[job.id] = State.EXPIRED
        assert self.do(self.bench.queue.expire()) == [job.id] * queued

    @precondition(lambda self: self.jobs)
    @rule(token=TOKENS, number=PICK)
    def an_answer_to_a_lease_is_lost(self, token, number):
        """The worker knows of all its jobs but one."""
        lost = self.pick(number)
        known = [job.id for job in self.jobs if self.holds(job, token) and job != lost]
        released = self.do(self.bench.queue.release_unheld(token, known))
        assert released == [lost.id] * self.holds(lost, token)
        if released:
            self.put_back(lost, 0)

    @rule(lane=st.sampled_from(LANES))
    def pause_and_resume(self, lane):
        """No job of a paused lane is leased."""
        self.do(self.bench.queue.pauses.pause(lane, by="test"))
        assert self.do(self.bench.lease(8, token="nobody", lanes=[lane])) == []
        assert self.do(self.bench.queue.pauses.resume(lane))

    @precondition(lambda self: len(self.jobs) < 8 and len(self.batches) < 3)
    @rule(count=st.integers(1, 2))
    def submit_batch(self, count):
        batch = uuid4().hex
        jobs = [spec("bulk", owner=OWNER, batch=batch) for _ in range(count)]
        for job in jobs:
            self.do(self.bench.queue.submit(job, MANY))
            self.jobs.append(job)
            self.state[job.id], self.deaths[job.id] = State.QUEUED, 0
        entries = [BatchEntry(job=job.id) for job in jobs]
        self.do(self.bench.queue.batches.seal(batch, OWNER, entries, keep_s=DAY_S))
        self.batches[batch] = [job.id for job in jobs]

    @precondition(lambda self: self.batches)
    @rule(number=PICK)
    def forget_batch(self, number):
        """Its jobs stay."""
        batch = sorted(self.batches)[number % len(self.batches)]
        self.do(self.bench.queue.batches.forget(batch))
        del self.batches[batch]

    @precondition(lambda self: any(state.over for state in self.state.values()))
    @rule(number=PICK)
    def forget(self, number):
        """Nothing is left, but a batch with other jobs keeps the bare id among its items."""
        over = [job for job in self.jobs if self.state[job.id].over]
        job = over[number % len(over)]
        self.do(self.bench.queue.forget(job.id))
        traces = self.do(self.bench.traces(job))
        assert [key for key in traces if not key.startswith(redis_keys.BATCH_ITEMS.encode())] == []
        self.jobs.remove(job)
        del self.state[job.id]
        left = {each.id for each in self.jobs}
        self.batches = {batch: jobs for batch, jobs in self.batches.items() if left & set(jobs)}

    @invariant()
    def redis_knows_what_the_model_knows(self):
        self.do(self.compare())

    @rule(state=st.sampled_from(State))
    def read_the_lists(self, state):
        self.do(self.compare_lists(state))

    async def compare_lists(self, state):
        """The lists that clients read, and the jobs of the batches."""
        page = await self.bench.queue.listing.page(Filter(owner=OWNER, state=state), count=50)
        expected = {job.id for job in self.jobs if self.told_state(job) is state}
        assert {record.spec.id for record in page.records} == expected
        page = await self.bench.queue.batches.page(OWNER, count=10)
        assert {batch.id for batch in page.batches} == set(self.batches)
        for batch in page.batches:
            expected = [
                next((self.told_state(job) for job in self.jobs if job.id == each), None)
                for each in self.batches[batch.id]
            ]
            assert [item.state for item in batch.items] == expected
        places = [await self.bench.queue.forecast(job) for job in self.jobs if self.state[job.id].over]
        assert not any(places), "a job that has ended has no place in a line"

    def told_state(self, job: JobSpec) -> State:
        """A job that a worker holds and has not begun is queued for its client."""
        held = self.state[job.id] is State.RUNNING and job.id not in self.begun
        return State.QUEUED if held else self.state[job.id]

    async def compare(self):
        redis = self.redis
        queued = [job for lane in LANES for job in await redis.lrange(f"{redis_keys.RQ_QUEUE}{BUNDLE}.{lane}", 0, -1)]
        in_state = {
            state: sorted(job.id.encode() for job in self.jobs if self.state[job.id] is state) for state in State
        }
        assert sorted(queued) == in_state[State.QUEUED], "each once, in its queue"
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
            record, _ = await self.bench.queue.record_with_result(job)
            assert record.state is self.told_state(job)
            types = await self.bench.event_types(job)
            assert sum(kind in ("completed", "failed", "canceled", "expired") for kind in types) == record.state.over


async def _awaited(work):
    return await work


def _noted(run, ran):
    """Returns `run` of the scripts, which notes their names."""

    def run_noted(script, *arguments, **named):
        ran.add(script)
        return run(script, *arguments, **named)

    return run_noted


def test_any_life_of_jobs_agrees_with_the_model(valkey_url):
    machine = type("LifeOnAServer", (Life,), {"url": valkey_url, "ran": set()})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=6, stateful_step_count=25, deadline=None, database=None, derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
    assert machine.ran <= RUN_BY_RULES


def test_each_script_is_run_by_a_rule_or_listed_with_a_reason():
    parts = {PRELUDE, *(part for parts in PARTS.values() for part in parts)}
    scripts = {path.stem for path in FOLDER.glob("*.lua")} - parts
    assert scripts == RUN_BY_RULES | set(CHANGE_NO_JOB)
