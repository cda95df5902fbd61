"""Server-sent events: all that was, each as it happens, and an end."""

import signal
import threading
import time

import pytest


def read(client, job, after=None):
    """(id, type) of every event until the stream ends."""
    headers = {"Last-Event-ID": after} if after else {}
    with client.stream("GET", f"/jobs/{job['id']}/events", headers=headers) as answer:
        assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/event-stream")
        return parsed(answer.iter_lines())


def parsed(lines):
    events, now = [], {}
    for line in lines:
        key, _, value = line.partition(": ")
        if line:
            now[key] = value
        elif "event" in now:
            events.append((now["id"], now["event"]))
            now = {}
    return events


def types(events):
    return [kind for _, kind in events]


def test_a_finished_job_tells_its_whole_story_and_ends(client, worker, submitted):
    job = submitted(headers={"Prefer": "wait=20"})
    assert types(read(client, job)) == ["queued", "started", "detected", "step.progress", "completed"]


def test_events_come_while_they_happen(client, toy, submitted):
    worker, job = toy(hold=True), submitted()
    seen = []
    with client.stream("GET", f"/jobs/{job['id']}/events") as answer:
        for line in answer.iter_lines():
            if line.startswith("event: "):
                seen.append(line.removeprefix("event: "))
            if seen[-1:] == ["step.progress"]:
                worker.go.set()  # it ends only after it has been seen to be under way
    assert seen[-1] == "completed"


def test_a_stream_is_taken_up_after_the_last_event_seen(client, worker, submitted):
    job = submitted(headers={"Prefer": "wait=20"})
    events = read(client, job)
    assert read(client, job, after=events[1][0]) == events[2:]
    assert read(client, job, after=events[-1][0]) == []


def test_a_last_event_id_that_is_none_is_422(client, submitted):
    answer = client.get(f"/jobs/{submitted()['id']}/events", headers={"Last-Event-ID": "yesterday"})
    assert answer.status_code == 422


def test_a_quiet_stream_is_kept_alive(serve, picture):
    client = serve(keepalive_s=0.2).client
    job = client.post("/restore", files={"image": picture()}).json()
    threading.Timer(1.2, lambda: client.delete(f"/jobs/{job['id']}")).start()
    with client.stream("GET", f"/jobs/{job['id']}/events") as answer:
        lines = list(answer.iter_lines())
    assert 1 <= lines.count(": keep-alive") <= 7  # six in 1.2 s; fewer on a machine that is busy
    assert types(parsed(lines)) == ["queued", "canceled"]


def test_a_server_that_stops_ends_streams_and_waits(serve, picture):
    service = serve()
    job = service.client.post("/restore", files={"image": picture()}).json()
    ended = []

    def watch(path):
        with service.client.stream("GET", path) as answer:
            ended.append((answer.read(), time.monotonic()))

    threads = [threading.Thread(target=watch, args=[f"/jobs/{job['id']}{path}"]) for path in ("/events", "?wait=60")]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    start_s = time.monotonic()
    service.server.handle_exit(signal.SIGTERM, None)
    for thread in threads:
        thread.join(10)
    assert len(ended) == 2 and all(at_s - start_s < 2 for _, at_s in ended)


@pytest.mark.parametrize("count", [50])
def test_many_streams_of_one_job_all_hear_its_end(client, toy, submitted, count):
    worker, job = toy(hold=True), submitted()
    heard = []
    threads = [threading.Thread(target=lambda: heard.append(types(read(client, job))[-1])) for _ in range(count)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    worker.go.set()
    for thread in threads:
        thread.join(20)
    assert heard == ["completed"] * count
