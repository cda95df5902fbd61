"""Random lives of a few jobs on two shards, against a model: no job is on two, and no step of one touches the other.

A rule runs each script that changes a job, a batch or a delivery.  test_life_of_jobs.py looks closer at one server.
"""

import asyncio

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from queue_bench import BUNDLE, DAY_S, MANY, finished, spec

from jobs import redis_keys
from jobs.batches import BatchEntry
from jobs.deliveries import Attempt, Outbox, Settlement
from jobs.errors import ShardAway
from jobs.hooks import WEBHOOK_EVENTS, Hooks, group_of
from jobs.job_list import Filter
from jobs.record import Failure, Outcome, Progress
from jobs.shards.numbers import shard_of
from jobs.shards.queue import ShardedQueue
from jobs.shards.shards import Shards
from jobs.spec import LANES, JobSpec
from jobs.state import State
from service.job_ids import new_job_id

OWNER = "0123456789ab"
ORIGIN = "https://example.com"
HOOKS = Hooks(webhook_url=f"{ORIGIN}/hook", webhook_group=group_of(OWNER, ORIGIN), events=WEBHOOK_EVENTS)
DELIVERED = Settlement(state="delivered", outcome="delivered", attempt=Attempt(at_ms=1, status=200))


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
        self.deaths: dict[str, int] = {}
        self.canceled: set[str] = set()
        self.begun: set[str] = set()
        self.hooked: set[str] = set()
        self.sent: set[str] = set()
        self.batches: dict[str, list[str]] = {}
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
        held = self.state[job] is State.RUNNING and job not in self.begun
        return State.QUEUED if held else self.state[job]

    def part(self, job: str):
        """The queue of a job's server, as workers have it."""
        return self.shards.numbered(shard_of(job)).queue

    def holds(self, job: str, token: str) -> bool:
        return self.state[job] is State.RUNNING and self.holder[job] == token

    def held(self, token: str, shard: int) -> list[str]:
        return [job for job in self.jobs if self.holds(job, token) and shard_of(job) == shard]

    def put_back(self, job: str, deaths: int) -> str:
        if job in self.canceled:
            self.state[job] = State.CANCELED
            return "canceled"
        self.deaths[job] += deaths
        poison = self.deaths[job] >= redis_keys.MAX_DEATHS
        self.state[job] = State.FAILED if poison else State.QUEUED
        return "poison" if poison else "queued"

    def know(self, job: JobSpec) -> None:
        self.jobs[job.id], self.state[job.id], self.deaths[job.id] = job, State.QUEUED, 0

    @precondition(lambda self: len(self.jobs) < 10)
    @rule(lane=st.sampled_from(LANES), hooked=st.booleans())
    def submit(self, lane, hooked):
        job = spec(lane, id=new_job_id(shard=self.queue.place()), owner=OWNER)
        assert self.reachable(job.id), "a new job goes to a shard that answers"
        self.do(self.queue.submit(job, MANY, hooks=HOOKS if hooked else None))
        self.know(job)
        if hooked:
            self.hooked.add(job.id)

    @precondition(lambda self: len(self.jobs) < 9 and len(self.batches) < 3)
    @rule(count=st.integers(1, 2))
    def submit_batch(self, count):
        """The jobs of a batch are on its shard."""
        shard = self.queue.place()
        batch = new_job_id(shard=shard)
        jobs = [spec("bulk", id=new_job_id(shard=shard), owner=OWNER, batch=batch) for _ in range(count)]
        for job in jobs:
            self.do(self.queue.submit(job, MANY))
            self.know(job)
        self.do(self.queue.batches.seal(batch, OWNER, [BatchEntry(job=job.id) for job in jobs], keep_s=DAY_S))
        self.batches[batch] = [job.id for job in jobs]

    @precondition(lambda self: any(self.reachable(batch) for batch in self.batches))
    @rule(number=PICK)
    def forget_batch(self, number):
        """Its jobs stay."""
        batches = sorted(filter(self.reachable, self.batches))
        batch = batches[number % len(batches)]
        self.do(self.queue.batches.forget(batch))
        del self.batches[batch]

    @rule(shard=SHARD, token=TOKEN, count=st.integers(1, 3))
    def lease(self, shard, token, count):
        """A worker leases from the server itself, whatever the service thinks of it."""
        queue, held = self.shards.numbered(shard).queue, sum(self.holds(job, token) for job in self.jobs)
        leased, refused = self.do(queue.lease([BUNDLE], LANES, count, worker=token, token=token, held=held))
        waiting = [job for job in self.jobs if shard_of(job) == shard and self.state[job] is State.QUEUED]
        alone = any(self.deaths[job] for job in waiting)
        most = min(count, len(waiting))
        assert not refused and len(leased) <= most and (alone or len(leased) == most)
        assert leased or not waiting or held, "only a job that must run alone may be left for later"
        for entry in leased:
            assert entry.spec.id in waiting
            assert not entry.run_alone or (len(leased), held) == (1, 0)
            assert (entry.deaths, entry.run_alone) == (self.deaths[entry.spec.id], self.deaths[entry.spec.id] > 0)
            self.state[entry.spec.id], self.holder[entry.spec.id] = State.RUNNING, token
            self.begun.discard(entry.spec.id)

    @precondition(lambda self: self.jobs)
    @rule(number=PICK, token=TOKEN)
    def begin(self, number, token):
        job = self.pick(number)
        assert self.do(self.part(job).report(token, job, Progress())) is self.holds(job, token)
        if self.holds(job, token):
            self.begun.add(job)

    @precondition(lambda self: self.jobs)
    @rule(token=TOKEN, shard=SHARD)
    def renew(self, token, shard):
        """A server knows no lease of the other."""
        answers = self.do(self.shards.numbered(shard).queue.renew(token, list(self.jobs)))
        for job in self.jobs:
            held = self.holds(job, token) and shard_of(job) == shard
            assert answers[job] == (("cancel" if job in self.canceled else "ok") if held else "lost")

    @precondition(lambda self: self.jobs)
    @rule(token=TOKEN, number=PICK, died=st.booleans())
    def release(self, token, number, died):
        job = self.pick(number)
        answer = self.do(self.part(job).release(token, [job], died=died))
        assert answer == {job: self.put_back(job, int(died)) if self.holds(job, token) else "lost"}

    @precondition(lambda self: self.jobs)
    @rule(number=PICK)
    def a_lease_ends(self, number):
        """Housekeeping of each server reclaims its own."""
        job = self.pick(number)
        own, other = (self.shards.numbered(shard) for shard in (shard_of(job), 1 - shard_of(job)))
        self.do(own.redis.zadd(redis_keys.LEASES, {job: 1}, xx=True))
        assert self.do(other.queue.reclaim()) == {}
        expected = {job: self.put_back(job, 1)} if self.state[job] is State.RUNNING else {}
        assert self.do(own.queue.reclaim()) == expected

    @precondition(lambda self: self.jobs)
    @rule(token=TOKEN, number=PICK)
    def an_answer_to_a_lease_is_lost(self, token, number):
        """The worker knows of all its jobs there but one; what it holds on the other server is not asked for."""
        lost = self.pick(number)
        known = [job for job in self.held(token, shard_of(lost)) if job != lost]
        released = self.do(self.part(lost).release_unheld(token, known))
        assert released == [lost] * self.holds(lost, token)
        if released:
            self.put_back(lost, 0)

    @precondition(lambda self: self.jobs)
    @rule(number=PICK)
    def a_deadline_passes(self, number):
        """The service ends late jobs of the shards that answer."""
        job = self.pick(number)
        queued = self.state[job] is State.QUEUED
        if queued and self.reachable(job):
            redis = self.shards.numbered(shard_of(job)).redis
            self.do(redis.hset(redis_keys.JOB + job, "deadline_ms", 1))
            self.do(redis.zadd(redis_keys.DEADLINES, {job: 1}))
            self.state[job] = State.EXPIRED
        assert self.do(self.queue.expire()) == [job] * (queued and self.reachable(job))

    @rule(lane=st.sampled_from(LANES))
    def pause_and_resume(self, lane):
        """No job of a paused lane is leased on any server."""
        self.do(self.queue.pauses.pause(lane, by="test"))
        for shard in self.shards.all:
            leased, _ = self.do(shard.queue.lease([BUNDLE], [lane], 8, worker="x", token="nobody", held=0))
            assert leased == []
        assert self.do(self.queue.pauses.resume(lane))

    @rule(shard=SHARD, token=TOKEN)
    def send(self, shard, token):
        """A webhook process sends what is due on a server: each end of a job with hooks, once."""
        outbox = Outbox(self.shards.numbered(shard).redis)
        assert self.do(outbox.adopt()) == 0
        due = self.do(outbox.claim(token, 20, per_group=20, per_owner=20, slots={}, slots_of_owner={}))
        ended = {job for job in self.hooked if shard_of(job) == shard and self.state[job].over}
        assert sorted(each.job for each in due) == sorted(ended - self.sent)
        self.do(outbox.renew(token, due))
        for each in due:
            assert each.state is self.state[each.job] and each.webhook_id == f"msg_{each.job}_1"
            assert self.do(outbox.settle(token, each, DELIVERED))
            assert not self.do(outbox.settle(token, each, DELIVERED)), "nobody holds it any more"
            self.sent.add(each.job)

    @precondition(lambda self: self.sent)
    @rule(number=PICK)
    def redeliver(self, number):
        job = sorted(self.sent)[number % len(self.sent)]
        own, other = (Outbox(self.shards.numbered(shard).redis) for shard in (shard_of(job), 1 - shard_of(job)))
        assert self.do(other.redeliver(job, 1)) == ""
        assert self.do(own.redeliver(job, 1)) == "waiting"
        self.sent.discard(job)

    @precondition(lambda self: self.jobs)
    @rule(number=PICK)
    def read_with_its_result(self, number):
        job = self.pick(number)
        if self.reachable(job):
            record, _ = self.do(self.queue.record_with_result(self.jobs[job]))
            assert record.state is self.told(job)
            place = self.do(self.queue.forecast(self.jobs[job]))
            assert not (self.state[job].over and place), "a job that has ended has no place in a line"

    @rule(state=st.sampled_from(State))
    def read_the_lists(self, state):
        page = self.do(self.queue.listing.page(Filter(owner=OWNER, state=state), 50))
        expected = {job for job in self.jobs if self.told(job) is state and self.reachable(job)}
        assert {record.spec.id for record in page.records} == expected
        batches = self.do(self.queue.batches.page(OWNER, count=10)).batches
        assert {batch.id for batch in batches} == {batch for batch in self.batches if self.reachable(batch)}
        for batch in batches:
            states = [self.told(job) if job in self.jobs else None for job in self.batches[batch.id]]
            assert [item.state for item in batch.items] == states
            assert [item.state for item in self.do(self.queue.batches.read(batch.id)).items] == states

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
            self.hooked.discard(job)
            self.sent.discard(job)
            left = set(self.jobs)
            self.batches = {batch: jobs for batch, jobs in self.batches.items() if left & set(jobs)}

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
