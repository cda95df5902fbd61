"""Webhooks and results end to end: the API, a worker, a sender, and real receivers."""

import asyncio
import json

import httpx
import pytest
from redis.asyncio import Redis
from standardwebhooks.webhooks import Webhook

from jobs import api_keys
from jobs.webhook_secrets import rotate, secrets_of
from service.webhooks.sender import PER_HOST


def with_redis(service, action):
    async def main():
        async with Redis.from_url(service.settings.redis_url) as redis:
            return await action(redis)

    return asyncio.run(main())


def submit(service, picture, path="/restore", headers=None, **fields):
    answer = service.client.post(path, files={"image": picture()}, data=fields, headers=headers)
    assert answer.status_code in (200, 202), answer.text
    return answer.json()["id"]


def deliveries(service, job, headers=None):
    return service.client.get(f"/jobs/{job}/deliveries", headers=headers).json()["deliveries"]


def due_now(service, job, number=1):
    """Let the pause before the next try be over."""

    async def move(redis):
        for key in [key async for key in redis.scan_iter("undegrade:outbox:*")]:
            if await redis.zscore(key, f"{job}:{number}") is not None:
                await redis.zadd(key, {f"{job}:{number}": 1})
                await redis.zadd("undegrade:outbox", {key.decode().removeprefix("undegrade:outbox:"): 1})

    with_redis(service, move)


def test_a_completed_job_is_told_with_a_signature_that_the_package_verifies(
    hooked, receiver, sender, worker, picture, eventually
):
    sender(hooked)
    job = submit(hooked, picture, webhook_url=f"{receiver.origin}/hook?a=b", prompt="a secret wish")
    (request,) = eventually(lambda: receiver.of("/hook?a=b"))
    secret = with_redis(hooked, lambda redis: secrets_of(redis, "none")).current
    body = Webhook(secret).verify(request.body, request.headers)
    assert body["type"] == "job.completed" and body["data"]["id"] == job and "secret wish" not in str(request.body)
    assert hooked.client.get(body["data"]["links"]["result"]).headers["content-type"] == "image/png"
    assert request.headers["content-type"] == "application/json" and request.method == "POST"
    eventually(lambda: deliveries(hooked, job)[0]["status"] == "delivered")
    (delivery,) = deliveries(hooked, job)
    assert delivery["webhook_id"] == request.headers["webhook-id"] and delivery["origin"] == receiver.origin
    assert delivery["attempts"][0]["status"] == 204 and delivery["next_at"] is None
    assert "/hook" not in json.dumps(delivery)


def test_each_event_of_the_filter_and_no_other_is_told(hooked, receiver, sender, toy, picture, eventually):
    submit(hooked, picture, webhook_url=f"{receiver.origin}/none", webhook_events="failed,expired")
    told = submit(hooked, picture, webhook_url=f"{receiver.origin}/some", webhook_events=["failed", "canceled"])
    assert hooked.client.delete(f"/jobs/{told}").status_code == 200
    toy()
    sender(hooked)
    (request,) = eventually(lambda: receiver.of("/some"))
    assert json.loads(request.body)["type"] == "job.canceled"
    eventually(lambda: hooked.client.get("/jobs").json()["jobs"][1]["status"] == "succeeded")
    assert receiver.of("/none") == []


def test_a_detection_is_told_too(hooked, receiver, sender, worker, picture, eventually):
    sender(hooked)
    job = submit(hooked, picture, "/detect", webhook_url=f"{receiver.origin}/hook")
    (request,) = eventually(lambda: receiver.of("/hook"))
    assert json.loads(request.body)["data"] == {
        "id": job, "kind": "detect", "status": "succeeded",
        "links": {"job": f"/jobs/{job}", "deliveries": f"/jobs/{job}/deliveries"},
    }  # fmt: skip


def test_an_error_is_tried_again_with_the_same_id(hooked, receiver, sender, worker, picture, eventually):
    receiver.statuses["/hook"] = [500, 404, 200]
    sender(hooked)
    job = submit(hooked, picture, webhook_url=f"{receiver.origin}/hook")
    for tries in (1, 2):
        eventually(lambda tries=tries: deliveries(hooked, job) and deliveries(hooked, job)[0]["tries"] == tries)
        assert deliveries(hooked, job)[0]["status"] == "waiting" and deliveries(hooked, job)[0]["next_at"]
        due_now(hooked, job)
    eventually(lambda: deliveries(hooked, job)[0]["status"] == "delivered")
    assert [attempt["status"] for attempt in deliveries(hooked, job)[0]["attempts"]] == [500, 404, 200]
    requests = receiver.of("/hook")
    assert len({request.headers["webhook-id"] for request in requests}) == 1 and len(requests) == 3


