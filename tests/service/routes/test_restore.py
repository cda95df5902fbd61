"""POST /restore and POST /detect, in all three forms."""

import base64
import io
import re

import pytest
from PIL import Image

from jobs.record import Failure


def requests(picture):
    """The three body forms: multipart, raw, JSON; each takes the options."""
    text = base64.b64encode(picture()).decode()
    return {
        "multipart": lambda **fields: {"files": {"image": ("a.png", picture())}, "data": fields},
        "raw": lambda **fields: {"content": picture(), "headers": {"Content-Type": "image/png"}, "params": fields},
        "json": lambda **fields: {"json": {"image_base64": text, **fields}},
    }


FORMS = ["multipart", "raw", "json"]


@pytest.mark.parametrize("form", FORMS)
def test_an_image_is_queued_and_location_is_the_url_of_its_job(client, picture, form):
    answer = client.post("/restore", **requests(picture)[form](strength=0.5, only=["noise"], seed=7))
    job = answer.json()
    assert answer.status_code == 202 and answer.headers["location"] == f"/jobs/{job['id']}"
    assert (
        job["status"] == "queued"
        and job["queue"] == {"position": 0, "eta_s": None, "paused": False}
        and job["lane"] == "standard"
    )
    assert job["params"]["strength"] == 0.5 and job["params"]["only"] == ["noise"] and job["params"]["seed"] == 7
    assert client.get(answer.headers["location"]).json()["id"] == job["id"]


@pytest.mark.parametrize("route", ["/restore", "/detect"])
@pytest.mark.parametrize("form", FORMS)
def test_an_unknown_field_is_refused_with_the_nearest_name(client, service, picture, form, route):
    answer = client.post(route, **requests(picture)[form](lanes="bulk"))
    assert answer.status_code == 422 and answer.json()["code"] == "invalid-request"
    assert answer.json()["errors"] == [{"field": "lanes", "problem": "unknown field; did you mean lane?"}]
    assert service.queued()(lambda queue: queue.backlog("toy")).total == 0


@pytest.mark.parametrize(
    ("fields", "field"),
    [({"strength": 2}, "strength"), ({"only": ["noize"]}, "only"), ({"format": "gif"}, "format"),
     ({"steps": 0}, "steps"), ({"deadline_s": -1}, "deadline_s"), ({"seed": "many"}, "seed"),
     ({"lane": "fast"}, "lane"), ({"quality": 101}, "quality"), ({"prompt": "a" * 1001}, "prompt")],
)  # fmt: skip
@pytest.mark.parametrize("form", FORMS)
def test_a_value_out_of_range_is_refused_with_its_field(client, picture, form, fields, field):
    answer = client.post("/restore", **requests(picture)[form](**fields))
    assert answer.status_code == 422 and answer.json()["errors"][0]["field"] == field


def test_a_field_given_twice_is_refused(client, picture):
    answer = client.post("/restore?strength=0.1", files={"image": picture()}, data={"strength": "0.2"})
    assert answer.status_code == 422 and answer.json()["errors"] == [{"field": "strength", "problem": "given twice"}]


def test_a_form_repeats_lists_or_uses_commas_and_its_empty_fields_are_ignored(client, picture):
    fields = {"only[]": ["fog", "grain"], "skip": "rain, snow", "prompt": "", "strength": ""}
    params = client.post("/restore", files={"image": picture()}, data=fields).json()["params"]
    assert params["only"] == ["haze", "noise"] and params["skip"] == ["rain", "snow"]
    assert params["prompt"] is None and params["strength"] == 1


def test_a_drawn_seed_differs_and_is_exact_in_javascript(submitted):
    seeds = [submitted()["params"]["seed"] for _ in range(8)]
    assert len(set(seeds)) == 8 and all(0 <= seed < 2**53 for seed in seeds)


def test_prefer_wait_answers_200_with_the_finished_job(client, worker, picture):
    answer = client.post("/restore", files={"image": picture()}, headers={"Prefer": "wait=20"})
    job = answer.json()
    assert answer.status_code == 200 and answer.headers["preference-applied"] == "wait=20"
    assert job["status"] == "succeeded" and job["progress"]["fraction"] == 1 and job["lane"] == "interactive"
    assert job["degradations"][0] == {"name": "noise", "probability": 0.75}
    assert job["credit"] == "Toy (A. Weaver 2026)"
    assert job["stop_reason"] == "clean" and job["timings"] == {"restore": 0.01} and job["params"]["steps"] == 2
    first, second = job["passes"]
    assert first["image"] == f"/jobs/{job['id']}/passes/1/image" and first["probability_after"] == 0.1
    assert second["image"] is None and second["kept"] is False
    result = job["result"]
    assert result["url"] == f"/jobs/{job['id']}/result" and (result["width"], result["height"]) == (24, 16)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT.*Z", result["expires_at"])


def test_a_wait_that_ends_early_answers_202_and_does_not_cancel_the_job(client, toy, picture):
    toy(hold=True)
    answer = client.post("/restore", files={"image": picture()}, headers={"Prefer": "wait=1"})
    assert answer.status_code == 202 and answer.json()["status"] == "running"
    assert client.get(f"/jobs/{answer.json()['id']}").json()["cancel_requested"] is False


@pytest.mark.parametrize(("accept", "kind"), [("image/*", "PNG"), ("image/webp", "WEBP"), ("image/jpeg", "JPEG")])
def test_accept_image_returns_the_restored_image(client, worker, picture, accept, kind):
    answer = client.post("/restore?seed=5", files={"image": picture()}, headers={"Accept": accept})
    assert answer.status_code == 200 and answer.headers["content-type"] == f"image/{kind.lower()}"
    assert Image.open(io.BytesIO(answer.content)).format == kind
    assert answer.headers["x-seed"] == "5" and re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-job-id"])
    assert answer.headers["x-degradations"] == "noise=0.750, blur=0.200, clean=0.050"


