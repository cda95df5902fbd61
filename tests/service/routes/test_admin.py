"""Workers and lanes over HTTP: who may steer them, and what clients of the API see of it."""

import asyncio
import threading

import httpx
import pytest
import structlog.testing
from redis.asyncio import Redis

from jobs import api_keys

ACTS = [
    ("POST", "/workers/toy/drain"), ("POST", "/workers/toy/resume"), ("POST", "/queue/bulk/pause"),
    ("POST", "/queue/bulk/resume"), ("DELETE", "/queue?lane=bulk"),
]  # fmt: skip
LOOKS = [("GET", "/workers"), ("GET", "/queue")]


@pytest.fixture
def key_of(valkey):
    """Creates a key of a scope; returns its headers."""

    async def create(scope):
        async with Redis.from_url(valkey.url) as redis:
            return (await api_keys.create(redis, "test", *scope.split()))[1]

    return lambda scope: {"X-API-Key": asyncio.run(create(scope))}


@pytest.fixture
def admin(key_of):
    return key_of("admin")


@pytest.mark.parametrize("auth", ["on", "auto", "off"])
@pytest.mark.parametrize(("method", "path"), ACTS)
def test_an_act_needs_an_admin_key_whatever_the_service_asks_of_others(serve, key_of, worker, auth, method, path):
    client = serve(auth=auth).client
    assert client.request(method, path).json()["code"] == "unauthorized"
    answer = client.request(method, path, headers=key_of("restore read"))
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert client.request(method, path, headers={"X-API-Key": "ud_nope"}).status_code == 401


@pytest.mark.parametrize(("method", "path"), LOOKS)
def test_a_look_needs_an_admin_key_or_a_service_that_needs_none(serve, key_of, method, path):
    guarded, open_to_all = serve(auth="on").client, serve(auth="off").client
    assert guarded.request(method, path).status_code == 401
    assert guarded.request(method, path, headers=key_of("restore read")).status_code == 403
    assert guarded.request(method, path, headers=key_of("admin")).status_code == 200
    assert open_to_all.request(method, path).status_code == 200


def test_a_key_of_a_scope_that_is_not_known_may_do_nothing(serve, key_of):
    client, headers = serve(auth="on").client, key_of("of-a-later-version")
    for method, path in [*ACTS, *LOOKS, ("GET", "/jobs"), ("POST", "/restore")]:
        answer = client.request(method, path, headers=headers)
        assert answer.status_code == 403 and "does not know" in answer.json()["detail"]


def test_a_drained_worker_is_seen_in_the_list_in_readyz_and_in_the_metrics(
    serve, admin, worker, until_ready, eventually
):
    service = serve(auth="off", metrics_port=0)
    client = service.client
    until_ready(client)
    (entry,) = client.post("/workers/toy/drain", headers=admin).json()
    assert entry["state"] == "draining" and entry["drain"]["by"].startswith("key ")
    ready = client.get("/readyz")
    assert ready.status_code == 503 and "drain every worker" in ready.json()["reasons"][0]
    assert ready.json()["notes"] == ["operators drain 1 of 1 workers of toy"]
    metrics = read_metrics(service)
    assert metrics['undegrade_workers_drained{bundle="toy"}'] == 1
    assert metrics['undegrade_workers_ready{bundle="toy"}'] == 0
    assert client.post("/workers/here/resume", headers=admin).status_code == 200, "the name of its host"
    assert client.get("/readyz").status_code == 503, "the worker itself is still drained"
    client.post("/workers/toy/resume", headers=admin)
    assert client.get("/readyz").status_code == 200


def read_metrics(service):
    text = httpx.get(f"http://127.0.0.1:{service.app.state.metrics_port}/metrics").text
    rows = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in rows}


def test_a_paused_lane_accepts_jobs_that_say_so_and_runs_them_after_it_is_resumed(
    serve, admin, toy, picture, eventually
):
    service = serve(auth="off", metrics_port=0)
    client = service.client
    answer = client.post("/queue/bulk/pause", headers=admin).json()
    assert answer["paused"] and answer["pause"]["by"].startswith("key ")
    toy()
    job = client.post("/restore", files={"image": picture()}, data={"lane": "bulk"})
    assert job.status_code == 202 and job.json()["queue"] == {"position": 0, "eta_s": None, "paused": True}
    other = client.post("/restore", files={"image": picture()}, headers={"Prefer": "wait=20"}).json()
    assert other["status"] == "succeeded", "the other lanes run"
    assert client.get(f"/jobs/{job.json()['id']}").json()["status"] == "queued"
    assert client.get("/readyz").json()["notes"] == ["lane bulk is paused"]
    assert read_metrics(service)['undegrade_lane_paused{lane="bulk"}'] == 1
    assert read_metrics(service)['undegrade_bundle_backlog_device_seconds{bundle="toy"}'] == 0, "no worker could help"
    (lane,) = [entry for entry in client.get("/queue").json()["lanes"] if entry["lane"] == "bulk"]
    assert (lane["queued"], lane["paused"], lane["eta_s"]) == (1, True, None)
    assert client.get("/system").json()["paused_lanes"] == ["bulk"]
    client.post("/queue/bulk/resume", headers=admin)
    assert client.get(f"/jobs/{job.json()['id']}?wait=20").json()["status"] == "succeeded"


