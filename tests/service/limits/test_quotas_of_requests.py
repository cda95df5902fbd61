"""Requests, jobs, megapixels and waits over a quota, as a client sees them; the headers by the rules of RFC 9651."""

import asyncio
import time

import http_sf
import httpx

from jobs.quotas import DAY_S


def listed(text):
    """A header as a list of structured fields: {policy: parameters}."""
    members = http_sf.parse(text.encode(), tltype="list")
    assert all(isinstance(name, str) for name, _ in members)
    return {str(name): dict(parameters) for name, parameters in members}


def test_the_headers_of_a_caller_without_quotas_are_absent(client):
    assert not {"ratelimit", "ratelimit-policy"} & client.get("/limits").headers.keys()


def test_every_answer_names_the_quotas_and_what_is_left(serve, new_key, picture):
    client = serve(auth="on").client
    headers = new_key("requests=100/h", "burst=5", "jobs=3", "megapixels=2/day", "waits=4")
    answer = client.get("/limits", headers=headers)
    policy = {
        "requests": {"q": 5, "w": 180}, "jobs": {"q": 3, "qu": "jobs"},
        "megapixels": {"q": 2, "w": DAY_S, "qu": "megapixels"}, "waits": {"q": 4, "qu": "concurrent-requests"},
    }  # fmt: skip
    assert listed(answer.headers["ratelimit-policy"]) == policy
    left = listed(answer.headers["ratelimit"])
    assert {name: parameters["r"] for name, parameters in left.items()} == {
        "requests": 4, "jobs": 3, "megapixels": 2, "waits": 4,
    }  # fmt: skip
    assert left["requests"]["t"] == 36 and 0 < left["megapixels"]["t"] <= DAY_S and "t" not in left["jobs"]
    sent = client.post("/restore", files={"image": picture(size=(1200, 1000))}, headers=headers)
    left = listed(sent.headers["ratelimit"])
    assert sent.status_code == 202
    assert (left["requests"]["r"], left["jobs"]["r"], left["megapixels"]["r"]) == (3, 2, 0)
    missing = client.get("/jobs/" + "0" * 32, headers=headers)
    assert missing.status_code == 404 and listed(missing.headers["ratelimit"])["requests"]["r"] == 2


def test_a_burst_is_answered_and_the_next_request_is_429_until_retry_after(serve, new_key):
    client, headers = serve(auth="on").client, new_key("requests=1/s", "burst=3")
    answers = [client.get("/limits", headers=headers) for _ in range(4)]
    statuses = [answer.status_code for answer in answers]
    while statuses[-1] != 429:  # a slow machine lets the bucket refill meanwhile
        answers.append(client.get("/limits", headers=headers))
        statuses.append(answers[-1].status_code)
    refused = answers[-1]
    assert statuses[:3] == [200] * 3 and refused.json()["code"] == "rate-limited" and refused.json()["hint"]
    assert refused.headers["content-type"] == "application/problem+json" and refused.headers["retry-after"] == "1"
    assert listed(refused.headers["ratelimit"])["requests"]["r"] == 0
    time.sleep(int(refused.headers["retry-after"]))
    assert client.get("/limits", headers=headers).status_code == 200


def test_an_unlimited_key_beside_a_limited_one_feels_nothing(serve, new_key):
    client, other = serve(auth="on", quotas={"requests": "1/h"}).client, new_key("requests=unlimited")
    limited = new_key()
    assert [client.get("/limits", headers=limited).status_code for _ in range(2)] == [200, 429]
    for _ in range(5):
        answer = client.get("/limits", headers=other)
        assert answer.status_code == 200 and "ratelimit" not in answer.headers


