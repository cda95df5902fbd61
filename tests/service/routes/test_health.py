"""The probes."""

from redis.exceptions import ResponseError


def test_without_a_worker_the_service_is_alive_but_not_ready(client):
    assert client.get("/livez").json() == {"status": "alive", "reasons": []}
    assert client.get("/startupz").status_code == 200
    answer = client.get("/readyz")
    assert answer.status_code == 503 and answer.json()["reasons"] == ["there is no worker for toy"]


def test_a_balancer_may_ask_for_everything_but_a_worker(client, serve):
    assert client.get("/readyz?exclude=worker").json() == {"status": "ready", "reasons": [], "notes": []}
    away = serve(redis_url="redis://127.0.0.1:1/0").client.get("/readyz?exclude=worker")
    assert away.status_code == 503 and "Redis does not answer" in away.json()["reasons"][0]
    assert client.get("/readyz?exclude=redis").status_code == 422


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


def test_a_store_that_cannot_be_written_makes_the_service_unready_and_is_named(serve, toy, tmp_path, until_ready):
    folder = tmp_path / "blobs"
    service = serve(store_url=f"file://{folder}")
    toy()
    until_ready(service.client)
    folder.rmdir()
    folder.write_text("a file in the place of the folder")
    service.app.state.store_probe._fresh_until_s = 0
    answer = service.client.get("/readyz")
    assert answer.status_code == 503
    assert "store (file)" in answer.json()["reasons"][0]
    upload = service.client.post("/restore", content=b"\x89PNG", headers={"content-type": "image/png"})
    assert upload.status_code == 415
    folder.unlink()
    folder.mkdir()
    service.app.state.store_probe._fresh_until_s = 0
    assert service.client.get("/readyz").status_code == 200


def test_a_store_that_does_not_answer_is_named_in_time(serve, toy, monkeypatch, until_ready):
    import asyncio

    service = serve()
    toy()
    until_ready(service.client)

    async def hang() -> None:
        await asyncio.sleep(3600)

    monkeypatch.setattr("service.store_probe.PROBE_S", 0.1)
    monkeypatch.setattr(service.app.state.desk.store, "probe", hang)
    service.app.state.store_probe._fresh_until_s = 0
    assert "store (redis) has not answered" in service.client.get("/readyz").json()["reasons"][0]


def test_a_full_disk_of_redis_is_named(client, service, monkeypatch):
    async def full() -> None:
        raise ResponseError("MISCONF Errors writing to the AOF file: No space left on device")

    monkeypatch.setattr(service.app.state.desk.queue.workers, "alive", full)
    answer = client.get("/readyz")
    assert answer.status_code == 503 and "disk of Redis is full" in answer.json()["reasons"][0]
