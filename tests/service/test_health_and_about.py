"""Probes, and what the service says of itself."""

from models.vocabulary import DEGRADATIONS


def test_it_is_alive_but_not_ready_without_a_worker(client):
    assert client.get("/livez").json() == {"status": "alive", "reasons": []}
    assert client.get("/startupz").status_code == 200
    answer = client.get("/readyz")
    assert answer.status_code == 503 and answer.json()["reasons"] == ["there is no worker for toy"]


def test_it_is_ready_with_a_worker_that_is(client, worker, service):
    until_ready(client)
    starting = worker.info().model_copy(update={"ready": False})
    service.queued()(lambda queue: queue.workers.announce(starting))
    assert "none is ready" in client.get("/readyz").json()["reasons"][0]


def test_a_worker_of_another_bundle_does_not_count(client, service, toy):
    other = toy().info().model_copy(update={"bundle": "other", "name": "b"})
    until_ready(client)
    service.queued()(lambda queue: queue.workers.withdraw("toy", ["toy"]))
    service.queued()(lambda queue: queue.workers.announce(other))
    assert client.get("/readyz").status_code == 503


def until_ready(client):
    for _ in range(500):
        if client.get("/readyz").status_code == 200:
            return
    raise AssertionError("not ready")


def test_limits_are_the_settings(serve):
    limits = serve(most_bytes=123, most_megapixels=4.5).client.get("/limits").json()
    assert limits["most_bytes"] == 123 and limits["most_megapixels"] == 4.5
    assert limits["formats"] == ["jpeg", "png", "webp", "tiff", "avif"]


def test_degradations_say_which_a_worker_repairs(client, worker):
    until_ready(client)
    told = {entry["name"]: entry for entry in client.get("/degradations").json()}
    assert set(told) == {entry.name for entry in DEGRADATIONS}
    assert told["noise"]["available"] and told["noise"]["fidelity"] == 0.5 and told["noise"]["prompt"] == "toy noise"
    assert not told["rain"]["available"]


def test_models_and_system_come_from_the_workers(client, worker, submitted):
    until_ready(client)
    assert client.get("/models").json() == [
        {"name": "toy", "family": "toy", "version": "1", "license": "", "degradations": ["noise"], "workers": 1,
         "ready": 1}
    ]  # fmt: skip
    submitted(headers={"Prefer": "wait=20"})
    system = client.get("/system").json()
    assert system["workers"][0]["device"] == "cpu" and system["queued"]["standard"] == 0 and system["version"]
