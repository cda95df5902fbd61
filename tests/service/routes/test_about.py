"""What the service says of its limits, degradations, bundles and workers."""

import asyncio

import pytest
from redis.asyncio import Redis

from jobs import api_keys
from models.vocabulary import DEGRADATIONS


@pytest.fixture
def new_key(valkey):
    """Creates keys of a scope; returns their secrets."""

    async def create(scope):
        async with Redis.from_url(valkey.url) as redis:
            return (await api_keys.create(redis, "test", *scope.split()))[1]

    return lambda scope: asyncio.run(create(scope))


def test_limits_are_the_settings(serve):
    limits = serve(max_bytes=123, max_megapixels=4.5).client.get("/limits").json()
    assert limits["max_bytes"] == 123 and limits["max_megapixels"] == 4.5
    assert limits["formats"] == ["jpeg", "png", "webp", "tiff", "avif"]


def test_degradations_say_which_of_them_a_worker_repairs(client, worker, until_ready):
    until_ready(client)
    degradations = {entry["name"]: entry for entry in client.get("/degradations").json()}
    assert set(degradations) == {entry.name for entry in DEGRADATIONS}
    noise = degradations["noise"]
    assert noise["available"] and noise["fidelity"] == 0.5 and noise["prompt"] == "toy noise"
    assert not degradations["rain"]["available"]


def test_models_and_system_come_from_the_workers(client, worker, submitted, until_ready):
    until_ready(client)
    assert client.get("/models").json() == [
        {"name": "toy", "family": "toy", "version": "1", "license": "", "credit": "Toy (A. Weaver 2026)",
         "degradations": ["noise"], "prompts": "free", "workers": 1, "ready": 1}
    ]  # fmt: skip
    submitted(headers={"Prefer": "wait=20"})
    system = client.get("/system").json()
    assert system["workers"][0]["device"] == "cpu" and system["queued"]["standard"] == 0 and system["version"]


def test_system_tells_admins_what_is_wrong_with_redis_and_others_only_of_workers(serve, new_key):
    client = serve(auth="on").client
    told = client.get("/system", headers={"X-API-Key": new_key("admin")}).json()
    assert told["redis"]["maxmemory_policy"] == "noeviction" and told["redis"]["appendonly"] is True
    assert any("maxmemory is not set" in problem for problem in told["problems"])
    assert any("no worker for toy" in problem for problem in told["problems"])
    other = client.get("/system", headers={"X-API-Key": new_key("restore")}).json()
    assert (other["redis"], other["store"]) == (None, None)
    assert not any("Redis" in problem for problem in other["problems"])


def test_system_shows_no_secret_of_a_url(serve, valkey):
    valkey.do(lambda redis: redis.acl_setuser("tenant", enabled=True, passwords=["+hunter2"], keys=["*"],
                                              channels=["*"], commands=["+@all", "-config"]))  # fmt: skip
    url = f"{valkey.url}?username=tenant&password=hunter2"
    answer = serve(redis_url=url, store_url="redis://", auth="off").client.get("/system")
    assert answer.status_code == 200 and "hunter2" not in answer.text
    assert "appendfsync" in answer.json()["redis"]["not_readable"], "CONFIG is refused"


def test_workers_of_two_versions_are_named(serve, toy, service, until_ready, client):
    worker = toy()
    until_ready(client)
    other = worker.info().model_copy(update={"name": "b", "version": "0.2.0", "sha256": "f" * 64})
    first = worker.info().model_copy(update={"version": "0.1.0", "sha256": "e" * 64})
    for info in (other, first):
        service.queued()(lambda queue, info=info: queue.workers.announce(info))
    found = [problem for problem in client.get("/system").json()["problems"] if "differ" in problem]
    assert len(found) == 2 and "version of undegrade" in found[0] and "bundle toy" in found[1]
