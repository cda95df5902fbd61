"""The service on two real Redis servers, of which a test may kill one."""

from dataclasses import replace

import pytest

from jobs.shards.numbers import numbered, shard_of

PNG = {"content-type": "image/png"}


@pytest.fixture
def sharded(two_valkeys, serve):
    """A service on both servers, whose store is Redis."""
    return serve(redis_url=" ".join(server.url for server in two_valkeys), store_url="redis://")


@pytest.fixture
def submit(sharded, picture):
    """Submits an image and returns the id of its job."""

    def post(**headers: str) -> str:
        answer = sharded.client.post("/restore", content=picture(), headers={**PNG, **headers})
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    return post


def on_each_shard(submit, count: int = 4) -> dict[int, list[str]]:
    """Submits until each shard has some jobs; equal backlogs are chosen by chance, and the emptier one goes first."""
    found: dict[int, list[str]] = {0: [], 1: []}
    while min(map(len, found.values())) < count:
        job = submit()
        found[shard_of(job)].append(job)
    return found


def test_new_jobs_go_to_the_emptier_server_and_are_found_by_their_ids(sharded, submit):
    ids = [submit() for _ in range(8)]
    assert sorted(map(shard_of, ids)) == [0, 0, 0, 0, 1, 1, 1, 1]
    for job in ids:
        assert sharded.client.get(f"/jobs/{job}").json()["id"] == job
    listed = sharded.client.get("/jobs").json()
    assert {job["id"] for job in listed["jobs"]} == set(ids) and listed["missing_shards"] == []
    assert sharded.client.get("/system").json()["queued"]["standard"] == 8


