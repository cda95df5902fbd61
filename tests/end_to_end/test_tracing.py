"""Traces and logs of a real API and real workers, read by a real OTLP receiver."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from otlp_receiver import receiving

from jobs.state import State

ROOT = Path(__file__).parents[2]
DIFFUSED = "remove the blur"
CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
"""The caller's trace and span, from the examples of the W3C's recommendation."""
STAGES = {"lease", "fetch", "decode", "restore", "turn", "assess", "steps", "finish", "encode", "store", "commit"}
pytestmark = pytest.mark.slow


@pytest.fixture
def receiver(monkeypatch):
    with receiving() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.endpoint)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
        yield found


@pytest.fixture
def api(place, tmp_path):
    """Starts `undegrade api` and returns a client of it; its log is `tmp_path/api.log`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started, clients = [], []

    def start(**env):
        with (tmp_path / "api.log").open("wb") as log:
            words = [sys.executable, "-m", "cli", "api", "--redis-url", place.redis.url, "--port", str(port)]
            started.append(subprocess.Popen(words, stdout=log, stderr=log, env={**os.environ, **env}, cwd=ROOT))
        client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120)
        clients.append(client)
        until_s = time.monotonic() + 60
        while True:
            try:
                client.get("/livez")
                return client
            except httpx.TransportError:
                assert time.monotonic() < until_s and started[0].poll() is None, (tmp_path / "api.log").read_text()
                time.sleep(0.1)

    yield start
    for client in clients:
        client.close()
    for process in started:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) in (0, 128 + signal.SIGTERM)


