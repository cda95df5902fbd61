"""The committer keeps finished jobs until Redis has them, and one job's trouble is not another's."""

import asyncio
from types import SimpleNamespace

import pytest
from redis.exceptions import ConnectionError as RedisAway
from redis.exceptions import OutOfMemoryError as RedisFull
from structlog.testing import capture_logs

from jobs.errors import StoreError
from jobs.lease import Finished, Leased
from jobs.record import Outcome
from jobs.replication import Replication
from jobs.spec import JobSpec
from jobs.state import State
from worker.committer import Committer
from worker.held_jobs import HeldJobs
from worker.job_trace import JobTrace
from worker.metrics import WorkerMetrics
from worker.redis_retry import RedisRetry

A, B = "a" * 32, "b" * 32


class LossyQueue:
    """Ends each job once, by its fence, and losses the replies to its first commits."""

    def __init__(self, lost_replies=0, answers=None) -> None:
        self.lost_replies, self.answers, self.fences, self.commits = lost_replies, answers or {}, {}, 0

    async def commit(self, token, finished, *, replicated=True):
        self.commits += 1
        states = [self.fences.setdefault(job.id, self.answers.get(job.id, job.state)) for job in finished]
        if self.lost_replies:
            self.lost_replies -= 1
            raise RedisAway("the reply was lost")
        return states


class FakeRun:
    """A run that records what the committer asks of it."""

    def __init__(self, job, error=None) -> None:
        self.spec, self.seconds, self.error = JobSpec(id=job, bundle="b", submitted_ms=1, owner="k1"), {}, error
        self.leased = Leased(spec=self.spec, attempts=2, deaths=1, run_alone=False, cancel=False)
        self.trace, self.services = JobTrace(self.leased), SimpleNamespace(worker="w")
        self.discarded = self.input_deleted = False

    async def discard(self):
        self.discarded = True
        if self.error:
            raise self.error

    async def delete_input(self):
        self.input_deleted = True
        if self.error:
            raise self.error


def finished(job):
    return Finished(id=job, state=State.SUCCEEDED, outcome=Outcome(), keep_s=60, fence=job)


def commit(queue, *runs):
    async def main():
        metrics = WorkerMetrics()
        committer = Committer(queue, "t", HeldJobs(), metrics, RedisRetry(metrics, asyncio.Event()))
        loop = asyncio.ensure_future(committer.run())
        for run in runs:
            committer.add(run, finished(run.spec.id))
            await asyncio.sleep(0.01)
        async with asyncio.timeout(30):
            while committer.busy:
                await asyncio.sleep(0.01)
        assert not loop.done(), "it goes on"
        loop.cancel()

    asyncio.run(main())


def test_a_commit_whose_reply_is_lost_does_not_delete_its_own_result():
    run, queue = FakeRun(A), LossyQueue(lost_replies=2)
    commit(queue, run)
    assert queue.commits == 3
    assert (run.discarded, run.input_deleted) == (False, True)


def test_a_job_whose_end_no_replica_has_keeps_its_input_for_the_case_that_it_runs_again():
    async def main(replicas):
        metrics, run, queue = WorkerMetrics(), FakeRun(A), LossyQueue()
        queue.replication = Replication(replicas=replicas)
        committer = Committer(queue, "t", HeldJobs(), metrics, RedisRetry(metrics, asyncio.Event()))
        with capture_logs() as logs:
            await committer._commit([(run, finished(A))], replicated_until_s=0.0)
        while committer.cleaning:
            await asyncio.sleep(0)
        return run.input_deleted, [line["event"] for line in logs if line["log_level"] == "warning"]

    assert asyncio.run(main(1)) == (False, ["commit.not-replicated"])
    assert asyncio.run(main(0)) == (True, [])


@pytest.mark.parametrize("error", [StoreError("gone"), RedisAway("gone"), RedisFull("full"), OSError("gone")])
def test_a_store_that_fails_does_not_end_the_commits(error):
    lost, next_one = FakeRun(A, error), FakeRun(B)
    commit(LossyQueue(answers={A: None}), lost, next_one)
    assert (lost.discarded, lost.input_deleted) == (True, False)
    assert (next_one.discarded, next_one.input_deleted) == (False, True)


def test_the_pictures_of_a_canceled_job_are_deleted_and_so_is_its_input():
    run = FakeRun(A)
    commit(LossyQueue(answers={A: State.CANCELED}), run)
    assert (run.discarded, run.input_deleted) == (True, True)


@pytest.mark.parametrize("store", [True, False])
def test_the_input_of_a_failed_job_stays_for_another_try_unless_nothing_may_stay(store):
    run = FakeRun(A)
    run.spec = run.spec.model_copy(update={"store": store})
    commit(LossyQueue(answers={A: State.FAILED}), run)
    assert (run.discarded, run.input_deleted) == (True, not store)


def test_the_log_has_one_line_for_each_job_that_ended_and_none_for_a_lost_lease():
    canceled, lost = FakeRun(A), FakeRun(B)
    with capture_logs() as lines:
        commit(LossyQueue(lost_replies=2, answers={A: State.CANCELED, B: None}), canceled, lost)
    (end,) = [line for line in lines if line["event"] == "job.ended"]
    assert (end["job"], end["state"], end["attempts"], end["key_id"], end["worker"]) == (A, "canceled", 2, "k1", "w")
    assert [line["job"] for line in lines if line["event"] == "lease.lost"] == [B]