def test_an_image_that_is_not_ready_in_time_is_a_problem_with_the_url_of_the_job(client, picture):
    headers = {"Accept": "image/*", "Prefer": "wait=1"}
    answer = client.post("/restore", files={"image": picture()}, headers=headers)
    problem = answer.json()
    assert answer.status_code == 504 and problem["code"] == "wait-over" and problem["hint"]
    assert answer.headers["content-type"] == "application/problem+json"
    assert client.get(problem["job_url"]).json()["status"] == "queued"


def test_a_failed_job_is_a_problem_with_the_error_of_the_job(client, toy, picture):
    toy(failure=Failure(code="bad-image", detail="it is cut short", hint="save it again"))
    answer = client.post("/restore", files={"image": picture()}, headers={"Accept": "image/*"})
    problem = answer.json()
    assert answer.status_code == 422 and problem["code"] == "job-failed" and problem["detail"] == "it is cut short"
    assert problem["error"]["code"] == "bad-image" and problem["hint"] == "save it again"


@pytest.mark.parametrize(
    ("accept", "fields"), [("text/plain", {}), ("image/gif", {}), ("image/png", {"format": "jpeg"})]
)
def test_an_accept_header_without_a_possible_type_is_406_and_queues_nothing(client, service, picture, accept, fields):
    answer = client.post("/restore", files={"image": picture()}, data=fields, headers={"Accept": accept})
    assert answer.status_code == 406 and answer.json()["code"] == "not-acceptable"
    assert service.queued()(lambda queue: queue.backlog("toy")).total == 0


def test_a_request_may_name_a_bundle_that_a_worker_has(client, service, picture, toy):
    other = toy().info().model_copy(update={"bundle": "other", "name": "b"})
    service.queued()(lambda queue: queue.workers.announce(other))
    answer = client.post("/restore", files={"image": picture()}, data={"bundle": "other"})
    assert answer.status_code == 202 and answer.json()["bundle"] == "other"
    assert service.queued()(lambda queue: queue.backlog("other")).total == 1
    assert client.post("/detect", files={"image": picture()}, data={"bundle": "toy"}).status_code == 200


def test_a_bundle_that_no_worker_has_is_refused_and_nothing_is_queued(client, service, picture):
    answer = client.post("/restore", files={"image": picture()}, data={"bundle": "daclip"})
    assert answer.status_code == 422 and answer.json()["errors"][0]["field"] == "bundle"
    assert "a bundle that a worker has: toy" in answer.json()["detail"]
    assert service.queued()(lambda queue: queue.backlog("daclip")).total == 0


@pytest.mark.parametrize("form", FORMS)
def test_detect_returns_the_degradations(client, worker, picture, form):
    answer = client.post("/detect", **requests(picture)[form]())
    assert answer.status_code == 200
    assert answer.json()["degradations"] == [
        {"name": "noise", "probability": 0.75}, {"name": "blur", "probability": 0.2},
        {"name": "clean", "probability": 0.05},
    ]  # fmt: skip
    assert worker.leased[0].spec.kind == "detect"


def test_detect_without_a_worker_answers_202_and_refuses_controls(client, picture):
    answer = client.post("/detect", files={"image": picture()}, headers={"Prefer": "respond-async"})
    assert answer.status_code == 202 and answer.json()["kind"] == "detect"
    assert client.post("/detect?strength=1", files={"image": picture()}).status_code == 422


def test_the_worker_receives_the_bytes_and_the_spec(client, worker, picture, valkey):
    data = picture("jpeg", size=(40, 30))
    fields = {"deadline_s": "60", "lane": "bulk", "format": "png", "quality": "80", "metadata": "false"}
    headers = {"Prefer": "wait=20"}
    assert client.post("/restore", files={"image": data}, data=fields, headers=headers).status_code == 200
    spec = worker.leased[0].spec
    assert spec.source.format == "jpeg" and (spec.source.width_px, spec.source.height_px) == (40, 30)
    assert spec.source.bytes == len(data) and spec.lane == "bulk" and spec.owner is None
    assert spec.output.format == "png" and spec.output.quality == 80 and spec.output.metadata is False
    assert spec.deadline_ms - spec.submitted_ms == 60_000


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        ({"content": b"x", "headers": {"Content-Type": "text/plain"}}, 415, "unsupported-body"),
        ({"content": b"", "headers": {"Content-Type": "image/png"}}, 415, "not-an-image"),
        ({"content": b"{", "headers": {"Content-Type": "application/json"}}, 422, "invalid-request"),
        ({"json": []}, 422, "invalid-request"),
        ({"json": {"strength": 1}}, 422, "invalid-request"),
        ({"json": {"image_base64": "%%%"}}, 422, "invalid-request"),
        ({"data": {"image": "text"}, "files": {"other": b"x"}}, 422, "invalid-request"),
        ({"files": [("image", b"a"), ("image", b"b")]}, 422, "invalid-request"),
        ({"content": b"junk", "headers": {"Content-Type": "multipart/form-data; boundary=x"}}, 422, "invalid-request"),
        ({"content": b"junk", "headers": {"Content-Type": "multipart/form-data"}}, 422, "invalid-request"),
    ],
)
def test_a_body_without_an_image_is_refused(client, request_, status, code):
    answer = client.post("/restore", **request_)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_data_url_is_base64_too(client, picture):
    text = "data:image/png;base64," + base64.b64encode(picture()).decode()
    assert client.post("/restore", json={"image_base64": text}).status_code == 202
