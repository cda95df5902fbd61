"""List, show, wait for, cancel and delete jobs."""

import json
import threading
import time

import pytest

from service.job_ids import new_job_id


@pytest.fixture
def until_running(client, eventually):
    """Waits until a job runs."""
    return lambda job: eventually(lambda: client.get(f"/jobs/{job['id']}").json()["status"] == "running")


def test_a_wait_ends_with_the_job(client, toy, submitted):
    worker, job = toy(hold=True), submitted()
    threading.Timer(0.5, worker.go.set).start()
    assert client.get(f"/jobs/{job['id']}?wait=20").json()["status"] == "succeeded"


def test_a_wait_ends_with_the_job_even_without_the_subscription(service, toy, submitted):
    service.app.state.listener.get_loop().call_soon_threadsafe(service.app.state.listener.cancel)
    worker, job = toy(hold=True), submitted()
    threading.Timer(0.3, worker.go.set).start()
    assert service.client.get(f"/jobs/{job['id']}?wait=10").json()["status"] == "succeeded"
    assert service.client.get("/livez").status_code == 503


@pytest.mark.parametrize("wait", ["-1", "61", "long"])
def test_a_wait_out_of_range_is_422(client, submitted, wait):
    answer = client.get(f"/jobs/{submitted()['id']}?wait={wait}")
    assert answer.status_code == 422 and answer.json()["errors"][0]["field"] == "wait"


def test_a_running_job_shows_its_progress(client, toy, submitted, eventually):
    toy(hold=True)
    job = submitted()
    eventually(lambda: client.get(f"/jobs/{job['id']}").json()["progress"]["step"] > 0)
    now = client.get(f"/jobs/{job['id']}").json()
    assert now["progress"] == {"fraction": 0.5, "pass_index": 0, "passes": 1, "step": 1, "steps": 2}
    assert now["started_at"] and now["queue"] is None and now["result"] is None
    assert now["degradations"][0]["name"] == "noise"


def test_the_queue_position_counts_the_lanes_before(client, submitted):
    submitted(lane="interactive")
    first, second = submitted(lane="standard"), submitted(lane="standard")
    places = [client.get(f"/jobs/{job['id']}").json()["queue"]["position"] for job in (first, second)]
    assert places == [1, 2]


def test_a_job_that_a_worker_holds_is_queued_at_the_head_of_the_line(service, submitted):
    held, waiting = submitted(lane="standard"), submitted(lane="interactive")
    service.queued()(lambda queue: queue.lease(["toy"], ["standard"], 1, worker="w", token="t", held=0))
    shown = [service.client.get(f"/jobs/{job['id']}").json() for job in (held, waiting)]
    assert [(job["status"], job["queue"]["position"]) for job in shown] == [("queued", 0), ("queued", 1)]


def test_the_eta_follows_from_the_recent_seconds_per_job(service, submitted, valkey):
    now_ms = service.queued()(lambda queue: queue.now_ms())
    valkey.do(
        lambda redis: redis.rpush(
            "undegrade:drain:toy", f"{now_ms} {now_ms - 3000}", f"{now_ms - 60_000} {now_ms - 63_000}"
        )
    )
    submitted()
    job = submitted()
    assert service.client.get(f"/jobs/{job['id']}").json()["queue"]["eta_s"] == 6


@pytest.mark.parametrize("path", ["", "/result", "/passes/1/image", "/events"])
def test_an_unknown_job_is_404_and_an_old_one_410(service, path):
    fresh, old = new_job_id(), new_job_id(int((time.time() - service.settings.keep_s - 60) * 1000))
    answers = [service.client.get(f"/jobs/{job}{path}") for job in (fresh, old, "nonsense", "f" * 32)]
    assert [answer.status_code for answer in answers] == [404, 410, 404, 404]
    assert [answer.json()["code"] for answer in answers] == ["no-such-job", "gone", "no-such-job", "no-such-job"]
    assert [service.client.delete(f"/jobs/{job}").status_code for job in (fresh, old)] == [404, 410]


