"""404 and 405 are problems on every path and for every method, and a HEAD is a GET without its body."""

import pytest

from service.app import create_app
from service.settings import ServiceSettings

DOCUMENT = create_app(ServiceSettings(redis_url="unix:///nowhere", store_url="memory://")).openapi()
METHODS = {
    path.replace("{job_id}", "0" * 32).replace("{number}", "1").replace("{name}", "toy").replace("{lane}", "bulk"): {
        method.upper() for method in route
    }
    for path, route in DOCUMENT["paths"].items()
} | {"/docs": {"GET"}, "/openapi.json": {"GET"}}
ALL = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND")
UNKNOWN = ("/nowhere", "/jobs/", "/restore/x", "/ai/restore", "/%F0%9F%98%80", "/docs/../x")


def check_problem(answer, method, status, code):
    assert answer.status_code == status, (method, answer.url)
    assert answer.headers["content-type"] == "application/problem+json"
    if method == "HEAD":
        assert not answer.content
        return
    problem = answer.json()
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["hint"] and problem["request_id"] == answer.headers["x-request-id"]


def test_a_method_that_a_path_has_not_is_405_and_allow_lists_the_others(client):
    for path, methods in METHODS.items():
        allowed = methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())
        for method in set(ALL) - allowed:
            answer = client.request(method, path)
            check_problem(answer, method, 405, "method-not-allowed")
            assert answer.headers["allow"] == ", ".join(sorted(allowed)), path
        options = client.options(path)
        assert (options.status_code, options.headers["allow"]) == (204, ", ".join(sorted(allowed))), path


@pytest.mark.parametrize("path", UNKNOWN)
def test_an_unknown_path_is_404_for_every_method(client, path):
    for method in (*ALL, "OPTIONS"):
        check_problem(client.request(method, path), method, 404, "not-found")


def test_a_type_that_the_service_has_not_is_406_for_get_and_head(client, submitted, worker, eventually):
    job = submitted()["id"]
    eventually(lambda: client.get(f"/jobs/{job}").json()["status"] == "succeeded")
    for method in ("GET", "HEAD"):
        answer = client.request(method, f"/jobs/{job}/result", headers={"Accept": "text/html"})
        check_problem(answer, method, 406, "not-acceptable")
