"""Foreign jobs that were enqueued with RQ itself, and what RQ's own tools see of our jobs."""

import asyncio
import json
import os
import re
import subprocess
import sys
import time
import zlib
from pathlib import Path
from uuid import uuid4

import pytest
import rq
from queue_bench import finished
from redis import Redis as BlockingRedis
from redis.asyncio import Redis
from rq.exceptions import DeserializationError
from rq.job import Callback, Job
from rq.registry import FailedJobRegistry, FinishedJobRegistry, StartedJobRegistry
from rq.serializers import DefaultSerializer, JSONSerializer

from jobs.errors import RefusedJob
from jobs.queue import Queue
from jobs.record import Progress
from jobs.rq_format import FUNCTION, MAX_BYTES, MAX_PACKED_BYTES, ListedJob, check, pack
from jobs.spec import LANES, JobSpec
from jobs.state import State
from worker.engine_config import EngineConfig
from worker.rq_worker import UndegradeWorker
from worker.supervisor import Supervisor, WorkerConfig

BUNDLE = "b"
LANE = "b.standard"
TOKEN = "0" * 32
RQ = Path(sys.executable).with_name("rq")


def packed(value: object) -> bytes:
    return zlib.compress(json.dumps(value).encode())


def spec(**fields) -> JobSpec:
    return JobSpec(**{"id": uuid4().hex, "bundle": BUNDLE, "kind": "noop", "submitted_ms": 1, **fields})


def bomb() -> bytes:
    """Looks like one of our calls, and unpacks to more than is allowed."""
    return packed([FUNCTION, None, ["x" * 2 * MAX_BYTES], {}])


DATA = {
    "nothing": (b"", "not-json"),
    "random bytes": (bytes(range(256)) * 4, "not-json"),
    "more than 64 KiB": (os.urandom(MAX_PACKED_BYTES + 1), "oversized"),
    "a zip bomb": (bomb(), "oversized"),
    "JSON that is not packed": (json.dumps([FUNCTION, None, ["job"], {}]).encode(), "not-json"),
    "cut short": (pack("job")[:-12], "not-json"),
    "no list": (packed({"a": 1}), "not-json"),
    "a number": (packed(7), "not-json"),
    "too few parts": (packed([FUNCTION, None, ["job"]]), "not-json"),
    "deep brackets": (zlib.compress(b"[" * 100_000), "not-json"),
    "os.system": (packed(["os.system", None, ["true"], {}]), "function-not-listed"),
    "another job's id": (packed([FUNCTION, None, ["other"], {}]), "function-not-listed"),
    "a method": (packed([FUNCTION, "instance", ["job"], {}]), "function-not-listed"),
    "keywords": (packed([FUNCTION, None, ["job"], {"shell": True}]), "function-not-listed"),
    "no function": (packed([None, None, ["job"], {}]), "function-not-listed"),
}


@pytest.mark.parametrize("what", DATA)
def test_data_of_foreign_jobs_is_refused_with_its_reason(what):
    data, reason = DATA[what]
    with pytest.raises(RefusedJob) as refused:
        check("job", {b"data": data})
    assert refused.value.reason == reason
    assert "job" in str(refused.value)


@pytest.mark.parametrize("function", [[], {}, ["os.system"]])
def test_a_function_that_is_not_text_is_refused(function):
    with pytest.raises(RefusedJob):
        check("job", {b"data": packed([function, None, ["job"], {}])})


@pytest.mark.parametrize(
    "field", ["success_callback_name", "failure_callback_name", "stopped_callback_name", "webhooks"]
)
def test_a_callback_is_refused_even_with_our_own_function(field):
    with pytest.raises(RefusedJob) as refused:
        check("job", {b"data": pack("job"), field.encode(): b"os.system"})
    assert refused.value.reason == "callback"


def test_our_own_packed_data_is_accepted():
    check("job", {b"data": pack("job"), b"success_callback_name": b""})


def test_the_exact_limit_of_packed_bytes_is_read():
    """64 KiB of noise are read and are no JSON; one byte more is not read."""
    for size, reason in ((MAX_PACKED_BYTES, "not-json"), (MAX_PACKED_BYTES + 1, "oversized")):
        with pytest.raises(RefusedJob) as refused:
            check("job", {b"data": b"\x00" * size})
        assert refused.value.reason == reason


