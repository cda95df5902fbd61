"""With replicas to wait for, a job is accepted when they have it, and a repeated request never makes a second one.

A picture is stored when they know of it.
"""

import asyncio
import time

import pytest
from queue_bench import BUNDLE, DAY_S, MANY, spec
from redis.asyncio import Redis
from sentinel_trio import SentinelTrio, Server

from jobs.blob_store import open_store
from jobs.claims import Claim
from jobs.errors import ClaimTaken, NotReplicated
from jobs.lease import Finished
from jobs.queue import Queue
from jobs.record import Outcome
from jobs.replication import Replication
from jobs.spec import LANES
from jobs.state import State
from jobs.uploads import UploadRecord, UploadRegistry

WAIT_S = 0.2
JOB = f"{1:032x}"


@pytest.fixture
def pair(tmp_path):
    """A primary and its replica."""
    primary = Server(tmp_path, "one", "repl-diskless-sync-delay 0\n")
    replica = Server(tmp_path, "two", f"replicaof 127.0.0.1 {primary.port}\n")
    with replica.client() as client:
        SentinelTrio.wait(lambda: client.info("replication")["master_link_status"] == "up", "the replica has no link")
    yield primary, replica
    replica.resume()
    replica.kill()
    primary.kill()


def run(pair, scenario, replicas=1):
    async def main():
        async with Redis(port=pair[0].port) as redis:
            await scenario(Queue(redis, replication=Replication(replicas=replicas, wait_s=WAIT_S)))

    asyncio.run(asyncio.wait_for(main(), 60))


def stored_by(replica, job):
    with replica.client() as client:
        return client.exists(f"undegrade:job:{job.id}") == 1


def test_an_accepted_job_is_on_the_replica(pair):
    async def scenario(queue):
        for _ in range(20):
            job = spec()
            await queue.submit(job, MANY)
            assert stored_by(pair[1], job)

    run(pair, scenario)


def test_a_job_that_no_replica_has_is_not_accepted_and_is_found_again_by_its_claim(pair):
    claim, job = Claim("undegrade:claim:x", "d"), spec()

    async def scenario(queue):
        pair[1].pause()
        with pytest.raises(NotReplicated, match="0 of 1 replicas"):
            await queue.submit(job, MANY, claim=claim)
        with pytest.raises(NotReplicated):  # the repetition writes nothing, and still must not be accepted
            await queue.submit(spec(), MANY, claim=claim)
        with pytest.raises(NotReplicated):
            await queue.replication.confirm(queue.redis)
        pair[1].resume()
        await queue.replication.confirm(queue.redis)
        with pytest.raises(ClaimTaken) as taken:
            await queue.submit(spec(), MANY, claim=claim)
        assert taken.value.made == job.id and (await queue.backlog(BUNDLE)).total == 1
        assert stored_by(pair[1], job)

    run(pair, scenario)


def test_a_commit_that_no_replica_has_is_repeated_with_the_same_answer(pair):
    async def scenario(queue):
        job = spec()
        await queue.submit(job, MANY)
        await queue.lease([BUNDLE], LANES, 1, worker="w", token="t", held=0)
        ends = [Finished(id=job.id, state=State.SUCCEEDED, outcome=Outcome(), keep_s=DAY_S, fence="f")]
        pair[1].pause()
        with pytest.raises(NotReplicated):
            await queue.commit("t", ends)
        assert await queue.commit("t", ends, replicated=False) == [State.SUCCEEDED]
        pair[1].resume()
        assert await queue.commit("t", ends) == [State.SUCCEEDED]

    run(pair, scenario)


def test_a_server_that_has_forgotten_the_scripts_gets_them_again(pair):
    async def scenario(queue):
        await queue.submit(spec(), MANY)
        await queue.redis.script_flush()
        await queue.submit(spec(), MANY)
        assert (await queue.backlog(BUNDLE)).total == 2

    run(pair, scenario)