def test_pages_of_a_list_have_each_job_once_newest_first(sharded, submit):
    ids = [submit() for _ in range(9)]
    seen, cursor = [], None
    while True:
        page = sharded.client.get("/jobs", params={"limit": 2, **({"cursor": cursor} if cursor else {})}).json()
        seen += [job["id"] for job in page["jobs"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert sorted(seen) == sorted(ids)
    made = [job[:12] for job in seen]  # the milliseconds in the ids
    assert made == sorted(made, reverse=True)


def test_jobs_of_both_servers_are_done_and_their_images_fetched(sharded, submit, toy, two_valkeys, eventually):
    for server in two_valkeys:
        toy(url=server.url)
    jobs = on_each_shard(submit, 2)
    for job in (*jobs[0], *jobs[1]):
        assert sharded.client.get(f"/jobs/{job}", params={"wait": 20}).json()["status"] == "succeeded"
        assert sharded.client.get(f"/jobs/{job}/result").headers["content-type"] == "image/png"
        assert "completed" in sharded.client.get(f"/jobs/{job}/events").text
        assert sharded.client.delete(f"/jobs/{job}").status_code == 204
    assert sharded.client.get("/jobs").json()["jobs"] == []


def test_while_a_server_is_down_only_its_jobs_wait(sharded, submit, two_valkeys, eventually, toy):
    client, jobs = sharded.client, on_each_shard(submit)
    two_valkeys[1].kill()
    eventually(lambda: client.get("/jobs").json()["missing_shards"] == [1])

    assert client.get(f"/jobs/{jobs[0][0]}").status_code == 200
    away = client.get(f"/jobs/{jobs[1][0]}")
    assert away.status_code == 503 and "shard 1 is away" in away.json()["detail"] and "Retry-After" in away.headers
    assert {job["id"] for job in client.get("/jobs").json()["jobs"]} == set(jobs[0])
    assert {shard_of(submit()) for _ in range(4)} == {0}
    assert any(
        "shard 1 is away" in note for note in client.get("/readyz", params={"exclude": "worker"}).json()["notes"]
    )
    assert client.get("/readyz", params={"exclude": "worker"}).status_code == 200
    toy(url=two_valkeys[0].url)
    assert client.get(f"/jobs/{jobs[0][0]}", params={"wait": 20}).json()["status"] == "succeeded"

    two_valkeys[1].start()
    eventually(lambda: client.get(f"/jobs/{jobs[1][0]}").status_code == 200)
    assert set(jobs[1]) <= {job["id"] for job in client.get("/jobs").json()["jobs"]}


def test_without_any_server_a_job_is_refused_with_the_reason(sharded, picture, two_valkeys, eventually):
    for server in two_valkeys:
        server.kill()
    eventually(lambda: sharded.client.get("/readyz").status_code == 503)
    refused = sharded.client.post("/restore", content=picture(), headers=PNG)
    assert refused.status_code == 503 and refused.json()["code"] == "redis-unavailable"
    for server in two_valkeys:
        server.start()


def test_an_id_of_an_unknown_shard_is_404_with_the_reason(sharded, submit):
    unknown = numbered(submit()[:12] + "7" + "0" * 3 + "8" + "0" * 15, 9)
    for path in (f"/jobs/{unknown}", f"/batches/{unknown}", f"/jobs/{unknown}/result", f"/jobs/{unknown}/events"):
        answer = sharded.client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "no-such-shard")
        assert answer.json()["detail"] == "there is no shard 9; this service has 0, 1"


def test_a_repeated_request_finds_its_job_wherever_other_jobs_go(sharded, submit):
    for number in range(6):
        key = {"Idempotency-Key": f"key-{number}"}
        assert len({submit(**key) for _ in range(3)}) == 1


def test_a_key_whose_server_is_down_gets_503_and_later_its_first_job(sharded, submit, two_valkeys, picture, eventually):
    client, number = sharded.client, 0
    while shard_of(first := submit(**{"Idempotency-Key": f"key-{number}"})) != 1:
        number += 1
    key = {"Idempotency-Key": f"key-{number}", **PNG}
    two_valkeys[1].kill()
    eventually(lambda: client.get("/jobs").json()["missing_shards"] == [1])
    refused = client.post("/restore", content=picture(), headers=key)
    assert refused.status_code == 503 and int(refused.headers["Retry-After"]) >= 1
    two_valkeys[1].start()
    eventually(lambda: client.get("/jobs").json()["missing_shards"] == [])
    again = client.post("/restore", content=picture(), headers=key)
    assert again.json()["id"] == first and again.headers["Idempotency-Replayed"] == "true"


def test_a_claim_is_found_after_a_shard_is_added(two_valkeys, serve, picture):
    """Each key of the first server is looked for there, also where the second would take it now."""
    before = serve(redis_url=two_valkeys[0].url, store_url="redis://")
    jobs = [
        before.client.post("/restore", content=picture(), headers={**PNG, "Idempotency-Key": str(number)}).json()["id"]
        for number in range(6)
    ]
    after = serve(redis_url=" ".join(server.url for server in two_valkeys), store_url="redis://")
    for number, job in enumerate(jobs):
        again = after.client.post("/restore", content=picture(), headers={**PNG, "Idempotency-Key": str(number)})
        assert again.json()["id"] == job
        assert after.client.get(f"/jobs/{job}").status_code == 200


def test_a_batch_and_its_jobs_are_on_one_server(sharded, picture):
    files = [("image", (f"{number}.png", picture())) for number in range(3)]
    for _ in range(3):
        batch = sharded.client.post("/batches", files=files).json()
        assert {shard_of(item["job_id"]) for item in batch["items"]} == {shard_of(batch["id"])}
        assert sharded.client.get(f"/batches/{batch['id']}").json()["id"] == batch["id"]
    assert len(sharded.client.get("/batches").json()["batches"]) == 3


def test_the_quota_of_jobs_counts_on_both_servers_together(two_valkeys, serve, picture):
    url = " ".join(server.url for server in two_valkeys)
    service = serve(redis_url=url, store_url="redis://", quotas={"jobs": "5"})
    answers = [service.client.post("/restore", content=picture(), headers=PNG) for _ in range(7)]
    assert [answer.status_code for answer in answers] == [202] * 5 + [429] * 2
    assert {shard_of(answer.json()["id"]) for answer in answers[:5]} == {0, 1}
    assert service.client.delete(f"/jobs/{answers[0].json()['id']}").status_code == 200
    assert service.client.post("/restore", content=picture(), headers=PNG).status_code == 202


def test_a_server_under_another_number_is_not_used(two_valkeys, serve, eventually):
    urls = [server.url for server in two_valkeys]
    first = serve(redis_url=" ".join(urls), store_url="redis://")
    assert first.client.get("/jobs").json()["missing_shards"] == []
    swapped = serve(redis_url=f"{urls[0]} {urls[1]}?shard=7", store_url="redis://")
    answer = swapped.client.get("/system").json()
    assert "its server is shard 1, not 7" in str(answer["problems"])
    assert swapped.client.get("/jobs").json()["missing_shards"] == [7]


def test_one_plain_url_makes_ids_as_before(service, picture):
    job = service.client.post("/restore", content=picture(), headers=PNG).json()["id"]
    assert job[12] == "7" and shard_of(job) == 0
    assert replace(service.settings).redis_url.count("shard") == 0
