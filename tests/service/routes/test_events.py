"""Server-sent events: past events, new events as they happen, and the end of the stream."""

import json
import signal
import threading

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


def test_the_stream_of_a_finished_job_contains_every_event_and_ends(client, worker, submitted):
    job = submitted(headers={"Prefer": "wait=20"})
    assert types(read(client, job)) == ["queued", "started", "detected", "step.progress", "completed"]


def test_events_arrive_as_they_happen(client, toy, submitted):
    worker, job = toy(hold=True), submitted()
    types_seen = []
    with client.stream("GET", f"/jobs/{job['id']}/events") as answer:
        for line in answer.iter_lines():
            if line.startswith("event: "):
                types_seen.append(line.removeprefix("event: "))
            if types_seen[-1:] == ["step.progress"]:
                worker.go.set()  # the job ends only after its progress has arrived
    assert types_seen[-1] == "completed"


def test_a_stream_continues_after_last_event_id(client, worker, submitted):
    job = submitted(headers={"Prefer": "wait=20"})
    events = read(client, job)
    assert read(client, job, after=events[1][0]) == events[2:]
    assert read(client, job, after=events[-1][0]) == []
    assert read(client, job, after="0") == read(client, job, after="0-0") == events


def test_an_invalid_last_event_id_is_422(client, submitted):
    answer = client.get(f"/jobs/{submitted()['id']}/events", headers={"Last-Event-ID": "yesterday"})
    assert answer.status_code == 422


def test_a_quiet_stream_is_kept_alive(serve, picture):
    client = serve(keepalive_s=0.2).client
    job = client.post("/restore", files={"image": picture()}).json()
    lines = []
    with client.stream("GET", f"/jobs/{job['id']}/events") as answer:
        for line in answer.iter_lines():
            lines.append(line)
            if line == ": keep-alive" and lines.count(line) == 2:
                client.delete(f"/jobs/{job['id']}")
    assert types(parsed(lines)) == ["queued", "canceled"]


def test_a_server_that_stops_ends_streams_and_waits(serve, picture, eventually):
    service = serve()
    job = service.client.post("/restore", files={"image": picture()}).json()
    ended = []

    def watch(path):
        with service.client.stream("GET", path) as answer:
            ended.append(answer.read())

    threads = [threading.Thread(target=watch, args=[f"/jobs/{job['id']}{path}"]) for path in ("/events", "?wait=60")]
    for thread in threads:
        thread.start()
    eventually(lambda: service.app.state.desk.waiters.count() == 2)
    service.server.handle_exit(signal.SIGTERM, None)
    for thread in threads:
        thread.join(20)  # the wait alone would take 60 s
    assert len(ended) == 2


@pytest.mark.parametrize("count", [50])
def test_many_streams_of_one_job_all_receive_its_end(service, client, toy, submitted, eventually, count):
    worker, job = toy(hold=True), submitted()
    last_types = []
    threads = [threading.Thread(target=lambda: last_types.append(types(read(client, job))[-1])) for _ in range(count)]
    for thread in threads:
        thread.start()
    eventually(lambda: service.app.state.desk.waiters.count() == count)
    worker.go.set()
    for thread in threads:
        thread.join(20)
    assert last_types == ["completed"] * count


@pytest.mark.parametrize("kind", ["restore", "detect"])
def test_the_last_event_says_where_the_result_is(client, worker, picture, kind):
    answer = client.post(f"/{kind}", files={"image": picture()}, headers={"Prefer": "wait=20"})
    url = f"/jobs/{answer.json()['id']}"
    last = client.get(f"{url}/events").text.strip().rpartition("data: ")[2]
    links = {name: value for name, value in json.loads(last).items() if name.endswith("_url")}
    assert links == {"job_url": url, **({"result_url": f"{url}/result"} if kind == "restore" else {})}


def test_head_does_not_wait_for_events(client, submitted):
    assert client.head(f"/jobs/{submitted()['id']}/events").status_code == 200
