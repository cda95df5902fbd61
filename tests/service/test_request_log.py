"""The log and the trace of requests: what each has, what none has, and which requests are left out."""

import json
import socket

import pytest
import structlog
from otlp_receiver import receiving

from jobs.api_keys import create
from jobs.tracing.opening import open_tracer

CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{CALLER[0]}-{CALLER[1]}-01"
MARK = "zebra7secret"
"""Stands for everything that must not reach a log or a collector."""


@pytest.fixture
def lines(capsys, monkeypatch):
    """Returns the events of a kind that the API has logged so far."""
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, structlog.processors.JSONRenderer()],
        logger_factory=structlog.PrintLoggerFactory(),
    )
    text = []

    def read(event):
        text.extend(capsys.readouterr())
        found = [json.loads(line) for line in "".join(text).splitlines() if line.startswith("{")]
        return [line for line in found if line["event"] == event]

    yield read
    structlog.reset_defaults()


@pytest.fixture
def traced(serve, monkeypatch):
    """Starts a service whose spans arrive at `traced.receiver`."""
    with receiving() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        tracers = []

        def start(**settings):
            tracers.append(open_tracer("undegrade-api", "1"))
            return serve(tracer=tracers[-1], **settings)

        start.receiver = receiver
        yield start
        for tracer in tracers:
            tracer.close()


def test_a_request_has_one_line_with_its_ids_and_its_key_but_never_the_key(serve, lines, picture, eventually):
    service = serve(auth="on")
    key_id, secret = service.queued()(lambda queue: create(queue.redis, "photos"))
    headers = {"X-API-Key": secret, "X-Request-Id": "r-1", "traceparent": PARENT}
    answer = service.client.post("/restore", files={"image": picture()}, headers=headers)
    (line,) = eventually(lambda: lines("request.ended"))
    assert (line["request_id"], line["key_id"], line["job"]) == ("r-1", key_id, answer.json()["id"])
    assert (line["route"], line["status"], line["trace_id"]) == ("POST /restore", 202, CALLER[0])
    assert secret not in json.dumps(line)


@pytest.mark.parametrize(("access_log", "logged"), [
    ("on", ["GET /limits"]), ("off", []), ("all", ["GET /livez", "GET /limits"]),
])  # fmt: skip
def test_the_access_log_can_be_switched_and_leaves_out_health_checks(serve, lines, access_log, logged, eventually):
    service = serve(access_log=access_log)
    service.client.get("/livez")
    service.client.get("/limits")
    eventually(lambda: len(lines("request.ended")) >= len(logged))
    assert [line["route"] for line in lines("request.ended")] == logged


def test_a_health_check_that_fails_is_logged(service, lines, eventually):
    assert service.client.get("/readyz").status_code == 503
    (line,) = eventually(lambda: lines("request.ended"))
    assert (line["route"], line["status"]) == ("GET /readyz", 503)


def test_a_job_that_no_worker_ends_has_its_line_too(service, lines, picture, eventually):
    canceled = service.client.post("/restore", files={"image": picture()}, headers={"X-Request-Id": "r-2"})
    service.client.delete(canceled.headers["location"])
    late = service.client.post("/restore", files={"image": picture()}, data={"deadline_s": "0.1"})
    eventually(lambda: len(lines("job.ended")) == 2)
    ends = {line["job"]: line for line in lines("job.ended")}
    assert (ends[canceled.json()["id"]]["state"], ends[canceled.json()["id"]]["request_id"]) == ("canceled", "r-2")
    expired = ends[late.json()["id"]]
    assert (expired["state"], expired["code"], expired["attempts"]) == ("expired", "deadline", 0)


