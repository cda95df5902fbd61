"""Redis dies and returns: the API stays alive, answers 503 meanwhile, and losses no job."""

import threading

import pytest


@pytest.fixture
def mortal(serve, mortal_valkey):
    """A service whose Redis the test may kill."""
    return serve(redis_url=mortal_valkey.url, keepalive_s=0.3)


def test_every_route_answers_503_and_recovers(mortal, mortal_valkey, toy, picture):
    client = mortal.client
    job = client.post("/restore", files={"image": picture()}).json()
    mortal_valkey.kill()
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
    assert client.get("/livez").status_code == 200 and client.get("/startupz").status_code == 200
    ready = client.get("/readyz")
    assert ready.status_code == 503 and "Redis" in ready.json()["reasons"][0]
    mortal_valkey.start()
    toy(url=mortal_valkey.url)
    assert client.get(f"/jobs/{job['id']}?wait=20").json()["status"] == "succeeded"
    assert client.get("/readyz").status_code == 200


def test_an_event_stream_survives_an_outage(mortal, mortal_valkey, toy, picture, eventually):
    client = mortal.client
    job = client.post("/restore", files={"image": picture()}).json()
    lines = []

    def watch():
        with client.stream("GET", f"/jobs/{job['id']}/events") as answer:
            for line in answer.iter_lines():
                if line.startswith("event"):
                    lines.append(line)

    thread = threading.Thread(target=watch)
    thread.start()
    eventually(lambda: lines)
    mortal_valkey.kill()
    eventually(lambda: client.get("/jobs").status_code == 503)
    mortal_valkey.start()
    toy(url=mortal_valkey.url)
    thread.join(20)
    assert lines[0] == "event: queued" and lines[-1] == "event: completed"


def test_a_queued_job_answers_202_when_redis_goes_away_during_the_wait(mortal, mortal_valkey, picture, eventually):
    """After a 503 the client would send the image again, and the job would run twice."""

    def kill_during_the_wait():
        eventually(lambda: mortal.app.state.desk.waiters.count() == 1)
        mortal_valkey.kill()

    threading.Thread(target=kill_during_the_wait).start()
    answer = mortal.client.post("/restore", files={"image": picture()}, headers={"Prefer": "wait=10"})
    assert answer.status_code == 202 and answer.json()["status"] == "queued"


def test_a_service_starts_without_redis_and_is_ready_later(serve, mortal_valkey, toy, until_ready):
    mortal_valkey.kill()
    client = serve(redis_url=mortal_valkey.url).client
    assert client.get("/livez").status_code == 200 and client.get("/readyz").status_code == 503
    mortal_valkey.start()
    toy(url=mortal_valkey.url)
    until_ready(client)
