"""Every route that needs a key answers an `Accept` without its types with 406, and any other `Accept` as usual."""

import asyncio

import pytest
from redis.asyncio import Redis

from jobs import api_keys
from service.app import create_app
from service.settings import ServiceSettings

DOCUMENT = create_app(ServiceSettings(redis_url="unix:///nowhere", store_url="memory://")).openapi()
PARTS = {"{job_id}": "0" * 32, "{batch_id}": "0" * 32, "{number}": "1", "{name}": "toy", "{lane}": "bulk"}
WITH_AN_IMAGE = {"/jobs/{job_id}/result", "/jobs/{job_id}/passes/{number}/image"}
"""They need a job with images: tests/service/test_every_route.py, and below."""
NOTHING = "application/x-nothing"


def operations(needs_key):
    for template, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            if ("security" in operation) is needs_key:
                returned = {
                    media_type
                    for status, response in operation["responses"].items()
                    if status.startswith("2")
                    for media_type in response.get("content", {})
                }
                yield method.upper(), template, sorted(returned)


def path_of(template):
    for part, value in PARTS.items():
        template = template.replace(part, value)
    return template


@pytest.fixture
def ask(serve, valkey):
    """Sends a request with an admin key and an `Accept`."""

    async def admin_key():
        async with Redis.from_url(valkey.url) as redis:
            return (await api_keys.create(redis, "test", "admin"))[1]

    key, client = asyncio.run(admin_key()), serve(auth="on").client
    return lambda method, path, accept: client.request(method, path, headers={"X-API-Key": key, "Accept": accept})


def test_each_route_answers_406_exactly_where_accept_has_none_of_its_types(ask):
    asked = 0
    for method, template, returned in operations(needs_key=True):
        path, groups = path_of(template), {f"{kind.partition('/')[0]}/*" for kind in returned}
        for accept in (*returned, *groups, "*/*", "", "text/html, */*;q=0.1"):
            assert ask(method, path, accept).status_code not in (406, 500), (method, path, accept)
        if template in WITH_AN_IMAGE:
            continue
        for accept in (NOTHING, "text/html", ",".join(f"{kind};q=0" for kind in returned)):
            answer = ask(method, path, accept)
            assert (answer.status_code, answer.json()["code"]) == (406, "not-acceptable"), (method, path, accept)
            assert answer.headers["content-type"] == "application/problem+json"
            asked += 1
        assert "406" in DOCUMENT["paths"][template][method.lower()]["responses"]
    assert asked > 60


def test_a_route_without_a_key_answers_whatever_is_accepted(ask):
    for method, template, _ in operations(needs_key=False):
        assert ask(method, template, NOTHING).status_code in (200, 503), template


def test_a_key_comes_before_accept(serve):
    client = serve(auth="on").client
    assert client.get("/jobs", headers={"Accept": NOTHING}).status_code == 401


def test_several_accept_headers_are_one_list(client):
    several = [("Accept", "text/html"), ("Accept", "application/json")]
    assert client.get("/limits", headers=several).status_code == 200


def test_nothing_is_done_for_a_client_that_would_not_read_the_answer(client, submitted, valkey, picture):
    job = submitted()["id"]
    assert client.delete(f"/jobs/{job}", headers={"Accept": NOTHING}).status_code == 406
    assert client.get(f"/jobs/{job}").json()["status"] == "queued"
    sent = client.post("/batches", files=[("image", ("a.png", picture()))], headers={"Accept": NOTHING})
    assert sent.status_code == 406 and client.get("/batches").json()["batches"] == []


def test_a_picture_of_a_pass_is_sent_as_it_is_or_refused(client, submitted, worker, eventually):
    job = submitted()["id"]
    eventually(lambda: client.get(f"/jobs/{job}").json()["status"] == "succeeded")
    path = f"/jobs/{job}/passes/1/image"
    assert client.get(path, headers={"Accept": "image/png"}).headers["content-type"] == "image/png"
    refused = client.get(path, headers={"Accept": "image/jpeg"})
    assert (refused.status_code, refused.json()["code"]) == (406, "not-acceptable")
