"""The entry of a worker in RQ's own registry, in a real Valkey."""

from contextlib import suppress

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisAway
from rq import Queue
from rq.worker import Worker

from worker.rq_worker import UndegradeWorker

QUEUES = ["autodir-small.standard", "autodir-small.bulk"]


@pytest.fixture
def client(valkey_url):
    with Redis.from_url(valkey_url) as client:
        yield client


def registered(client, name="worker-a"):
    worker = UndegradeWorker(QUEUES, name, client)
    worker.register()
    return worker


def members(client):
    """Returns the names in each of RQ's sets of workers."""
    keys = ["rq:workers", *(f"rq:workers:{name}" for name in QUEUES)]
    return [sorted(member.decode().removeprefix("rq:worker:") for member in client.smembers(key)) for key in keys]


def test_a_worker_whose_registration_was_not_answered_registers_again(client):
    registered(client)
    again = registered(client)  # a new object of the same name, as Announcer makes after an error
    again.heartbeat_as("idle")
    assert [worker.name for worker in Worker.all(connection=client)] == ["worker-a"]
    assert 0 < client.ttl("rq:worker:worker-a") <= 80


class Breaking(Redis):
    """Its connection is lost after so many commands."""

    left = 1000

    def execute_command(self, *words, **named):
        self.left -= 1
        if self.left < 0:
            raise RedisAway("the connection was lost")
        return super().execute_command(*words, **named)


@pytest.mark.parametrize("commands", range(4))
def test_an_entry_that_had_expired_never_comes_back_without_a_time_to_live(valkey_url, commands):
    with Breaking.from_url(valkey_url) as client:
        worker = registered(client)
        client.delete(worker.key)
        client.left = commands
        with suppress(RedisAway):
            worker.heartbeat_as("busy")
        client.left = 1000
        assert client.ttl(worker.key) != -1


def test_a_worker_that_was_killed_leaves_rqs_sets_when_the_next_one_starts(client):
    killed, alive = registered(client, "killed"), registered(client, "alive")
    client.delete(killed.key)  # its time to live has ended
    registered(client, "next")
    assert members(client) == [["alive", "next"]] * 3
    alive.unregister()
    assert members(client) == [["next"]] * 3
    assert [worker.name for worker in Worker.all(queue=Queue(QUEUES[0], connection=client))] == ["next"]
