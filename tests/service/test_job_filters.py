"""`GET /jobs` with filters, and what each kind of key sees."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from redis.asyncio import Redis

from jobs import api_keys


@pytest.fixture
def keys(service):
    """The headers of two restore keys and an admin key, with their ids."""

    async def create():
        async with Redis.from_url(service.settings.redis_url) as redis:
            scopes = (("restore", "read"), ("restore", "read"), ("admin",))
            made = [await api_keys.create(redis, f"key {number}", *own) for number, own in enumerate(scopes)]
            return [(key_id, {"Authorization": f"Bearer {secret}"}) for key_id, secret in made]

    return asyncio.run(create())


def ids(answer):
    assert answer.status_code == 200, answer.text
    return [job["id"] for job in answer.json()["jobs"]]


def test_a_job_shows_its_labels_and_is_found_by_them(client, submitted):
    red = submitted(labels="team=red,album=a:b")
    both = submitted(labels='{"team": "red", "step": "2"}')
    submitted()
    assert red["labels"] == {"team": "red", "album": "a:b"}
    assert ids(client.get("/jobs?label=team:red")) == [both["id"], red["id"]]
    assert ids(client.get("/jobs?label=team:red&label=album:a:b")) == [red["id"]]
    assert ids(client.get("/jobs?label=team:blue")) == []


def test_jobs_are_found_by_state_and_time(client, submitted):
    first, second = submitted(), submitted()
    client.delete(f"/jobs/{first['id']}")
    assert ids(client.get("/jobs?status=canceled")) == [first["id"]]
    assert ids(client.get("/jobs", params={"since": second["created_at"]}))[0] == second["id"]
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert ids(client.get("/jobs", params={"since": later})) == []


def test_pages_follow_each_other_by_their_cursor(client, submitted):
    jobs = [submitted(labels="k=v")["id"] for _ in range(5)]
    seen, cursor = [], None
    while cursor != "end":
        page = client.get("/jobs", params={"label": "k:v", "limit": 2, **({"cursor": cursor} if cursor else {})})
        seen += ids(page)
        cursor = page.json()["next"] or "end"
    assert seen == jobs[::-1]


@pytest.mark.parametrize(
    "query",
    ["label=team", "label=Team:x", "status=done", "since=yesterday", "since=2026-11-27T00:00:00", "since=0.5",
     "since=1795754702", "since=2026-11-27", "cursor=x",
     "cursor=5-", "limit=0", "label=a:" + "x" * 257, "status=queued&status=failed"],
)  # fmt: skip
def test_a_wrong_filter_is_422_and_named(client, query):
    answer = client.get(f"/jobs?{query}")
    assert answer.status_code == 422 and answer.json()["errors"][0]["field"] == query.partition("=")[0]


def test_a_key_lists_its_own_jobs_and_an_admin_key_all_without_prompts(client, keys, submitted):
    (_, her), (his_id, him), (_, admin) = keys
    hers = submitted(headers=her, prompt="my diary")
    his = submitted(headers=him, prompt="his diary")
    assert ids(client.get("/jobs", headers=her)) == [hers["id"]]
    assert client.get("/jobs", headers=her).json()["jobs"][0]["params"]["prompt"] == "my diary"
    answer = client.get("/jobs", headers=admin)
    assert ids(answer) == [his["id"], hers["id"]] and "diary" not in answer.text
    assert ids(client.get(f"/jobs?owner={his_id}", headers=admin)) == [his["id"]]
    assert client.get(f"/jobs?owner={his_id}", headers=her).status_code == 403
    assert ids(client.get(f"/jobs?owner={his_id}", headers=him)) == [his["id"]]
