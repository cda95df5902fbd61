"""Random lives of a few jobs on two shards, against a model: no job is on two, and no step of one touches the other."""

import asyncio

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from queue_bench import BUNDLE, DAY_S, MANY, finished, spec

from jobs.errors import ShardAway
from jobs.job_list import Filter
from jobs.record import Failure, Outcome
from jobs.shards.numbers import shard_of
from jobs.shards.queue import ShardedQueue
from jobs.shards.shards import Shards
from jobs.spec import LANES, JobSpec
from jobs.state import State
from service.job_ids import new_job_id

OWNER = "0123456789ab"


class Life(RuleBasedStateMachine):
    """The model knows the state of each job, and which worker holds it.  A shard may be away for the service."""

    url = ""
    PICK = st.integers(0, 9)
    SHARD = st.integers(0, 1)
    TOKEN = st.sampled_from(["a", "b"])

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.runner.run(self.open())
        self.jobs: dict[str, JobSpec] = {}
        self.state: dict[str, State] = {}
        self.holder: dict[str, str] = {}
        self.canceled: set[str] = set()
        self.away: int | None = None

    async def open(self) -> None:
        self.shards = Shards(f"{self.url}?db=1&shard=0 {self.url}?db=2&shard=1", bundle=BUNDLE, quiet=True)
        for shard in self.shards.all:
            await shard.redis.flushdb()
        await self.shards.check()
        self.queue = ShardedQueue(self.shards)

    def do(self, work):
        return self.runner.run(work)

    def teardown(self) -> None:
        self.do(self.shards.close())
        self.runner.close()

    def pick(self, number: int) -> str:
        return sorted(self.jobs)[number % len(self.jobs)]

    def reachable(self, job: str) -> bool:
        return shard_of(job) != self.away

    def told(self, job: str) -> State:
        """A job that a worker holds and has not begun is queued for its client."""
        return State.QUEUED if self.state[job] is State.RUNNING else self.state[job]

    @precondition(lambda self: len(self.jobs) < 10)
    @rule(lane=st.sampled_from(LANES))
    def submit(self, lane):
        job = spec(lane, id=new_job_id(shard=self.queue.place()), owner=OWNER)
        assert self.reachable(job.id), "a new job goes to a shard that answers"
        self.do(self.queue.submit(job, MANY))
        self.jobs[job.id], self.state[job.id] = job, State.QUEUED

    @rule(shard=SHARD, token=TOKEN, count=st.integers(1, 3))
    def lease(self, shard, token, count):
        """A worker leases from the server itself, whatever the service thinks of it."""
        queue = self.shards.numbered(shard).queue
        leased, refused = self.do(queue.lease([BUNDLE], LANES, count, worker=token, token=token, held=0))
        waiting = [job for job in self.jobs if shard_of(job) == shard and self.state[job] is State.QUEUED]
        assert not refused and len(leased) == min(count, len(waiting))
        for entry in leased:
            assert entry.spec.id in waiting
            self.state[entry.spec.id], self.holder[entry.spec.id] = State.RUNNING, token

    @precondition(lambda self: self.jobs)
    @rule(number=PICK, token=TOKEN)
    def commit(self, number, token):
        job = self.pick(number)
        held = self.state[job] is State.RUNNING and self.holder[job] == token
        row = finished(self.jobs[job], State.SUCCEEDED, Outcome(), DAY_S)
        (answer,) = self.do(self.shards.numbered(shard_of(job)).queue.commit(token, [row]))
        expected = State.CANCELED if job in self.canceled else State.SUCCEEDED
        assert answer == (expected if held else None)
        if held:
            self.state[job] = expected

    @precondition(lambda self: self.jobs)
    @rule(number=PICK)
    def cancel(self, number):
        job = self.pick(number)
        if not self.reachable(job):
            self.refused(self.queue.cancel(job))
            return
        assert self.do(self.queue.cancel(job)) is self.state[job]
        if self.state[job] is State.QUEUED:
            self.state[job] = State.CANCELED
        elif self.state[job] is State.RUNNING:
            self.canceled.add(job)

    def refused(self, work) -> None:
        try:
            self.do(work)
        except ShardAway:
            return
        raise AssertionError("a shard that is away answered")

    @precondition(lambda self: self.jobs)
    @rule(number=PICK)
    def purge(self, number):
        job = self.pick(number)
        if self.reachable(job):
            ended = self.do(self.queue.purge({job: self.jobs[job]}, Failure(code="purged", detail="an operator")))
            assert ended == [job] * (self.state[job] is State.QUEUED)
            if ended:
                self.state[job] = State.CANCELED

    @precondition(lambda self: any(state.over for state in self.state.values()))
    @rule(number=PICK)
    def forget(self, number):
        over = sorted(job for job in self.jobs if self.state[job].over)
        job = over[number % len(over)]
        if self.reachable(job):
            assert self.do(self.queue.forget(job)) == 1
            del self.jobs[job], self.state[job]

    @rule(shard=st.none() | SHARD)
    def a_shard_goes_away_or_comes_back(self, shard):
        self.do(self.shards.check())
        self.away = shard
        if shard is not None:
            self.shards.numbered(shard).failed(OSError("away"))

    @invariant()
    def each_job_is_on_its_shard_and_in_its_state(self):
        self.do(self.compare())

    async def compare(self):
        for job in self.jobs:
            records = [await shard.queue.record(job) for shard in self.shards.all]
            there, other = records[shard_of(job)], records[1 - shard_of(job)]
            assert there.state is self.told(job) and other is None
        page = await self.queue.listing.page(Filter(owner=OWNER), 50)
        assert {record.spec.id for record in page.records} == {job for job in self.jobs if self.reachable(job)}
        assert page.missing == (() if self.away is None else (self.away,))
        queued = sum(self.state[job] is State.QUEUED for job in self.jobs if self.reachable(job))
        assert (await self.queue.backlog(BUNDLE)).total == queued


def test_any_life_of_jobs_on_two_shards_agrees_with_the_model(valkey_url):
    machine = type("LifeOnTwoShards", (Life,), {"url": valkey_url})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=5, stateful_step_count=25, deadline=None, database=None, derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
