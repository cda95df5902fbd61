"""Every route declares the scope that it needs, and refuses keys without it, expired keys, and no key."""

import asyncio

import pytest
from fastapi.routing import APIRoute
from redis.asyncio import Redis

from jobs import api_keys
from service.app import create_app
from service.authentication import declared_scope
from service.settings import ServiceSettings

PUBLIC = {
    "/livez",
    "/readyz",
    "/startupz",
    "/docs",
    "/openapi.json",
    "/",
    "/web/{path:path}",
    "/problems",
    "/problems/{code}",
}
"""The routes that need no key.  A new route that needs none belongs here."""


def leaves(routes):
    """Every route below included routers and mounts."""
    for route in routes:
        below = getattr(getattr(route, "original_router", route), "routes", None)
        if below:
            yield from leaves(below)
        else:
            yield route


ROUTES = list(leaves(create_app(ServiceSettings(redis_url="unix:///nowhere", store_url="memory://")).routes))
GUARDED = [
    (method, route)
    for route in ROUTES
    if isinstance(route, APIRoute) and route.path not in PUBLIC
    for method in sorted(route.methods)
]
IDS = [f"{method} {route.path}" for method, route in GUARDED]
guarded = pytest.mark.parametrize(("method", "route"), GUARDED, ids=IDS)
OTHERS = {"read": ("restore",), "restore": ("read",), "admin": ("restore", "read")}
"""By scope, the scopes of a key that lacks it."""
EXPECTED = {
    "GET /jobs": "read", "GET /jobs/{job_id}": "read", "GET /jobs/{job_id}/result": "read",
    "GET /jobs/{job_id}/events": "read", "GET /jobs/{job_id}/passes/{number}/image": "read", "POST /restore": "restore",
    "POST /detect": "restore", "DELETE /jobs/{job_id}": "restore", "GET /limits": "any", "GET /system": "any",
    "GET /workers": "admin", "GET /queue": "admin", "DELETE /queue": "admin", "POST /workers/{name}/drain": "admin",
}  # fmt: skip


@pytest.fixture
def request_of(serve):
    """Sends a request to a route of a service that needs a key."""
    client = serve(auth="on").client

    def send(method, route, headers):
        path = route.path.replace("{job_id}", "0" * 32).replace("{batch_id}", "0" * 32).replace("{number}", "1")
        path = path.replace("{name}", "toy").replace("{lane}", "bulk")
        return client.request(method, path, headers=headers)

    return send


@guarded
def test_a_route_declares_a_scope(method, route):
    scope = declared_scope(route, method)
    assert scope in ("any", "read", "restore", "admin"), (
        "use a dependency of service.authentication, or list it in PUBLIC"
    )
    assert scope == EXPECTED.get(f"{method} {route.path}", scope)


def test_the_expected_scopes_are_those_of_routes():
    assert set(IDS) >= set(EXPECTED)
    assert {route.path for route in ROUTES if not isinstance(route, APIRoute)} <= PUBLIC, "no key is asked for there"


def test_no_key_and_an_expired_key_are_401_on_every_route(request_of, new_key):
    expired = new_key(scopes=("admin",), expires_ms=1)
    for method, route in GUARDED:
        assert request_of(method, route, {}).json()["code"] == "unauthorized", route.path
        answer = request_of(method, route, expired)
        assert (answer.status_code, answer.json()["code"]) == (401, "key-expired"), route.path
        assert "expired" in answer.json()["detail"] and answer.headers["www-authenticate"] == "Bearer"


def test_a_key_without_the_scope_is_403_on_every_route_and_the_problem_names_the_scope(request_of, new_key):
    keys = {scope: new_key(scopes=scopes) for scope, scopes in OTHERS.items()}
    for method, route in GUARDED:
        scope = declared_scope(route, method)
        if scope == "any":
            assert request_of(method, route, keys["read"]).status_code == 200, route.path
            continue
        answer = request_of(method, route, keys[scope])
        problem = answer.json()
        assert (answer.status_code, problem["code"], problem["scope"]) == (403, "forbidden", scope), route.path
        assert f"expected {scope}" in problem["detail"] and f"--scope {scope}" in problem["hint"]


def test_a_key_with_the_scope_and_an_admin_key_are_let_in_on_every_route(request_of, new_key):
    keys = {scope: new_key(scopes=(scope,)) for scope in OTHERS}
    for method, route in GUARDED:
        for key in (keys[{"any": "read"}.get(scope := declared_scope(route, method), scope)], keys["admin"]):
            assert request_of(method, route, key).status_code not in (401, 403), route.path


def test_a_key_that_only_restores_gets_the_image_in_the_same_request(serve, new_key, worker, picture, until_ready):
    client, headers = serve(auth="on").client, new_key(scopes=("restore",))
    until_ready(client)
    answer = client.post("/restore", files={"image": picture()}, headers={**headers, "Accept": "image/*"})
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/png"
    assert client.get(f"/jobs/{answer.headers['x-job-id']}", headers=headers).status_code == 403
    assert client.delete(f"/jobs/{answer.headers['x-job-id']}", headers=headers).status_code == 204


def test_the_last_use_is_written_without_delaying_the_request(serve, new_key, eventually, valkey):
    async def last_used():
        async with Redis.from_url(valkey.url) as redis:
            return (await api_keys.list_keys(redis))[0].last_used_ms

    client, headers = serve(auth="on").client, new_key()
    assert client.get("/limits", headers=headers).status_code == 200
    assert eventually(lambda: asyncio.run(last_used()))
