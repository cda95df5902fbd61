"""`undegrade workers` and `undegrade queue` on a real Valkey, with workers and jobs that the test plants."""

import asyncio
import json

import pytest
from queue_bench import MANY, spec
from redis.asyncio import Redis

from cli.embedded_redis import EmbeddedRedis
from jobs.queue import Queue
from jobs.record import WorkerInfo
from jobs.spec import LANES
from jobs.state import State


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as redis:
        yield redis.url


def info(name="gpu-7-1a2b3c4d", host="gpu-7", **fields) -> WorkerInfo:
    return WorkerInfo(
        name=name, host=host, bundle="toy", family="toy", bundle_version="1", device="cuda:0", lanes=LANES, max_batch=8,
        started_ms=1, **{"ready": True, **fields},
    )  # fmt: skip


class Bench:
    """Runs the command on the server, and looks at what it has done."""

    def __init__(self, undegrade, url):
        self.undegrade, self.url = undegrade, url

    def do(self, action):
        async def main():
            async with Redis.from_url(self.url) as redis:
                return await action(Queue(redis))

        return asyncio.run(main())

    def __call__(self, *words):
        return self.undegrade(*words, "--redis-url", self.url)

    def submit(self, *lanes, **fields):
        jobs = [spec(lane, bundle="toy", **fields) for lane in lanes]

        async def action(queue):
            for job in jobs:
                await queue.submit(job, MANY)

        self.do(action)
        return jobs

    def states(self, jobs):
        async def action(queue):
            return [(await queue.record(job.id)).state for job in jobs]

        return self.do(action)


@pytest.fixture
def bench(undegrade, server):
    bench = Bench(undegrade, server)
    bench.do(lambda queue: queue.redis.flushall())
    return bench


def test_a_worker_is_listed_drained_and_resumed_by_the_name_of_its_host(bench):
    bench.do(lambda queue: queue.workers.announce(info()))
    listed = bench("workers", "list")
    assert listed.code == 0 and "gpu-7-1a2b3c4d" in listed.text and "idle" in listed.text
    drained = bench("workers", "drain", "gpu-7")
    assert drained.code == 0 and "draining" in drained.err
    (row,) = [json.loads(line) for line in bench("workers", "list", "--json").text.splitlines()]
    assert row["state"] == "draining" and "@" in row["drain"]["by"]
    assert "idle" in bench("workers", "resume", "gpu-7").err


def test_a_drain_waits_until_the_worker_says_that_it_holds_nothing(bench):
    bench.do(lambda queue: queue.workers.announce(info(in_hand=1)))
    busy = bench("workers", "drain", "gpu-7", "--wait", "0.1")
    assert busy.code == 1 and "there still are jobs" in busy.err
    bench.do(lambda queue: queue.workers.announce(info(drained=True)))
    done = bench("workers", "drain", "gpu-7", "--wait", "60")
    assert done.code == 0 and ": drained" in done.err


def test_the_drain_of_a_host_without_workers_is_listed_and_can_be_ended(bench):
    bench.do(lambda queue: queue.workers.announce(info()))
    bench("workers", "drain", "gpu-7")
    bench.do(lambda queue: queue.workers.withdraw("gpu-7-1a2b3c4d", ["toy"]))
    listed = bench("workers", "list")
    assert "no worker is alive" in listed.err and "gpu-7 is drained" in listed.err
    assert bench("workers", "resume", "gpu-7").code == 0
    assert "gpu-7" not in bench("workers", "list").err