def test_without_keys_all_callers_share_the_quotas_of_the_settings(serve, picture):
    client = serve(auth="off", quotas={"jobs": "2"}).client
    answers = [client.post("/restore", files={"image": picture()}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert answers[2].json()["code"] == "quota-jobs" and int(answers[2].headers["retry-after"]) >= 1
    assert client.get("/livez").status_code == 200 and "ratelimit" not in client.get("/livez").headers
    client.delete(f"/jobs/{answers[0].json()['id']}")
    assert client.post("/restore", files={"image": picture()}).status_code == 202


def test_megapixels_over_the_quota_of_a_day_are_429_until_midnight(serve, new_key, picture):
    client, headers = serve(auth="on").client, new_key("megapixels=1/day")

    def send(size):
        return client.post("/restore", files={"image": picture(size=size)}, headers=headers)

    too_large = send((1001, 1000))
    assert (too_large.status_code, too_large.json()["code"]) == (429, "quota-megapixels")
    assert "retry-after" not in too_large.headers and "a retry cannot succeed" in too_large.json()["hint"]
    assert [send(size).status_code for size in ((600, 1000), (600, 1000), (400, 1000))] == [202, 429, 202]
    refused = send((1, 1))
    midnight_s = DAY_S - time.time() % DAY_S
    assert refused.status_code == 429 and "00:00 UTC" in refused.json()["hint"]
    assert abs(int(refused.headers["retry-after"]) - midnight_s) < 30 or midnight_s < 30


def test_a_submission_that_is_refused_for_another_reason_costs_no_megapixels(serve, new_key, picture):
    client, headers = serve(auth="on", max_queued=1).client, new_key("megapixels=2/day")
    codes = []
    for size in ((100, 100), (1000, 1000), (1000, 1000)):
        answer = client.post("/restore", files={"image": picture(size=size)}, headers=headers)
        codes.append(answer.json().get("code"))
    assert codes == [None, "queue-full", "queue-full"]
    bad = client.post("/restore", files={"image": b"no image"}, headers=headers)
    assert bad.status_code == 415 and listed(bad.headers["ratelimit"])["megapixels"]["r"] == 1, "1.99 are left"


def test_an_upload_over_a_quota_is_refused_before_it_is_read(serve, new_key, picture):
    client, headers = serve(auth="on").client, new_key("jobs=1")
    assert client.post("/restore", files={"image": picture()}, headers=headers).status_code == 202
    sent = []

    def endless():
        for _ in range(400):
            sent.append(50_000)
            yield bytes(50_000)

    answer = client.post("/restore", content=endless(), headers={**headers, "Content-Type": "image/png"})
    assert answer.json()["code"] == "quota-jobs" and sum(sent) < 15_000_000


def test_waits_over_the_quota_are_429_in_every_form_and_end_with_their_requests(serve, new_key, picture, eventually):
    service, headers = serve(auth="on"), new_key("waits=1")
    client = service.client
    job = client.post("/restore", files={"image": picture()}, headers=headers).json()
    batch = client.post("/batches", files={"image": picture()}, headers=headers).json()

    def open_waits():
        left = listed(client.get("/limits", headers=headers).headers["ratelimit"])
        return 1 - left["waits"]["r"]

    with client.stream("GET", f"/jobs/{job['id']}/events", headers=headers) as stream:
        lines = stream.iter_lines()
        assert next(lines)
        assert open_waits() == 1
        for method, path, more in [
            ("GET", f"/jobs/{job['id']}?wait=5", {}), ("GET", f"/jobs/{job['id']}/events", {}),
            ("GET", f"/batches/{batch['id']}/events", {}), ("GET", f"/batches/{batch['id']}/results.zip", {}),
            ("POST", "/restore", {"Prefer": "wait=5"}),
        ]:  # fmt: skip
            files = {"image": picture()} if method == "POST" else None
            answer = client.request(method, path, headers={**headers, **more}, files=files)
            assert (answer.status_code, answer.json()["code"]) == (429, "too-many-waits"), path
            assert answer.headers["retry-after"]
        assert client.get(f"/jobs/{job['id']}", headers=headers).status_code == 200
    eventually(lambda: open_waits() == 0)
    answer = client.get(f"/jobs/{job['id']}?wait=0.1", headers=headers)
    assert answer.status_code == 200
    eventually(lambda: open_waits() == 0)


def test_refusals_are_counted_by_quota(serve, new_key, eventually):
    service, headers = serve(auth="on", metrics_port=0), new_key("requests=1/h")
    for _ in range(3):
        service.client.get("/limits", headers=headers)
    page = httpx.get(f"http://127.0.0.1:{service.app.state.metrics_port}/metrics").text
    assert 'undegrade_quota_refusals_total{quota="requests"} 2.0' in page
    assert 'undegrade_quota_refusals_total{quota="jobs"} 0.0' in page


def test_a_limited_request_costs_one_more_round_trip_to_redis_and_an_unlimited_one_none(serve, new_key):
    service = serve(auth="on")
    redis, sent = service.app.state.desk.queue.redis, []
    execute = redis.execute_command

    async def counted(*words, **options):
        sent.append(words[0])
        return await execute(*words, **options)

    free, limited = new_key(), new_key("requests=1000/s", "jobs=5", "megapixels=5/day", "waits=5")
    for headers in (free, limited):  # the last use is written once, and the script loaded
        service.client.get("/limits", headers=headers)
    asyncio.run(asyncio.sleep(0.2))
    redis.execute_command = counted

    def commands(headers):
        """The commands of the request; upkeep of the service can only add some, and not to each of five."""
        tries = []
        for _ in range(5):
            sent.clear()
            service.client.get("/limits", headers=headers)
            tries.append(list(sent))
        return min(tries, key=len)

    assert commands(free) == ["HGET"]
    assert commands(limited) == ["HGET", "EVALSHA"]


def test_while_redis_is_away_a_limited_request_fails_and_is_not_let_through(serve, mortal_valkey):
    client = serve(redis_url=mortal_valkey.url, auth="off", quotas={"requests": "1000/s"}).client
    assert client.get("/limits").status_code == 200
    mortal_valkey.kill()
    answer = client.get("/limits")
    assert (answer.status_code, answer.json()["code"]) == (503, "redis-unavailable")
    mortal_valkey.start()
    assert client.get("/limits").status_code == 200


def test_two_processes_admit_exactly_the_quota(two_processes, new_key, picture, at_once):
    image = picture(size=(1000, 1000))

    def sending(client, headers):
        return lambda: client.post("/restore", files={"image": image}, headers=headers).status_code

    for quota in ("jobs=7", "megapixels=7/day", "requests=7/h", "requests=unlimited"):
        headers = new_key(quota)
        statuses = at_once([sending(two_processes[i % 2], headers) for i in range(24)])
        admitted = 24 if quota == "requests=unlimited" else 7
        assert sorted(statuses) == [202] * admitted + [429] * (24 - admitted), quota
