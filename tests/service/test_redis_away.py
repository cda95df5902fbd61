"""Redis dies and comes back: the API lives on, says so, and loses nothing."""

import threading
import time

import pytest


@pytest.fixture
def mortal(serve, mortal_valkey):
    """A service whose Redis may be killed."""
    return serve(redis_url=mortal_valkey.url, keepalive_s=0.3)


def test_every_route_answers_503_quickly_and_recovers(mortal, mortal_valkey, toy, picture):
    client = mortal.client
    job = client.post("/restore", files={"image": picture()}).json()
    mortal_valkey.kill()
    start_s = time.monotonic()
    for method, path in [
        ("GET", "/jobs"),
        ("GET", f"/jobs/{job['id']}"),
        ("GET", "/system"),
        ("DELETE", f"/jobs/{job['id']}"),
    ]:
        answer = client.request(method, path)
        assert answer.status_code == 503 and answer.json()["code"] == "redis-unavailable", path
        assert int(answer.headers["retry-after"]) >= 1
    answer = client.post("/restore", files={"image": picture()})
    assert answer.status_code == 503 and answer.json()["code"] == "redis-unavailable"
    assert time.monotonic() - start_s < 5
    assert client.get("/livez").status_code == 200 and client.get("/startupz").status_code == 200
    ready = client.get("/readyz")
    assert ready.status_code == 503 and "Redis" in ready.json()["reasons"][0]
    mortal_valkey.start()
    toy(url=mortal_valkey.url)
    assert client.get(f"/jobs/{job['id']}?wait=20").json()["status"] == "succeeded"
    assert client.get("/readyz").status_code == 200


def test_a_stream_outlives_the_absence(mortal, mortal_valkey, toy, picture):
    client = mortal.client
    job = client.post("/restore", files={"image": picture()}).json()
    seen = []

    def watch():
        with client.stream("GET", f"/jobs/{job['id']}/events") as answer:
            seen.extend(line for line in answer.iter_lines() if line.startswith("event"))

    thread = threading.Thread(target=watch)
    thread.start()
    time.sleep(0.3)
    mortal_valkey.kill()
    time.sleep(0.5)
    mortal_valkey.start()
    toy(url=mortal_valkey.url)
    thread.join(20)
    assert seen[0] == "event: queued" and seen[-1] == "event: completed"


def test_a_job_in_line_is_not_taken_back_when_redis_goes_away_during_the_wait(mortal, mortal_valkey, picture):
    """503 would have the client send it again: a job twice."""
    threading.Timer(0.7, mortal_valkey.kill).start()
    answer = mortal.client.post("/restore", files={"image": picture()}, headers={"Prefer": "wait=10"})
    assert answer.status_code == 202 and answer.json()["status"] == "queued"


def test_a_service_starts_without_redis_and_is_ready_later(serve, mortal_valkey, toy):
    mortal_valkey.kill()
    client = serve(redis_url=mortal_valkey.url).client
    assert client.get("/livez").status_code == 200 and client.get("/readyz").status_code == 503
    mortal_valkey.start()
    toy(url=mortal_valkey.url)
    until_s = time.monotonic() + 10
    while client.get("/readyz").status_code != 200:
        assert time.monotonic() < until_s
        time.sleep(0.05)