def test_a_receiver_that_hangs_delays_neither_jobs_nor_other_receivers(
    hooked, receiver, other_receiver, sender, worker, picture, eventually
):
    receiver.hanging.add("/hang")
    sender(hooked)
    count = 3 * PER_HOST
    hung = [submit(hooked, picture, webhook_url=f"{receiver.origin}/hang") for _ in range(count)]
    eventually(lambda: len(receiver.of("/hang")) == PER_HOST)
    told = [submit(hooked, picture, webhook_url=f"{other_receiver.origin}/hook") for _ in range(count)]
    eventually(lambda: len(other_receiver.of("/hook")) == count)
    for job in (*hung, *told):
        assert hooked.client.get(f"/jobs/{job}").json()["status"] == "succeeded"
    assert len(receiver.of("/hang")) == PER_HOST, "all others were told while these still hang"
    receiver.hanging.clear()
    receiver.release.set()
    eventually(lambda: len(receiver.of("/hang")) == count)


def test_a_receiver_that_answers_410_gets_no_more_webhooks_until_it_accepts_one_by_hand(
    hooked, receiver, sender, toy, picture, eventually
):
    receiver.statuses["/gone"] = [410]
    url = f"{receiver.origin}/gone"
    jobs = [submit(hooked, picture, webhook_url=url) for _ in range(2)]
    toy()
    sender(hooked)
    eventually(lambda: all(deliveries(hooked, job) for job in jobs))
    eventually(lambda: {deliveries(hooked, job)[0]["status"] for job in jobs} == {"disabled"})
    sent = len(receiver.of("/gone"))
    refused = hooked.client.post("/restore", files={"image": picture()}, data={"webhook_url": url})
    assert refused.status_code == 422 and refused.json()["code"] == "webhook-disabled" and refused.json()["hint"]
    submit(hooked, picture, webhook_url=f"{receiver.origin}/other")
    eventually(lambda: receiver.of("/other"))
    assert len(receiver.of("/gone")) == sent
    receiver.statuses["/gone"] = [200]
    assert hooked.client.post(f"/jobs/{jobs[0]}/deliveries/1/redeliver").status_code == 202
    eventually(lambda: deliveries(hooked, jobs[0])[0]["status"] == "delivered")
    submit(hooked, picture, webhook_url=url)


def test_the_result_is_put_before_the_webhook_and_without_credentials_of_ours(
    hooked, receiver, other_receiver, sender, worker, picture, eventually
):
    order = []
    receiver.on_request = other_receiver.on_request = lambda request: order.append(request.method)
    other_receiver.statuses["/bucket/x.png?X-Amz-Signature=s"] = [503, 200]
    sender(hooked)
    result_url = f"{other_receiver.origin}/bucket/x.png?X-Amz-Signature=s"
    job = submit(hooked, picture, result_url=result_url, webhook_url=f"{receiver.origin}/hook")
    eventually(lambda: deliveries(hooked, job) and deliveries(hooked, job)[0]["tries"] == 1)
    assert [entry["status"] for entry in deliveries(hooked, job)] == ["waiting", "held"] and receiver.requests == []
    held = hooked.client.post(f"/jobs/{job}/deliveries/2/redeliver")
    assert held.status_code == 409 and held.json()["code"] == "delivery-held"
    due_now(hooked, job)
    (told,) = eventually(lambda: receiver.of("/hook"))
    assert order == ["PUT", "PUT", "POST"]
    assert json.loads(told.body)["data"]["result_delivery"] == "delivered"
    put = other_receiver.requests[-1]
    assert put.body == hooked.client.get(f"/jobs/{job}/result").content
    assert put.headers["content-type"] == "image/png"
    assert put.headers.keys() == {
        "host",
        "user-agent",
        "accept-encoding",
        "connection",
        "content-type",
        "content-length",
    }


def test_a_presigned_url_that_is_refused_is_given_up_at_once_and_the_webhook_says_so(
    hooked, receiver, sender, worker, picture, eventually
):
    receiver.statuses["/bucket"] = [403]
    sender(hooked)
    job = submit(
        hooked, picture, result_url=f"{receiver.origin}/bucket", webhook_url=f"{receiver.origin}/hook"
    )  # fmt: skip
    (told,) = eventually(lambda: receiver.of("/hook"))
    assert json.loads(told.body)["data"]["result_delivery"] == "failed"
    assert deliveries(hooked, job)[0]["attempts"][0]["error"] == "the receiver answered 403"
    assert len(receiver.of("/bucket")) == 1


