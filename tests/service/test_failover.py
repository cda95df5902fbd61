"""The primary dies or hangs under load: clients see 503 for seconds, workers go on, and no replicated job is lost."""

import asyncio
import math
import threading
import time

import pytest
from redis.exceptions import RedisError
from sentinel_trio import SentinelTrio

from jobs import redis_keys
from jobs.blob_store import open_store
from jobs.lease import Finished
from jobs.queue import Queue
from jobs.record import Outcome
from jobs.redis_client import open_redis
from jobs.replication import NO_REPLICATION, Replication
from jobs.spec import LANES
from jobs.state import State

pytestmark = pytest.mark.slow
LOAD_S = 3.0
PATIENCE_S = 60
WAITING = Replication(replicas=1, wait_s=0.5)


@pytest.fixture
def trio():
    started = SentinelTrio()
    yield started
    started.close()


class Worker(threading.Thread):
    """Leases and commits through the client of workers, and repeats what failed, as `worker.redis_retry` does."""

    def __init__(self, url: str, replication: Replication) -> None:
        super().__init__()
        self.url, self.replication, self.stop = url, replication, threading.Event()
        self.failures, self.error = 0, None

    def run(self) -> None:
        try:
            asyncio.run(self._run())
        except Exception as error:
            self.error = error

    async def _run(self) -> None:
        async with open_redis(self.url, answer_s=2, retries=0) as redis:
            queue = Queue(redis, replication=self.replication)
            store = open_store("redis://", redis)
            while not self.stop.is_set():
                jobs = await self._until(lambda: queue.lease(["toy"], LANES, 4, worker="w", token="t", held=0))
                for job in jobs[0] if jobs else ():
                    await self._until(lambda job=job: store.get(job.spec.source.blob))
                    ended = Finished(
                        id=job.spec.id, state=State.SUCCEEDED, outcome=Outcome(), keep_s=600, fence=job.spec.id
                    )
                    await self._until(lambda ended=ended: queue.commit("t", [ended]))
                if not jobs or not jobs[0]:
                    await self._until(queue.reclaim)
                    await asyncio.sleep(0.02)

    async def _until(self, action):
        while True:
            try:
                return await action()
            except (RedisError, OSError):
                self.failures += 1
                if self.stop.is_set():
                    return None
                await asyncio.sleep(0.05)


@pytest.mark.parametrize(("how", "replication"), [("kill", WAITING), ("pause", WAITING), ("kill", NO_REPLICATION)])
def test_every_accepted_job_ends_once_when_its_primary_dies(trio, how, replication, serve, picture, monkeypatch):
    monkeypatch.setattr(redis_keys, "LEASE_MS", 3000)  # jobs whose lease was answered by the old primary run again soon
    waits = {"redis_wait_replicas": replication.replicas, "redis_wait_s": replication.wait_s}
    service = serve(redis_url=trio.url(), store_url="redis://", **waits)
    old, new = trio.servers
    worker = Worker(trio.url(), replication)
    worker.start()
    accepted, statuses, image, begun_s, died_s, back = {}, [], picture(), time.monotonic(), math.inf, False

    def submit(key):
        answer = service.client.post("/restore", files={"image": image}, headers={"Idempotency-Key": key})
        if answer.status_code == 503:
            assert answer.json()["code"] == "redis-unavailable" and int(answer.headers["retry-after"]) >= 1
        return answer

    try:
        while time.monotonic() < died_s + LOAD_S or statuses[-1][1] != 202:
            assert time.monotonic() - begun_s < PATIENCE_S, statuses[-5:]
            if died_s == math.inf and time.monotonic() - begun_s > LOAD_S:
                getattr(old, how)()
                died_s = time.monotonic()
            if died_s < math.inf and replication.replicas and not back and new.role() == "master":
                old.start() if how == "kill" else old.resume()  # else there is no replica to wait for
                back = True
            key = f"key-{len(statuses)}"
            answer = submit(key)
            statuses.append((key, answer.status_code))
            assert answer.status_code in (202, 503), answer.text
            if answer.status_code == 202:
                accepted[key] = answer.json()["id"]
            time.sleep(0.02)
        assert {status for _, status in statuses} == {202, 503}
        for key, status in statuses:  # what a client does after a 503
            answer = submit(key)
            assert answer.status_code in (200, 202), answer.text
            if status == 202 and replication.replicas:
                assert answer.json()["id"] == accepted[key] and answer.headers["idempotency-replayed"] == "true"
            accepted[key] = answer.json()["id"]
        for job in accepted.values():
            ended = service.client.get(f"/jobs/{job}?wait=30").json()
            assert ended["status"] == "succeeded", ended
    finally:
        worker.stop.set()
        worker.join(30)
    assert worker.error is None and not worker.is_alive() and worker.failures > 0
    assert new.role() == "master"
    assert len(set(accepted.values())) == len(statuses)  # each key has a job of its own
    with new.client() as redis:
        assert redis.zcard("undegrade:jobs") == len(statuses)  # and there are no others
