"""Every refusal is an RFC 9457 problem with a stable code, and every response has a request id."""

import re

import pytest
import structlog

from service import refusals
from service.refusals import Refusal


def tree(kind):
    """A class and all its subclasses."""
    return [kind, *(below for child in kind.__subclasses__() for below in tree(child))]


def test_no_two_refusals_share_a_code_and_each_has_a_status():
    codes = [kind.code for kind in tree(Refusal)]
    assert len(set(codes)) == len(codes)
    assert all(400 <= kind.status < 600 for kind in tree(Refusal))


def test_the_docstring_shows_the_tree_of_refusals():
    drawn = re.findall(r"[├└]── ([A-Z]\w+)", refusals.__doc__)
    assert sorted(drawn) == sorted(kind.__name__ for kind in tree(refusals.ServiceError)[1:])
    lines = dict(re.findall(r"[├└]── (\w+) +(?:\d{3} )?([a-z-]+)", refusals.__doc__))
    assert {kind.__name__: kind.code for kind in tree(Refusal)[1:]} == {
        name: code for name, code in lines.items() if name not in ("UnsafeBinding", "Refusal")
    }


@pytest.mark.parametrize(("method", "path", "status", "code"), [
    ("GET", "/nowhere", 404, "not-found"), ("PUT", "/restore", 405, "method-not-allowed"),
    ("GET", "/jobs?limit=0", 422, "invalid-request"), ("GET", "/jobs/", 404, "not-found"),
])  # fmt: skip
def test_errors_of_the_framework_are_problems_too(client, method, path, status, code):
    answer = client.request(method, path)
    problem = answer.json()
    assert answer.status_code == status and answer.headers["content-type"] == "application/problem+json"
    assert problem["status"] == status and problem["code"] == code and problem["hint"] and problem["detail"]
    assert problem["type"] == f"/problems/{code}" and problem["title"]
    assert problem["request_id"] == answer.headers["x-request-id"]


def test_a_method_that_is_not_allowed_lists_the_allowed_methods(client):
    assert client.put("/restore").headers["allow"] == "OPTIONS, POST"
    assert client.put("/jobs/" + "0" * 32).headers["allow"] == "DELETE, GET, HEAD, OPTIONS"


def test_options_lists_the_methods_of_a_path_without_a_key(client):
    answer = client.options("/jobs/" + "0" * 32)
    assert (answer.status_code, answer.headers["allow"]) == (204, "DELETE, GET, HEAD, OPTIONS")
    assert client.options("/nowhere").status_code == 404


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/docs", "/openapi.json", "/limits", "/jobs", "/jobs/x/result"])
def test_head_has_the_status_and_the_headers_of_get(client, path):
    get, head = client.get(path), client.head(path)
    of_a_request = {"x-request-id", "date"}
    assert head.status_code == get.status_code and not head.content
    assert {name: value for name, value in head.headers.items() if name not in of_a_request | {"content-length"}} == {
        name: value for name, value in get.headers.items() if name not in of_a_request | {"content-length"}
    }


def test_a_valid_request_id_is_kept_and_an_invalid_one_is_replaced(client):
    assert client.get("/livez", headers={"X-Request-Id": "abc-123"}).headers["x-request-id"] == "abc-123"
    for invalid in ("a b", "x" * 129, "<script>", ""):
        given = client.get("/livez", headers={"X-Request-Id": invalid}).headers["x-request-id"]
        assert re.fullmatch(r"[0-9a-f]{32}", given)


def test_an_unexpected_error_is_a_problem_without_internal_details(service):
    async def broken(*arguments):
        raise ZeroDivisionError("secret")

    service.app.state.desk.find = broken
    answer = service.client.get("/jobs/" + "0" * 32)
    assert answer.status_code == 500 and answer.json()["code"] == "internal" and "secret" not in answer.text
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert service.client.get("/livez").status_code == 200


def test_an_unavailable_store_is_503(service, picture):
    from jobs.errors import StoreError

    async def away(*arguments):
        raise StoreError("no bucket")

    service.app.state.desk.store.put = away
    service.app.state.desk.store.beside_queue = False  # as an object store's
    answer = service.client.post("/restore", files={"image": picture()})
    assert answer.status_code == 503 and answer.json()["code"] == "store-unavailable"


def test_the_log_contains_the_request_id_and_the_path_template(client, eventually):
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        client.get("/jobs/" + "0" * 32, headers={"X-Request-Id": "look-for-me"})
        ended = eventually(lambda: [line for line in lines if line["event"] == "request.ended"])
    assert (ended[0]["route"], ended[0]["status"]) == ("GET /jobs/{job_id}", 404)
    assert ended[0]["request_id"] == "look-for-me"