def test_a_purge_ends_the_waits_of_clients_with_the_reason_and_erases_the_images(serve, admin, picture, valkey):
    client = serve(auth="off").client
    job = client.post("/restore", files={"image": picture()}, data={"lane": "bulk", "prompt": "my face"}).json()
    client.post("/restore", files={"image": picture()}, data={"lane": "standard"})
    dry = client.request("DELETE", "/queue?lane=bulk&dry_run=true", headers=admin).json()
    assert dry == {"matched": 1, "canceled": 0, "dry_run": True}
    waited, streamed = {}, {}
    waits = [
        threading.Thread(target=lambda: waited.update(client.get(f"/jobs/{job['id']}?wait=20").json())),
        threading.Thread(target=lambda: streamed.update(text=client.get(f"/jobs/{job['id']}/events").text)),
    ]
    for thread in waits:
        thread.start()
    done = client.request("DELETE", "/queue?lane=bulk&reason=sent+twice", headers=admin).json()
    assert done == {"matched": 1, "canceled": 1, "dry_run": False}
    for thread in waits:
        thread.join(25)
    assert waited["status"] == "canceled"
    assert client.get(f"/jobs/{job['id']}").json()["params"]["prompt"] is None
    assert waited["error"]["code"] == "purged" and "sent twice" in waited["error"]["detail"]
    assert "event: canceled" in streamed["text"] and "purged" in streamed["text"]
    result = client.get(f"/jobs/{job['id']}/result")
    assert result.status_code == 409 and "sent twice" in result.json()["detail"]
    assert len(valkey.do(lambda redis: redis.keys("undegrade:blob:*"))) == 1, "that of the other lane"


def test_a_purge_by_key_takes_the_jobs_of_that_key_only(serve, admin, key_of, picture):
    client = serve(auth="on").client
    mine, other = key_of("restore read"), key_of("restore read")
    for headers in (mine, mine, other):
        client.post("/restore", files={"image": picture()}, headers=headers)
    of_mine = mine["X-API-Key"].split("_")[1]
    assert client.request("DELETE", f"/queue?key={of_mine}", headers=admin).json()["canceled"] == 2
    assert [job["status"] for job in client.get("/jobs", headers=mine).json()["jobs"]] == ["canceled", "canceled"]
    assert [job["status"] for job in client.get("/jobs", headers=other).json()["jobs"]] == ["queued"]


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("POST", "/queue/bulks/pause", 404, "did you mean bulk?"),
        ("POST", "/queue/x/resume", 404, "interactive"),
        ("POST", "/workers/tuy/drain", 404, "did you mean toy?"),
        ("POST", "/workers/nobody-at-all/resume", 404, "known are here, toy"),
        ("DELETE", "/queue", 422, "expected lane, bundle or key"),
        ("DELETE", "/queue?lane=bulks", 422, "bulk"),
        ("DELETE", "/queue?lane=bulk&dryrun=1", 422, "did you mean dry_run?"),
        ("DELETE", "/queue?lane=bulk&reason=%0A", 422, "reason"),
        ("POST", "/queue/bulk/pause?for=1", 422, "unknown field"),
    ],
)
def test_a_wrong_name_is_refused_with_the_right_one(serve, admin, worker, until_ready, method, path, status, words):
    client = serve(auth="off").client
    until_ready(client)
    answer = client.request(method, path, headers=admin)
    assert answer.status_code == status and words in answer.text


def test_each_act_is_logged_with_the_id_of_the_key_and_a_refused_one_is_not(serve, admin, worker, until_ready):
    client = serve(auth="off").client
    until_ready(client)
    with structlog.testing.capture_logs() as logs:
        client.post("/queue/bulk/pause")
        for method, path in ACTS:
            assert client.request(method, path, headers=admin).status_code == 200
    acted = [entry for entry in logs if entry["event"] == "admin.acted"]
    assert [entry["act"] for entry in acted] == [
        "worker.drain", "worker.resume", "lane.pause", "lane.resume", "queue.purge",
    ]  # fmt: skip
    assert {entry["key_id"] for entry in acted} == {admin["X-API-Key"].split("_")[1]}
    assert admin["X-API-Key"] not in str(logs)