def enqueue_with_rq(url: str, what: str, proof: Path) -> Job:
    """Enqueue with RQ itself a job that would leave a file behind if it ran."""
    with BlockingRedis.from_url(url) as redis:
        if what == "pickle":
            return rq.Queue(LANE, connection=redis, serializer=DefaultSerializer).enqueue(os.mkdir, str(proof))
        queue = rq.Queue(LANE, connection=redis, serializer=JSONSerializer)
        if what == "callback":
            return queue.enqueue(FUNCTION, on_success=Callback("os.mkdir"), on_failure=Callback("os.mkdir"))
        if what == "oversized":
            return queue.enqueue("os.mkdir", str(proof), os.urandom(MAX_PACKED_BYTES).hex())
        job = queue.enqueue("os.system", f"touch {proof}")
        if what in ("bomb", "noise"):
            redis.hset(f"rq:job:{job.id}", "data", bomb() if what == "bomb" else bytes(range(256)))
        return job


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("os.system", "function-not-listed"),
        ("pickle", "not-json"),
        ("callback", "callback"),
        ("oversized", "oversized"),
        ("bomb", "oversized"),
        ("noise", "not-json"),
    ],
)
def test_a_foreign_job_is_failed_and_counted_and_never_run(valkey_url, tmp_path, what, reason):
    proof = tmp_path / "it-ran"
    foreign = enqueue_with_rq(valkey_url, what, proof)
    ours = spec()

    async def scenario():
        async with Redis.from_url(valkey_url) as redis:
            queue = Queue(redis)
            await queue.submit(ours, 10)
            leased, refused = await queue.lease([BUNDLE], LANES, 8, worker="w", token=TOKEN, held=0)
            assert [job.spec for job in leased] == [ours], "our job is leased"
            assert [(job.id, job.reason) for job in refused] == [(foreign.id, reason)]
            assert (await queue.counters.read())[f"refused:{reason}"] == 1
            assert (await queue.backlog(BUNDLE)).total == 0
            assert await queue.record(foreign.id) is None
            assert await queue.lease([BUNDLE], LANES, 8, worker="w", token=TOKEN, held=1) == ([], [])

    asyncio.run(scenario())
    with BlockingRedis.from_url(valkey_url) as redis:
        assert FailedJobRegistry(LANE, connection=redis).get_job_ids() == [foreign.id]
        assert redis.hget(f"rq:job:{foreign.id}", "status") == b"failed"
        assert 0 < redis.ttl(f"rq:job:{foreign.id}") <= 86_400
    assert not proof.exists()


def test_a_job_of_ours_whose_call_was_swapped_fails_and_is_not_run(valkey_url, tmp_path):
    ours = spec()

    async def scenario():
        async with Redis.from_url(valkey_url) as redis:
            queue = Queue(redis)
            await queue.submit(ours, 10)
            await redis.hset(f"rq:job:{ours.id}", "data", packed(["os.system", None, [f"touch {tmp_path}/it-ran"], {}]))
            leased, refused = await queue.lease([BUNDLE], LANES, 8, worker="w", token=TOKEN, held=0)
            assert (leased, [job.reason for job in refused]) == ([], ["function-not-listed"])
            record = await queue.record(ours.id)
            assert (record.state, record.outcome.failure.code) == (State.FAILED, "refused")
            assert (await queue.events(ours.id))[-1].type == "failed"

    asyncio.run(scenario())
    assert not (tmp_path / "it-ran").exists()


def test_a_job_of_ours_that_grew_too_large_ends_like_any_other(valkey_url):
    ours = spec()

    async def scenario():
        async with Redis.from_url(valkey_url) as redis:
            queue = Queue(redis)
            await queue.submit(ours, 10)
            await redis.hset(f"rq:job:{ours.id}", "data", bytes(MAX_PACKED_BYTES + 1))
            await queue.lease([BUNDLE], LANES, 8, worker="w", token=TOKEN, held=0)
            record = await queue.record(ours.id)
            assert record.state is State.FAILED
            assert record.ended_ms is not None
            assert record.outcome.failure.code == "refused"
            assert (await queue.events(ours.id))[-1].type == "failed"

    asyncio.run(scenario())


def test_an_id_that_is_not_text_does_not_block_the_queue(valkey_url):
    ours = spec()

    async def scenario():
        async with Redis.from_url(valkey_url) as redis:
            queue = Queue(redis)
            await redis.rpush(f"rq:queue:{LANE}", b"\xff\xfe")
            await queue.submit(ours, 10)
            leased, refused = await queue.lease([BUNDLE], LANES, 8, worker="w", token=TOKEN, held=0)
            assert [job.spec for job in leased] == [ours]
            assert len(refused) == 1

    asyncio.run(scenario())


def test_an_id_without_a_job_does_not_block_the_queue(valkey_url):
    ours = spec()

    async def scenario():
        async with Redis.from_url(valkey_url) as redis:
            queue = Queue(redis)
            await redis.rpush(f"rq:queue:{LANE}", "ghost")
            await queue.submit(ours, 10)
            leased, refused = await queue.lease([BUNDLE], LANES, 8, worker="w", token=TOKEN, held=0)
            assert [job.spec for job in leased] == [ours]
            assert [(job.id, job.reason) for job in refused] == [("ghost", "not-json")]

    asyncio.run(scenario())