def log_lines(path, event):
    found = [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{")]
    return [line for line in found if line["event"] == event]


def test_the_whole_trace_of_a_job_has_the_right_parents_and_times(place, api, crop, receiver, tmp_path):
    worker, client = place.worker(), api()
    place.run(lambda queue: queue.ready())
    answer = client.post(
        "/restore", files={"image": crop(1)}, data={"steps": "2", "prompt": DIFFUSED},
        headers={"traceparent": f"00-{CALLER[0]}-{CALLER[1]}-01", "tracestate": "congo=t61rcWkgMzE",
                 "Prefer": "wait=60", "X-Request-Id": "request-7"},
    )  # fmt: skip
    assert answer.status_code == 200, answer.text
    job = answer.json()
    receiver.until(lambda spans: {f"process {job['bundle']}.interactive", "POST /restore"} <= {s.name for s in spans})
    spans = receiver.of(CALLER[0])
    named, by_id = {span.name: span for span in spans}, {span.id: span for span in spans}
    assert not [name for name, count in Counter(span.name for span in spans).items() if count > 1]
    server = named["POST /restore"]
    submit, process = named["submit autodir-small.interactive"], named["process autodir-small.interactive"]
    assert set(named) - {server.name, submit.name, process.name, "read upload", "wait", "store", "queued"} <= STAGES
    assert {"lease", "decode", "assess", "steps", "finish", "encode", "store", "commit"} <= set(named)

    parents = {span.name: by_id[span.parent].name if span.parent in by_id else span.parent for span in spans}
    assert parents["POST /restore"] == CALLER[1]
    assert parents[submit.name] == parents["read upload"] == parents["wait"] == server.name
    assert parents[process.name] == parents["queued"] == submit.name
    for name in ("turn", "assess", "steps", "finish"):
        assert parents[name] == "restore"
    for name in ("lease", "decode", "restore", "encode", "store", "commit"):
        assert parents[name] == process.name
    assert (server.kind, submit.kind, process.kind) == ("server", "producer", "consumer")
    assert {span.state for span in spans} == {"congo=t61rcWkgMzE"}

    asynchronous = {process.name, "queued"}  # the submission is over when they begin
    for span in spans:
        if span.parent in by_id and span.name not in asynchronous:
            assert span.within(by_id[span.parent]), (span, by_id[span.parent])
    assert named["queued"].end_ns == process.start_ns >= server.start_ns
    assert named["commit"].start_ns <= server.end_ns  # the answer may be sent while the worker still tidies up
    assert process.attributes["messaging.message.id"] == job["id"] and process.attributes["undegrade.job.attempt"] == 1
    assert {span.resource["service.name"] for span in spans} == {"undegrade-api", "undegrade-worker"}
    assert answer.headers["traceparent"] == f"00-{CALLER[0]}-{server.id}-01"

    (end,) = log_lines(worker.log, "job.ended")
    assert (end["request_id"], end["trace_id"], end["job"]) == ("request-7", CALLER[0], job["id"])
    assert end["stage_seconds"] == job["timings"]
    assert {"queued", "decode", "assess", "steps", "finish", "encode", "store"} <= set(job["timings"])
    (request,) = [line for line in log_lines(tmp_path / "api.log", "request.ended") if line["route"] == "POST /restore"]
    assert (request["request_id"], request["trace_id"], request["job"]) == ("request-7", CALLER[0], job["id"])


def test_the_attempts_of_a_job_whose_worker_was_killed_are_in_one_trace(place, api, crop, receiver):
    doomed, client = place.worker(), api()
    place.run(lambda queue: queue.ready())
    job = client.post("/restore", files={"image": crop(2)}, data={"steps": "300", "prompt": DIFFUSED})
    trace = job.headers["traceparent"].split("-")[1]
    receiver.until(lambda spans: "lease" in {span.name for span in spans if span.trace == trace})

    async def scenario(queue):
        while (await queue.queue.record(job.json()["id"])).state is not State.RUNNING:
            await queue.ready()
        doomed.kill(signal.SIGKILL)
        place.worker()

    place.run(scenario)
    until_s = time.monotonic() + 240
    while client.get(job.headers["location"], params={"wait": 30}).json()["status"] != "succeeded":
        assert time.monotonic() < until_s
    process = "process autodir-small.standard"
    receiver.until(lambda spans: process in {span.name for span in spans})
    leases = [span for span in receiver.of(trace) if span.name == "lease"]
    assert sorted(span.attributes["undegrade.job.attempt"] for span in leases) == [1, 2]
    waits = sorted(span.attributes["undegrade.job.attempt"] for span in receiver.of(trace) if span.name == "queued")
    assert waits == [1, 2]
    (attempt,) = [span for span in receiver.of(trace) if span.name == process]  # the first one died with its worker
    assert attempt.attributes["undegrade.job.attempt"] == 2 and attempt.attributes["undegrade.job.deaths"] == 1


def test_jobs_that_share_steps_are_linked_with_the_span_of_those_steps(place, api, crop, receiver):
    place.worker("--max-batch", "4")
    client = api()
    place.run(lambda queue: queue.ready())
    jobs = [
        client.post("/restore", files={"image": crop(3)}, data={"steps": "60", "prompt": DIFFUSED}) for _ in range(3)
    ]
    for job in jobs:
        assert client.get(job.headers["location"], params={"wait": 60}).json()["status"] == "succeeded"
    traces = {job.headers["traceparent"].split("-")[1] for job in jobs}
    name = "process autodir-small.standard"
    receiver.until(lambda spans: sum(span.name == name for span in spans) == 3)
    shared = [span for span in receiver.spans if span.name == "shared steps"]
    assert shared and all(span.trace not in traces and not span.parent for span in shared)
    engines = {(span.trace, span.id) for span in receiver.spans if span.name == "restore"}
    assert {link for span in shared for link in span.links} <= engines
    assert any(len(span.links) > 1 for span in shared)
    named = {link for span in receiver.spans if span.name == "steps" for link in span.links}
    assert named and named <= {(span.trace, span.id) for span in shared}


def test_no_log_and_no_span_has_a_secret_even_while_redis_and_the_collector_are_away(
    place, api, crop, receiver, monkeypatch, tmp_path
):
    mark = "zebra7secret"
    asked = f"remove the noise from {mark}"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint.replace("//", f"//{mark}:{mark}@"))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"x-token={mark}")
    place.run(lambda queue: queue.redis.config_set("requirepass", mark))
    place.redis = SimpleNamespace(url=f"{place.redis.url}?password={mark}", process=place.redis.process)
    worker, client = place.worker(), api()
    place.run(lambda queue: queue.ready())
    files = {"image": (f"{mark}.png", crop(1), "image/png")}
    fine = client.post("/restore", files=files, data={"prompt": asked, "steps": "1"}, headers={"Prefer": "wait=60"})
    assert fine.json()["status"] == "succeeded"
    broken = {"image": (f"{mark}.png", crop(2)[:3000], "image/png")}
    failed = client.post("/restore", files=broken, data={"prompt": asked}, headers={"Prefer": "wait=60"})
    assert failed.json()["error"]["code"] == "bad-image"
    client.get("/jobs", headers={"Authorization": f"Bearer ud_{mark}"}, params={"prompt": mark})
    receiver.until(lambda spans: sum(span.name.startswith("process") for span in spans) == 2)
    place.redis.process.kill()
    assert client.get("/jobs").status_code == 503
    until_s = time.monotonic() + 60
    while not log_lines(worker.log, "redis.away"):
        assert time.monotonic() < until_s
        time.sleep(0.1)
    logs = worker.log.read_text() + (tmp_path / "api.log").read_text()
    assert len(log_lines(worker.log, "job.ended")) == 2 and '"redis.away"' in logs
    assert mark not in logs
    assert mark not in repr(receiver.bodies)
    assert receiver.headers[0]["x-token"] == mark
