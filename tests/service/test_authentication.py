"""API keys: who may come in, and whose jobs he sees."""

import asyncio
import time

import pytest
from redis.asyncio import Redis

from jobs import api_keys
from service.authentication import UNASKED_S
from service.listen_address import check_binding
from service.refusals import UnsafeBinding


@pytest.fixture
def new_key(valkey):
    """Makes keys; returns id and secret."""

    def make(name="test"):
        async def create():
            async with Redis.from_url(valkey.url) as redis:
                return await api_keys.create(redis, name)

        return asyncio.run(create())

    return make


def bearer(key):
    return {"Authorization": f"Bearer {key[1]}"}


GUARDED = ["/jobs", "/limits", "/degradations", "/models", "/system"]
OPEN = ["/livez", "/startupz", "/readyz", "/docs", "/openapi.json"]


def test_without_keys_everyone_may_come_in_until_there_is_one(client, new_key):
    assert client.get("/limits").status_code == 200
    key = new_key()
    time.sleep(UNASKED_S)
    answer = client.get("/limits")
    assert answer.status_code == 401 and answer.json()["code"] == "unauthorized"
    assert answer.headers["www-authenticate"] == "Bearer"
    assert client.get("/limits", headers=bearer(key)).status_code == 200
    assert client.get("/limits", headers={"X-API-Key": key[1]}).status_code == 200


def test_to_revoke_the_last_key_does_not_open_the_door(client, new_key, valkey):
    key = new_key()
    time.sleep(UNASKED_S)
    assert client.get("/limits").status_code == 401

    async def revoke():
        async with Redis.from_url(valkey.url) as redis:
            await api_keys.revoke(redis, key[0])

    asyncio.run(revoke())
    assert client.get("/limits").status_code == 401
    assert client.get("/limits", headers=bearer(key)).status_code == 401


@pytest.mark.parametrize("path", GUARDED)
def test_every_route_but_those_for_the_platform_asks_for_a_key(serve, path):
    assert serve(auth="on").client.get(path).status_code == 401


@pytest.mark.parametrize("path", OPEN)
def test_the_platform_needs_no_key(serve, worker, path):
    assert serve(auth="on").client.get(path).status_code == 200


def test_off_means_off(serve, new_key):
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


def test_a_page_of_own_jobs_is_found_among_those_of_others(client, new_key, picture):
    mine, other = new_key("mine"), new_key("other")
    own = []
    for i in range(12):
        key = mine if i % 4 == 0 else other
        job = client.post("/restore", files={"image": picture()}, headers=bearer(key)).json()
        own += [job["id"]] if key is mine else []
    seen, cursor = [], None
    for _ in range(20):
        said = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = client.get("/jobs", params=said, headers=bearer(mine)).json()
        seen += [job["id"] for job in page["jobs"]]
        if (cursor := page["next"]) is None:
            break
    assert seen == own[::-1]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "[::1]", "localhost", "127.8.9.1"])
def test_loopback_needs_no_key(host):
    check_binding(host, "auto", any_key=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "", "example.org"])
def test_the_network_needs_a_key_or_an_explicit_off(host):
    with pytest.raises(UnsafeBinding, match="without an API key"):
        check_binding(host, "auto", any_key=False)
    with pytest.raises(UnsafeBinding):
        check_binding(host, "on", any_key=False)
    check_binding(host, "auto", any_key=True)
    check_binding(host, "off", any_key=False)