def test_a_listed_job_does_not_give_its_function(valkey_url):
    with BlockingRedis.from_url(valkey_url) as redis:
        job = rq.Queue(LANE, connection=redis, serializer=JSONSerializer).enqueue("os.getcwd")
        read = ListedJob.fetch(job.id, connection=redis)
        assert read.func_name == "os.getcwd", "a dashboard may show it"
        with pytest.raises(RefusedJob, match=r"os\.getcwd"):
            _ = read.func
        with pytest.raises(RefusedJob):
            read.perform()


def test_a_listed_job_unpickles_nothing(valkey_url, tmp_path):
    proof = tmp_path / "it-ran"

    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(proof),)

    with BlockingRedis.from_url(valkey_url) as redis:
        job = rq.Queue(LANE, connection=redis, serializer=DefaultSerializer).enqueue("os.getcwd", Trap())
        read = ListedJob.fetch(job.id, connection=redis, serializer=DefaultSerializer)
        with pytest.raises(DeserializationError):
            _ = read.args
    assert not proof.exists()


def test_rqs_own_worker_loop_refuses_to_run(valkey_url):
    with BlockingRedis.from_url(valkey_url) as redis, pytest.raises(RuntimeError, match="not used"):
        UndegradeWorker([LANE], "worker-1", redis).work(burst=True)


def rq_info(url: str, *words: str) -> str:
    """Returns what `rq info` prints; it runs RQ's own cleanup, too."""
    command = [str(RQ), "info", "--raw", "--url", url, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def queue_line(text: str) -> list[int]:
    """Returns RQ's numbers for our lane: queued, executing, finished, failed."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"queue {LANE}")]
    return [int(number) for number in re.findall(r"\b\d+\b", line.removeprefix(f"queue {LANE}"))][:4]


def test_rq_info_tells_the_truth_and_takes_no_running_job(valkey_url):
    waiting, running, restored, broken = [spec() for _ in range(4)]
    worker = UndegradeWorker([LANE], "worker-1", BlockingRedis.from_url(valkey_url))
    worker.register()

    async def before():
        async with Redis.from_url(valkey_url) as redis:
            queue = Queue(redis)
            for job in (restored, broken, running):
                await queue.submit(job, 10)
            await queue.lease([BUNDLE], LANES, 3, worker="worker-1", token=TOKEN, held=0)
            ended = [finished(restored), finished(broken, State.FAILED)]
            await queue.commit(TOKEN, ended)
            await queue.submit(waiting, 10)

    async def after():
        async with Redis.from_url(valkey_url) as redis:
            queue = Queue(redis)
            assert await queue.report(TOKEN, running.id, Progress())
            assert (await queue.record(running.id)).state is State.RUNNING
            assert (await queue.renew(TOKEN, [running.id])) == {running.id: "ok"}
            assert await queue.commit(TOKEN, [finished(running)]) == [State.SUCCEEDED]

    asyncio.run(before())
    worker.heartbeat_as("busy")
    text = rq_info(valkey_url, LANE)
    assert queue_line(text) == [1, 1, 1, 1], text
    assert "worker-1" in text and "busy" in text
    asyncio.run(after())
    assert queue_line(rq_info(valkey_url, LANE)) == [1, 0, 2, 1]
    worker.unregister()
    assert "worker-1" not in rq_info(valkey_url, LANE)
    worker.connection.close()


def test_rqs_own_cleanup_takes_no_running_job(valkey_url):
    ours = spec()

    async def scenario():
        async with Redis.from_url(valkey_url) as redis:
            queue = Queue(redis)
            await queue.submit(ours, 10)
            await queue.lease([BUNDLE], LANES, 1, worker="worker-1", token=TOKEN, held=0)

    asyncio.run(scenario())
    with BlockingRedis.from_url(valkey_url) as redis:
        registry = StartedJobRegistry(LANE, connection=redis, serializer=JSONSerializer)
        registry.cleanup(timestamp=time.time() + 23 * 3600)
        assert registry.count == 1
        assert FailedJobRegistry(LANE, connection=redis).count == FinishedJobRegistry(LANE, connection=redis).count == 0
        job = Job.fetch(ours.id, connection=redis, serializer=JSONSerializer)
        assert (job.get_status(), job.worker_name, job.func_name) == ("started", "worker-1", FUNCTION)


def test_rq_can_name_the_running_jobs(valkey_url):
    ours = spec()

    async def scenario():
        async with Redis.from_url(valkey_url) as redis:
            queue = Queue(redis)
            await queue.submit(ours, 10)
            await queue.lease([BUNDLE], LANES, 1, worker="worker-1", token=TOKEN, held=0)

    asyncio.run(scenario())
    with BlockingRedis.from_url(valkey_url) as redis:
        assert StartedJobRegistry(LANE, connection=redis).get_job_ids() == [ours.id]


def test_a_workers_token_fits_into_rqs_registry():
    """RQ splits id:execution at every colon."""
    engine = EngineConfig(bundles={BUNDLE: Path("nowhere")})
    config = WorkerConfig(redis_url="redis://nowhere", store_url="redis://", engine=engine)
    assert ":" not in Supervisor(config).token