def test_deleting_a_queued_job_cancels_it_and_deletes_its_upload(service, submitted, valkey):
    job = submitted()
    answer = service.client.delete(f"/jobs/{job['id']}")
    assert answer.status_code == 200 and answer.json()["status"] == "canceled"
    assert not valkey.do(lambda redis: redis.keys("undegrade:blob:*"))
    assert service.queued()(lambda queue: queue.backlog("toy")).total == 0


def test_deleting_a_running_job_cancels_it(client, toy, submitted, until_running):
    toy(hold=True)
    job = submitted()
    until_running(job)
    answer = client.delete(f"/jobs/{job['id']}")
    assert answer.status_code == 202 and answer.json()["cancel_requested"] is True
    assert client.get(f"/jobs/{job['id']}?wait=20").json()["status"] == "canceled"
    result = client.get(f"/jobs/{job['id']}/result")
    assert result.status_code == 409 and result.json()["code"] == "canceled"


def test_deleting_a_finished_job_leaves_nothing_behind(client, worker, submitted, valkey):
    job = submitted(headers={"Prefer": "wait=20"})
    assert client.delete(f"/jobs/{job['id']}").status_code == 204
    assert not valkey.do(lambda redis: [key for key in redis.scan_iter() if job["id"].encode() in key])
    assert client.get(f"/jobs/{job['id']}").status_code == 404


def test_a_job_that_is_deleted_during_a_wait_is_gone(client, service, submitted):
    job = submitted()

    def forget():
        service.queued()(lambda queue: queue.forget(job["id"]))

    threading.Timer(0.3, forget).start()
    assert client.get(f"/jobs/{job['id']}?wait=10").status_code == 410


def test_jobs_are_listed_newest_first_page_by_page(client, submitted):
    ids = [submitted()["id"] for _ in range(7)]
    listed, cursor = [], None
    for _ in range(10):
        page = client.get("/jobs", params={"limit": 3, **({"cursor": cursor} if cursor else {})}).json()
        listed += [job["id"] for job in page["jobs"]]
        if (cursor := page["next"]) is None:
            break
    assert listed == ids[::-1]


def test_jobs_of_one_millisecond_are_not_lost_between_two_pages(client, submitted, valkey):
    ids = [submitted()["id"] for _ in range(5)]
    for job in ids:
        valkey.do(lambda redis, job=job: redis.zadd("undegrade:jobs", {job: 1000}))
        valkey.do(lambda redis, job=job: redis.hset(f"undegrade:job:{job}", "enqueued_ms", 1000))
    listed, cursor = [], None
    for _ in range(10):
        page = client.get("/jobs", params={"limit": 2, **({"cursor": cursor} if cursor else {})}).json()
        listed += [job["id"] for job in page["jobs"]]
        if (cursor := page["next"]) is None:
            break
    assert sorted(listed) == sorted(ids)


def test_too_many_waits_are_429(serve, picture):
    client = serve(max_waits=1).client
    job = client.post("/restore", files={"image": picture()}).json()
    with client.stream("GET", f"/jobs/{job['id']}/events"):
        for path in (f"/jobs/{job['id']}?wait=5", f"/jobs/{job['id']}/events"):
            answer = client.get(path)
            assert answer.status_code == 429 and answer.json()["code"] == "too-many-waits"
            assert answer.headers["retry-after"]
        answer = client.post("/restore", files={"image": picture()}, headers={"Prefer": "wait=5"})
        assert answer.status_code == 429 and len(client.get("/jobs").json()["jobs"]) == 1  # refused and not queued
        assert client.get(f"/jobs/{job['id']}").status_code == 200


def test_a_job_of_a_later_version_is_503_so_that_a_newer_process_answers_the_next_try(client, submitted, valkey):
    job = submitted()["id"]
    spec = json.loads(valkey.do(lambda redis: redis.hget(f"undegrade:job:{job}", "spec")))
    valkey.do(lambda redis: redis.hset(f"undegrade:job:{job}", "spec", json.dumps({**spec, "version": 3})))
    for path in ("", "/result", "/events", "?wait=1"):
        answer = client.get(f"/jobs/{job}{path}")
        assert (answer.status_code, answer.json()["code"]) == (503, "newer-job")
        assert answer.headers["Retry-After"]
    assert client.get("/jobs").json()["jobs"] == []