def kept(folder):
    """Returns the files of a folder."""
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", [f"{JOB}/input", "shared"])
def test_a_picture_is_written_to_an_object_store_only_when_the_replica_knows_when_to_delete_it(pair, tmp_path, name):
    """Otherwise a failover would leave it there for ever: no sweep would know of it."""

    async def scenario(queue):
        store = open_store(f"file://{tmp_path}/blobs", queue.redis, queue.replication)
        pair[1].pause()
        with pytest.raises(NotReplicated):
            await store.put(name, b"pixels", DAY_S)
        assert kept(tmp_path / "blobs") == []
        pair[1].resume()
        await queue.replication.confirm(queue.redis)
        await store.put(name, b"pixels", DAY_S)
        with pair[1].client() as replica:
            assert replica.zscore("undegrade:blobs", name) is not None
        assert await store.get(name) == b"pixels"

    run(pair, scenario)


def test_a_picture_that_no_replica_knows_of_can_be_written_on_demand(pair, tmp_path):
    async def scenario(queue):
        store = open_store(f"file://{tmp_path}/blobs", queue.redis, queue.replication)
        pair[1].pause()
        await store.put(f"{JOB}/input", b"pixels", DAY_S, replicated=False)
        assert await store.get(f"{JOB}/input") == b"pixels"
        pair[1].resume()

    run(pair, scenario)


def test_an_input_stays_until_the_replica_knows_that_its_job_has_ended(pair, tmp_path):
    """Otherwise a failover would bring the job back without its picture, and it would fail."""

    async def scenario(queue):
        store, job = open_store(f"file://{tmp_path}/blobs", queue.redis, queue.replication), spec()
        await store.put(f"{job.id}/input", b"pixels", DAY_S)
        await queue.submit(job, MANY)
        await queue.lease([BUNDLE], LANES, 1, worker="w", token="t", held=0)
        pair[1].pause()
        with pytest.raises(NotReplicated):
            await queue.commit("t", [Finished(id=job.id, state=State.SUCCEEDED, outcome=Outcome(), keep_s=DAY_S)])
        with pytest.raises(NotReplicated):
            await store.sweep(time.time())
        assert await store.get(f"{job.id}/input") == b"pixels"
        pair[1].resume()
        await queue.replication.confirm(queue.redis)
        assert await store.sweep(time.time()) == 1 and kept(tmp_path / "blobs") == []

    run(pair, scenario)


def test_a_picture_in_redis_is_stored_when_the_replica_has_it(pair):
    async def scenario(queue):
        store = open_store("redis://", queue.redis, queue.replication)
        pair[1].pause()
        with pytest.raises(NotReplicated):
            await store.put("shared", b"pixels", DAY_S)
        pair[1].resume()
        await queue.replication.confirm(queue.redis)
        await store.put("shared", b"pixels", DAY_S)
        with pair[1].client() as replica:
            assert replica.get("undegrade:blob:shared") == b"pixels"

    run(pair, scenario)


def test_an_upload_is_open_when_the_replica_knows_of_it(pair):
    async def scenario(queue):
        uploads = UploadRegistry(queue.redis, None, queue.replication)
        pair[1].pause()
        with pytest.raises(NotReplicated):
            await uploads.open(JOB, UploadRecord(opened_s=time.time()), 100, None)
        pair[1].resume()
        await queue.replication.confirm(queue.redis)
        await uploads.open(JOB, UploadRecord(opened_s=time.time()), 100, None)
        with pair[1].client() as replica:
            assert replica.zscore("undegrade:blobs", f"{JOB}/upload") is not None

    run(pair, scenario)


def test_more_replicas_than_there_are_refuse_every_job(pair):
    async def scenario(queue):
        with pytest.raises(NotReplicated, match="1 of 2 replicas"):
            await queue.submit(spec(), MANY)

    run(pair, scenario, replicas=2)
