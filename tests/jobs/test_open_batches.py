"""Batches before they are made: one whose request breaks off leaves no job, and one that is made keeps all of them."""

import asyncio
from typing import ClassVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from queue_bench import DAY_S, MANY, QueueBench, spec
from redis.asyncio import Redis

from jobs import redis_keys
from jobs.batches import BatchEntry
from jobs.errors import BatchWithdrawn

BATCHES = ["a" * 32, "b" * 32]
WHICH = st.sampled_from(BATCHES)


async def break_off(bench, batch):
    """Let the time pass that a batch stays open without an API process."""
    await bench.redis.zadd(redis_keys.OPEN_BATCHES, {batch: 1}, xx=True)


async def submitted(bench, batch):
    job = spec("bulk", batch=batch)
    await bench.queue.submit(job, MANY)
    return job.id


def test_an_open_batch_is_broken_off_when_nobody_holds_it_and_not_before(run):
    async def scenario(bench):
        batches, (batch, other) = bench.queue.batches, BATCHES
        jobs = {await submitted(bench, batch), await submitted(bench, batch)}
        await submitted(bench, other)
        assert await batches.broken_off(9) == []
        assert await batches.withdraw(batch, broken=True) == []
        await break_off(bench, batch)
        assert await batches.broken_off(9) == [batch]
        await batches.hold(batch)
        assert await batches.broken_off(9) == [] and await batches.withdraw(batch, broken=True) == []
        await break_off(bench, batch)
        assert set(await batches.withdraw(batch, broken=True)) == jobs

    run(scenario)


def test_a_held_batch_without_jobs_is_not_noted(run):
    async def scenario(bench):
        await bench.queue.batches.hold(BATCHES[0])
        assert await bench.redis.keys("*") == []

    run(scenario)


def test_a_job_without_a_record_does_not_keep_a_withdrawal_from_its_end(run):
    async def scenario(bench):
        job = await submitted(bench, BATCHES[0])
        await bench.redis.delete(redis_keys.JOB + job)
        assert await bench.queue.batches.withdraw(BATCHES[0]) == []
        assert await bench.redis.zcard(redis_keys.OPEN_BATCHES) == 0

    run(scenario)


class OpenBatches(RuleBasedStateMachine):
    """Requests for batches that go on, stand still and break off in any order, beside those who keep house."""

    url: ClassVar[str]

    def __init__(self):
        super().__init__()
        self._runner = asyncio.Runner()
        self.bench = QueueBench(Redis.from_url(self.url))
        self.do(self.bench.redis.flushall())
        self.jobs: dict[str, set[str]] = {batch: set() for batch in BATCHES}
        self.made: set[str] = set()
        self.withdrawn: set[str] = set()
        self.stands_still: set[str] = set()
        self.open: set[str] = set()

    def do(self, work):
        return self._runner.run(_awaited(work))

    @rule(batch=WHICH)
    def submit(self, batch):
        if batch in self.made:
            return  # its request is over
        self.jobs[batch].add(self.do(submitted(self.bench, batch)))
        self.open.add(batch)
        self.stands_still.discard(batch)

    @rule(batch=WHICH)
    def hold(self, batch):
        self.do(self.bench.queue.batches.hold(batch))
        self.stands_still.discard(batch)

    @rule(batch=WHICH)
    def stand_still(self, batch):
        self.do(break_off(self.bench, batch))
        self.stands_still.add(batch)

    @rule(batch=WHICH, broken=st.booleans(), forgotten=st.integers(0, 3))
    def withdraw(self, batch, broken, forgotten):
        """Whoever forgets the jobs may die before the last one."""
        jobs = self.do(self.bench.queue.batches.withdraw(batch, broken=broken))
        if batch in self.made or (broken and batch not in self.open & self.stands_still):
            assert jobs == []
            return
        assert set(jobs) == self.jobs[batch]
        self.withdrawn.add(batch)
        if not jobs:
            self.open.discard(batch)
        self.do(self.bench.queue.forget(*jobs[:forgotten]))
        self.jobs[batch] -= set(jobs[:forgotten])

    @rule(batch=WHICH)
    def seal(self, batch):
        entries = [BatchEntry(job=job) for job in sorted(self.jobs[batch])]
        try:
            self.do(self.bench.queue.batches.seal(batch, None, entries, DAY_S))
        except BatchWithdrawn:
            assert batch in self.withdrawn
            return
        assert batch not in self.withdrawn
        self.made.add(batch)
        self.open.discard(batch)

    @precondition(lambda self: any(self.jobs.values()))
    @rule(data=st.data())
    def delete_a_job(self, data):
        batch = data.draw(st.sampled_from([batch for batch in BATCHES if self.jobs[batch]]))
        job = data.draw(st.sampled_from(sorted(self.jobs[batch])))
        self.do(self.bench.queue.forget(job))
        self.jobs[batch].discard(job)
        if not self.jobs[batch]:
            self.made.discard(batch)

    @invariant()
    def a_made_batch_has_all_its_jobs(self):
        for batch in self.made:
            found = self.do(self.bench.queue.batches.read(batch))
            assert self.jobs[batch] <= {item.entry.job for item in found.items if item.state}

    def teardown(self):
        """When everybody is gone, housekeeping leaves the made batches alone."""
        for batch in BATCHES:
            self.do(break_off(self.bench, batch))
        for batch in self.do(self.bench.queue.batches.broken_off(9)):
            while jobs := self.do(self.bench.queue.batches.withdraw(batch, broken=True)):
                assert batch not in self.made
                self.do(self.bench.queue.forget(*jobs))
        assert self.do(self.bench.queue.batches.broken_off(9)) == []
        keys = self.do(self.bench.redis.keys(redis_keys.JOB + "*"))
        left = {key.decode().removeprefix(redis_keys.JOB) for key in keys}
        assert left == set().union(*(self.jobs[batch] for batch in self.made))
        self.do(self.bench.redis.aclose())
        self._runner.close()


async def _awaited(work):
    return await work


def test_requests_that_break_off_at_any_moment_leave_nothing_and_made_batches_stay(valkey_url):
    machine = type("OpenBatchesOnAServer", (OpenBatches,), {"url": valkey_url})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=25, stateful_step_count=25, deadline=None, database=None, derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