def test_after_a_rotation_a_webhook_has_two_signatures_and_a_revoked_key_none(
    serve, receiver, sender, worker, picture, eventually
):
    service = serve(webhook_hosts=(receiver.origin,))
    sender(service)
    key_id, key = with_redis(service, lambda redis: api_keys.create(redis, "site"))
    old = with_redis(service, lambda redis: secrets_of(redis, key_id)).current
    new = with_redis(service, lambda redis: rotate(redis, key_id, 10**13)).current
    headers = {"X-API-Key": key}
    submit(service, picture, headers=headers, webhook_url=f"{receiver.origin}/hook")
    (request,) = eventually(lambda: receiver.of("/hook"))
    assert len(request.headers["webhook-signature"].split(" ")) == 2
    assert Webhook(old).verify(request.body, request.headers) == Webhook(new).verify(request.body, request.headers)


def test_deliveries_of_another_key_are_not_found(serve, receiver, worker, picture):
    service = serve(webhook_hosts=(receiver.origin,))
    keys = [with_redis(service, lambda redis: api_keys.create(redis, "site"))[1] for _ in range(2)]
    job = submit(service, picture, headers={"X-API-Key": keys[0]}, webhook_url=f"{receiver.origin}/hook")
    stranger = {"X-API-Key": keys[1]}
    assert service.client.get(f"/jobs/{job}/deliveries", headers=stranger).status_code == 404
    assert service.client.post(f"/jobs/{job}/deliveries/1/redeliver", headers=stranger).status_code == 404
    missing = service.client.post(f"/jobs/{job}/deliveries/3/redeliver", headers={"X-API-Key": keys[0]})
    assert missing.status_code == 404 and missing.json()["code"] == "no-such-delivery"


def test_a_private_address_is_never_reached_even_where_all_hosts_are_allowed(
    serve, sender, worker, picture, eventually, receiver
):
    service = serve(webhook_hosts=("*",), url_ports=(443, int(receiver.origin.rpartition(":")[2])))
    port = receiver.origin.rpartition(":")[2]
    job = submit(service, picture, webhook_url=f"https://localhost:{port}/hook")
    sender(service)
    attempts = eventually(lambda: deliveries(service, job) and deliveries(service, job)[0]["attempts"])
    assert attempts[0]["code"] == "url-not-allowed" and "127.0.0.1" not in attempts[0]["error"]
    assert receiver.requests == []


@pytest.mark.parametrize(("fields", "code", "words"), [
    ({"webhook_url": "https://example.com/"}, "invalid-request", "UNDEGRADE_WEBHOOK_HOSTS"),
    ({"result_url": "https://example.com/"}, "invalid-request", "UNDEGRADE_RESULT_HOSTS"),
    ({"webhook_events": "completed"}, "invalid-request", "without webhook_url"),
])  # fmt: skip
def test_a_service_without_a_list_refuses_the_fields_and_queues_nothing(client, picture, fields, code, words):
    answer = client.post("/restore", files={"image": picture()}, data=fields)
    assert answer.status_code == 422 and answer.json()["code"] == code and words in answer.json()["detail"]
    assert answer.json()["errors"][0]["field"] == next(iter(fields)) and client.get("/jobs").json()["jobs"] == []


@pytest.mark.parametrize(("path", "fields", "code"), [
    ("/restore", {"webhook_url": "http://example.com/"}, "url-not-allowed"),
    ("/restore", {"webhook_url": "https://10.0.0.1/"}, "url-not-allowed"),
    ("/restore", {"webhook_url": "https://u:p@example.com/"}, "url-not-allowed"),
    ("/restore", {"result_url": "https://example.com:22/"}, "url-not-allowed"),
    ("/restore", {"webhook_url": "https://example.com/", "webhook_events": "started"}, "invalid-request"),
    ("/restore", {"webhook_url": "https://example.com/" + "a" * 5000}, "invalid-request"),
    ("/detect", {"result_url": "https://example.com/"}, "invalid-request"),
])  # fmt: skip
def test_urls_that_are_not_allowed_are_refused_before_the_job_is_queued(serve, picture, path, fields, code):
    client = serve(webhook_hosts=("*",), result_hosts=("*",)).client
    answer = client.post(path, files={"image": picture()}, data=fields)
    assert answer.status_code == 422 and answer.json()["code"] == code, answer.text
    assert answer.json()["errors"][0]["field"] in fields and client.get("/jobs").json()["jobs"] == []


def test_the_fields_work_in_json_and_in_a_query(serve, picture):
    import base64

    client = serve(webhook_hosts=("*",)).client
    body = {"image_base64": base64.b64encode(picture()).decode(), "webhook_url": "https://example.com/h"}
    for events in (["completed"], ["failed", "expired"]):
        assert client.post("/restore", json={**body, "webhook_events": events}).status_code == 202
    query = httpx.QueryParams(webhook_url="https://example.com/h", webhook_events="completed,failed")
    headers = {"Content-Type": "image/png"}
    assert (
        client.post(f"/detect?{query}", content=picture(), headers={**headers, "Prefer": "respond-async"}).status_code
        == 202
    )