def test_resuming_a_worker_says_that_its_host_is_still_drained(bench):
    bench.do(lambda queue: queue.workers.announce(info()))
    bench("workers", "drain", "gpu-7")
    assert "still drained, as gpu-7" in bench("workers", "resume", "gpu-7-1a2b3c4d").err


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (("workers", "drain", "gpu-8"), "did you mean gpu-7"), (("workers", "resume", "gpu"), "gpu-7"),
        (("queue", "pause", "bluk"), "did you mean bulk?"), (("queue", "resume", "x"), "interactive"),
        (("queue", "purge", "bulks", "--yes"), "did you mean bulk?"), (("queue", "purge", "--yes"), "no selection"),
    ],
)  # fmt: skip
def test_a_wrong_name_is_a_usage_error_with_the_right_one(bench, words, near):
    bench.do(lambda queue: queue.workers.announce(info()))
    result = bench(*words)
    assert result.code == 2 and near in result.err and "Traceback" not in result.err


def test_a_lane_is_paused_shown_and_resumed(bench):
    jobs = bench.submit("bulk", "bulk", "standard")
    assert "lane bulk is paused" in bench("queue", "pause", "bulk").err
    assert bench("queue", "pause", "bulk").code == 0, "once more changes nothing"
    shown = {row["lane"]: row for row in map(json.loads, bench("queue", "show", "--json").text.splitlines())}
    assert (shown["bulk"]["queued"], shown["bulk"]["paused"], shown["standard"]["paused"]) == (2, True, False)
    assert "paused" in bench("queue", "show").text
    assert "open again" in bench("queue", "resume", "bulk").err
    assert "was not paused" in bench("queue", "resume", "bulk").err
    assert bench.states(jobs) == [State.QUEUED] * 3


def test_a_purge_counts_first_and_changes_nothing_unless_it_is_confirmed(bench):
    jobs = bench.submit("bulk", "standard") + bench.submit("bulk", owner="5f0c9b1d2e3f")
    dry = bench("queue", "purge", "bulk", "--dry-run")
    assert dry.code == 0 and "2 queued jobs match" in dry.err
    unasked = bench("queue", "purge", "bulk")
    assert unasked.code == 2 and "--yes" in unasked.err
    assert bench.states(jobs) == [State.QUEUED] * 3
    done = bench("queue", "purge", "--key", "5f0c9b1d2e3f", "--yes", "--reason", "sent twice")
    assert done.code == 0 and "1 of them are canceled" in done.err
    assert bench.states(jobs) == [State.QUEUED, State.QUEUED, State.CANCELED]
    assert "sent twice" in bench.do(lambda queue: queue.record(jobs[2].id)).outcome.failure.detail
    assert bench("queue", "purge", "--bundle", "toy", "--yes").code == 0
    assert "0 queued jobs match" in bench("queue", "purge", "bulk", "--yes").err


@pytest.mark.parametrize(("answer", "state", "code"), [("y\n", State.CANCELED, 0), ("n\n", State.QUEUED, 1)])
def test_a_purge_asks_on_a_terminal(bench, monkeypatch, answer, state, code):
    jobs = bench.submit("bulk")
    monkeypatch.setattr("cli.queue.stdin_is_terminal", lambda: True)
    result = bench.undegrade("queue", "purge", "bulk", "--redis-url", bench.url, stdin=answer.encode())
    assert result.code == code and "1 queued job matches" in result.err and "Cancel them" in result.err
    assert bench.states(jobs) == [state]


@pytest.mark.parametrize("words", [("workers", "list"), ("queue", "show"), ("top", "--once")])
def test_a_redis_that_is_away_is_a_server_error(undegrade, tmp_path, words):
    result = undegrade(*words, "--redis-url", f"unix://{tmp_path}/none")
    assert result.code == 5 and "Traceback" not in result.err


def test_an_empty_queue_is_said_to_be_empty(bench):
    assert "no worker is alive" in bench("workers", "list").err
    assert "no bundle has workers or jobs" in bench("queue", "show").err


def test_an_admin_key_is_made_listed_and_told_from_others(bench):
    assert bench("keys", "create", "boss", "--admin").code == 0
    assert bench("keys", "create", "app").code == 0
    rows = [line for line in bench("keys", "list").text.splitlines() if "boss" in line or "app" in line]
    assert ["admin" in row for row in rows] == [True, False]
