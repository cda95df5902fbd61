"""The real process `undegrade webhooks`, killed at each point of the outbox, and Redis restarted under it."""

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest
from PIL import Image
from redis.asyncio import Redis
from webhook_receiver import Receiver

from cli.embedded_redis import EmbeddedRedis
from jobs.deliveries import Outbox
from jobs.hooks import WEBHOOK_EVENTS, Hooks, group_of
from jobs.queue import Queue
from jobs.spec import JobSpec

ROOT = Path(__file__).parents[2]
WAIT_S = 60
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def receiver():
    """A receiver that accepts everything."""
    with Receiver().listening() as receiver:
        yield receiver


class Bench:
    """A Valkey, jobs with webhooks that end at once, and webhook processes."""

    def __init__(self, redis, receiver, folder):
        self.redis, self.receiver, self.folder, self.processes = redis, receiver, folder, []

    def start(self):
        log = self.folder / f"webhooks-{len(self.processes)}.log"
        env = {
            **os.environ, "PYTHONPATH": str(ROOT), "UNDEGRADE_WEBHOOK_HOSTS": self.receiver.origin,
            "UNDEGRADE_REDIS_URL": self.redis.url,
        }  # fmt: skip
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "cli", "webhooks"], cwd=ROOT, env=env, stdout=output, stderr=output
            )  # fmt: skip
        self.processes.append(process)
        return process

    def run(self, action):
        async def main():
            async with Redis.from_url(self.redis.url) as redis:
                return await action(redis)

        return asyncio.run(main())

    def canceled_job(self, number):
        """Submit a job with a webhook, and cancel it: the shortest way to an end."""
        job = f"{number:032x}"
        origin = self.receiver.origin
        hooks = Hooks(webhook_url=f"{origin}/{number}", webhook_group=group_of(None, origin), events=WEBHOOK_EVENTS)

        async def submit(redis):
            queue = Queue(redis)
            await queue.submit(JobSpec(id=job, kind="noop", bundle="b", submitted_ms=1), 9999, hooks=hooks)
            await queue.cancel(job)

        self.run(submit)
        return job

    def end_leases(self):
        """Let every lease of a delivery end now, as 15 s would."""

        async def move(redis):
            for group in [key.decode() for key in await redis.zrange("undegrade:outbox", 0, -1)]:
                key = f"undegrade:outbox:{group}"
                for member in await redis.zrange(key, 0, -1):
                    await redis.zadd(key, {member: 1})
                await redis.zadd("undegrade:outbox", {group: 1})

        self.run(move)

    def delivery(self, job):
        return self.run(lambda redis: Outbox(redis).of_job(job))[0]

    def until(self, check):
        until_s = time.monotonic() + WAIT_S
        while not (value := check()):
            assert time.monotonic() < until_s, self.logs()
            time.sleep(0.05)
        return value

    def logs(self):
        return "\n".join(path.read_text()[-2000:] for path in sorted(self.folder.glob("*.log")))


@pytest.fixture
def bench(tmp_path, receiver):
    """A bench without a webhook process."""
    with EmbeddedRedis(tmp_path / "redis") as redis:
        bench = Bench(redis, receiver, tmp_path)
        yield bench
        for process in bench.processes:
            process.kill()
            process.wait()


def test_what_ended_while_no_process_ran_is_sent_after_the_start(bench):
    job = bench.canceled_job(1)
    bench.start()
    bench.until(lambda: bench.receiver.of("/1"))
    bench.until(lambda: bench.delivery(job).state == "delivered")


@pytest.mark.parametrize("point", ["before the request is sent", "after it is sent, before it is acknowledged"])
def test_a_process_that_is_killed_delivers_later_at_least_once_with_the_same_id(bench, point):
    killed = []

    def kill(*_):
        if not killed:
            killed.append(True)
            bench.processes[0].send_signal(signal.SIGKILL)
            bench.processes[0].wait()

    if point.startswith("before"):
        bench.receiver.on_connect = kill
    else:
        bench.receiver.on_request = kill
    job = bench.canceled_job(1)
    bench.start()
    bench.until(lambda: killed)
    assert bench.delivery(job).state == "waiting" and bench.delivery(job).tries == 0
    arrived = len(bench.receiver.of("/1"))
    assert arrived == (0 if point.startswith("before") else 1)
    bench.start()
    bench.end_leases()
    bench.until(lambda: bench.delivery(job).state == "delivered")
    requests = bench.receiver.of("/1")
    assert len(requests) == arrived + 1
    assert {request.headers["webhook-id"] for request in requests} == {f"msg_{job}_1"}
    assert len({request.body for request in requests}) == 1


