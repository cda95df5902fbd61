"""The probes."""


def test_without_a_worker_the_service_is_alive_but_not_ready(client):
    assert client.get("/livez").json() == {"status": "alive", "reasons": []}
    assert client.get("/startupz").status_code == 200
    answer = client.get("/readyz")
    assert answer.status_code == 503 and answer.json()["reasons"] == ["there is no worker for toy"]


def test_the_service_is_ready_when_a_worker_is_ready(client, worker, service, until_ready):
    until_ready(client)
    starting = worker.info().model_copy(update={"ready": False})
    service.queued()(lambda queue: queue.workers.announce(starting))
    assert "none is ready" in client.get("/readyz").json()["reasons"][0]


def test_a_worker_of_another_bundle_does_not_count(client, service, toy, until_ready):
    other = toy().info().model_copy(update={"bundle": "other", "name": "b"})
    until_ready(client)
    service.queued()(lambda queue: queue.workers.withdraw("toy", ["toy"]))
    service.queued()(lambda queue: queue.workers.announce(other))
    assert client.get("/readyz").status_code == 503
