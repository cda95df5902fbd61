"""API keys: when a key is required, and which jobs it sees."""

import asyncio

import pytest
from redis.asyncio import Redis

from jobs import api_keys


@pytest.fixture
def new_key(valkey):
    """Creates keys; returns id and secret."""

    def make(name="test"):
        async def create():
            async with Redis.from_url(valkey.url) as redis:
                return await api_keys.create(redis, name)

        return asyncio.run(create())

    return make


def bearer(key):
    return {"Authorization": f"Bearer {key[1]}"}


GUARDED = ["/jobs", "/limits", "/degradations", "/models", "/system", "/workers", "/queue"]
OPEN = ["/livez", "/startupz", "/readyz", "/docs", "/openapi.json"]


def required(client):
    """Whether the service requires a key by now; it caches the answer that no keys exist."""
    return client.get("/limits").status_code == 401


def test_a_key_is_required_as_soon_as_one_exists(client, new_key, eventually):
    assert client.get("/limits").status_code == 200
    key = new_key()
    eventually(lambda: required(client))
    answer = client.get("/limits")
    assert answer.json()["code"] == "unauthorized"
    assert answer.headers["www-authenticate"] == "Bearer"
    assert client.get("/limits", headers=bearer(key)).status_code == 200
    assert client.get("/limits", headers={"X-API-Key": key[1]}).status_code == 200


def test_revoking_the_last_key_does_not_open_the_service(client, new_key, valkey, eventually):
    key = new_key()
    eventually(lambda: required(client))

    async def revoke():
        async with Redis.from_url(valkey.url) as redis:
            await api_keys.revoke(redis, key[0])

    asyncio.run(revoke())
    assert client.get("/limits").status_code == 401
    assert client.get("/limits", headers=bearer(key)).status_code == 401


@pytest.mark.parametrize("path", GUARDED)
def test_every_route_except_those_for_the_platform_requires_a_key(serve, path):
    assert serve(auth="on").client.get(path).status_code == 401


@pytest.mark.parametrize("path", OPEN)
def test_the_platform_needs_no_key(serve, worker, path):
    assert serve(auth="on").client.get(path).status_code == 200


def test_authentication_that_is_off_ignores_existing_keys(serve, new_key):
    new_key()
    assert serve(auth="off").client.get("/limits").status_code == 200


@pytest.mark.parametrize("headers", [{"Authorization": "Bearer nonsense"}, {"Authorization": "Basic eA=="},
                                     {"X-API-Key": "ud_nope_nope"}])  # fmt: skip
def test_a_wrong_key_is_401(serve, headers):
    assert serve(auth="on").client.get("/limits", headers=headers).status_code == 401


def test_an_upload_without_a_key_is_refused_before_it_is_read(serve):
    sent = []

    def endless():
        for _ in range(400):
            sent.append(50_000)
            yield bytes(50_000)

    answer = serve(auth="on").client.post("/restore", content=endless(), headers={"Content-Type": "image/png"})
    assert answer.status_code == 401 and sum(sent) < 15_000_000


def test_a_key_sees_its_own_jobs_only(client, worker, new_key, picture):
    mine, other = new_key("mine"), new_key("other")
    job = client.post("/restore", files={"image": picture()}, headers={**bearer(mine), "Prefer": "wait=20"}).json()
    client.post("/restore", files={"image": picture()}, headers=bearer(other))
    for path in ("", "/result", "/passes/1/image", "/events"):
        assert client.get(f"/jobs/{job['id']}{path}", headers=bearer(mine)).status_code == 200
        answer = client.get(f"/jobs/{job['id']}{path}", headers=bearer(other))
        assert answer.status_code == 404 and answer.json()["code"] == "no-such-job"
    assert client.delete(f"/jobs/{job['id']}", headers=bearer(other)).status_code == 404
    assert [entry["id"] for entry in client.get("/jobs", headers=bearer(mine)).json()["jobs"]] == [job["id"]]


def test_a_page_contains_a_keys_own_jobs_among_the_jobs_of_others(client, new_key, picture):
    mine, other = new_key("mine"), new_key("other")
    own = []
    for i in range(12):
        key = mine if i % 4 == 0 else other
        job = client.post("/restore", files={"image": picture()}, headers=bearer(key)).json()
        own += [job["id"]] if key is mine else []
    listed, cursor = [], None
    for _ in range(20):
        params = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = client.get("/jobs", params=params, headers=bearer(mine)).json()
        listed += [job["id"] for job in page["jobs"]]
        if (cursor := page["next"]) is None:
            break
    assert listed == own[::-1]