def test_a_process_that_is_killed_after_the_acknowledgement_sends_nothing_again(bench):
    job = bench.canceled_job(1)
    bench.start()
    bench.until(lambda: bench.delivery(job).state == "delivered")
    bench.processes[0].kill()
    bench.processes[0].wait()
    bench.start()
    other = bench.canceled_job(2)
    bench.until(lambda: bench.delivery(other).state == "delivered")
    assert len(bench.receiver.of("/1")) == 1


def test_two_processes_under_kills_deliver_everything_and_know_every_id(bench):
    count = 60
    jobs = [bench.canceled_job(number) for number in range(count)]
    for _ in range(2):
        bench.start()
    bench.until(lambda: len(bench.receiver.requests) > 5)
    bench.processes[0].kill()
    bench.processes[0].wait()
    bench.start()
    bench.end_leases()
    bench.until(lambda: all(bench.receiver.of(f"/{number}") for number in range(count)))
    bench.until(lambda: all(bench.delivery(job).state == "delivered" for job in jobs))
    for number, job in enumerate(jobs):
        ids = {request.headers["webhook-id"] for request in bench.receiver.of(f"/{number}")}
        assert ids == {f"msg_{job}_1"}


def test_a_restart_of_redis_loses_nothing_and_the_process_goes_on(bench):
    bench.receiver.hanging.add("/1")
    job = bench.canceled_job(1)
    process = bench.start()
    bench.until(lambda: bench.receiver.of("/1"))
    time.sleep(1.5)  # Valkey writes its file each second
    bench.redis.process.send_signal(signal.SIGKILL)
    bench.redis.process.wait()
    bench.receiver.release.set()  # the receiver has it, and the process cannot note that
    bench.redis.start()
    bench.end_leases()
    bench.until(lambda: bench.delivery(job).state == "delivered")
    assert {request.headers["webhook-id"] for request in bench.receiver.of("/1")} == {f"msg_{job}_1"}
    assert process.poll() is None


def test_a_process_that_is_told_to_stop_waits_for_the_answer(bench):
    bench.receiver.hanging.add("/1")
    job = bench.canceled_job(1)
    process = bench.start()
    bench.until(lambda: bench.receiver.of("/1"))
    process.terminate()
    time.sleep(0.5)
    assert process.poll() is None
    bench.receiver.release.set()
    assert process.wait(30) == 0 and bench.delivery(job).state == "delivered"


def test_serve_sends_webhooks_and_results_and_its_process_comes_back(tmp_path, receiver):
    env = {
        **os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "UNDEGRADE_THREADS": "1",
        "UNDEGRADE_WEBHOOK_HOSTS": receiver.origin, "UNDEGRADE_RESULT_HOSTS": receiver.origin,
        "UNDEGRADE_DATA": str(tmp_path / "data"), "UNDEGRADE_DEVICE": "cpu", "UNDEGRADE_PORT": "0",
    }  # fmt: skip
    log = tmp_path / "serve.log"
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-m", "cli", "serve"], cwd=ROOT, env=env, stderr=output)
    try:
        until_s = time.monotonic() + 240
        while "ready:" not in log.read_text():
            assert process.poll() is None and time.monotonic() < until_s, log.read_text()
            time.sleep(0.2)
        url = next(word for word in log.read_text().split() if word.startswith("http://127.0.0.1:")).rstrip(";")
        parts = psutil.Process(process.pid).children()
        (webhooks,) = [part for part in parts if part.cmdline()[-1] == "webhooks"]
        webhooks.kill()  # it is started again
        image = io.BytesIO()
        Image.effect_noise((64, 64), 60).convert("RGB").save(image, "PNG")
        fields = {
            "webhook_url": f"{receiver.origin}/hook", "result_url": f"{receiver.origin}/put", "max_passes": 1,
            "steps": 1,
        }  # fmt: skip
        answer = httpx.post(f"{url}/restore", files={"image": image.getvalue()}, data=fields, timeout=60)
        assert answer.status_code == 202, answer.text
        until_s = time.monotonic() + 120
        while not receiver.of("/hook"):
            assert time.monotonic() < until_s, log.read_text()[-3000:]
            time.sleep(0.1)
        assert [request.method for request in receiver.requests] == ["PUT", "POST"]
        with Image.open(io.BytesIO(receiver.of("/put")[0].body)) as restored:
            assert restored.size == (64, 64)
        assert json.loads(receiver.of("/hook")[0].body)["data"]["result_delivery"] == "delivered"
    finally:
        process.terminate()
        assert process.wait(60) == 0