def test_a_request_continues_the_callers_trace_and_its_job_carries_it_on(traced, toy, picture):
    service = traced()
    headers = {"traceparent": PARENT, "tracestate": "a=1", "X-Request-Id": "r"}
    answer = service.client.post("/restore", files={"image": picture()}, headers=headers)
    worker = toy()
    spans = traced.receiver.until(lambda spans: "POST /restore" in {span.name for span in spans})
    named = {span.name: span for span in spans}
    server, submit = named["POST /restore"], named["submit toy.standard"]
    assert (server.trace, server.parent, server.state) == (*CALLER, "a=1")
    assert submit.parent == named["read upload"].parent == server.id and submit.within(server)
    assert answer.headers["traceparent"] == f"00-{CALLER[0]}-{server.id}-01"
    while not worker.leased:
        worker.stop.wait(0.01)
    kept = worker.leased[0].request
    assert (kept.request_id, kept.tracestate) == ("r", "a=1")
    assert kept.traceparent == f"00-{CALLER[0]}-{submit.id}-01"
    attributes = server.attributes
    assert attributes["http.request.method"] == "POST" and attributes["http.route"] == "/restore"
    assert attributes["http.response.status_code"] == 202 and attributes["undegrade.job.id"] == answer.json()["id"]


def test_with_tracing_off_the_context_is_passed_on_unchanged(service, toy, picture):
    answer = service.client.post("/restore", files={"image": picture()}, headers={"traceparent": PARENT})
    assert answer.headers["traceparent"] == PARENT
    assert "traceparent" not in service.client.get("/limits").headers
    worker = toy()
    while not worker.leased:
        worker.stop.wait(0.01)
    assert worker.leased[0].request.traceparent == PARENT


def test_health_checks_have_no_spans_and_errors_of_the_server_are_failures(traced, mortal_valkey):
    service = traced(redis_url=mortal_valkey.url)
    service.client.get("/livez")
    mortal_valkey.kill()
    assert service.client.get("/jobs").status_code == 503
    (span,) = traced.receiver.until(lambda spans: spans)
    assert (span.name, span.failed, span.attributes["error.type"]) == ("GET /jobs", True, "503")


def test_no_secret_reaches_the_log_or_a_collector(traced, lines, picture, eventually):
    service = traced(auth="on")
    _, secret = service.queued()(lambda queue: create(queue.redis, MARK))
    client, headers = service.client, {"Authorization": f"Bearer {secret}"}
    name = {"image": (f"{MARK}.png", picture(), "image/png")}
    client.post("/restore", files=name, data={"prompt": MARK}, headers=headers)
    client.post("/restore", content=picture(), params={"prompt": MARK, "seed": "1"}, headers=headers)
    client.post("/restore", files=name, data={"prompt": MARK, "wobble": MARK}, headers=headers)
    client.post("/restore", files=name, headers={"Authorization": f"Bearer ud_{MARK}"})
    client.get("/jobs", auth=(MARK, MARK))
    client.get("/jobs", params={MARK: MARK}, headers={"X-API-Key": MARK, "Cookie": MARK, "User-Agent": MARK})
    client.get("/limits", headers={"traceparent": MARK, "tracestate": f"{MARK}={MARK}", "X-Request-Id": f"{MARK} !"})
    with socket.create_connection(("127.0.0.1", service.settings.port)) as raw:  # a URL with user and password
        host = f"127.0.0.1:{service.settings.port}"
        raw.sendall(f"GET http://{MARK}:{MARK}@{host}/limits?q={MARK} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        raw.recv(1000)
    eventually(lambda: len(lines("request.ended")) == 8)
    traced.receiver.until(lambda spans: sum(span.kind == "server" for span in spans) == 8)
    for text in (json.dumps(lines("request.ended")), repr(traced.receiver.bodies)):
        assert MARK not in text and secret not in text


def test_a_path_that_no_route_has_is_in_the_log_only(traced, lines, eventually):
    service = traced()
    service.client.get(f"/{MARK}")
    (span,) = traced.receiver.until(lambda spans: spans)
    assert span.name == "GET" and MARK not in repr(traced.receiver.bodies)
    assert eventually(lambda: lines("request.ended"))[0]["route"] == "unmatched"
