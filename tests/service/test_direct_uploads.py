"""POST /uploads and redirects to the store: with moto, and with SeaweedFS, which checks the signatures."""

import time
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from s3_servers import CREDENTIALS, moto_server, seaweed_server

from jobs import api_keys
from jobs.uploads import UPLOAD_TTL_S

pytestmark = pytest.mark.slow  # S3 servers; `make s3-test` runs them with a real one


@pytest.fixture(params=["moto", pytest.param("seaweedfs", marks=pytest.mark.slow)], scope="module")
def endpoint(request, tmp_path_factory):
    with moto_server() if request.param == "moto" else seaweed_server(tmp_path_factory.mktemp("weed")) as url:
        yield url


@pytest.fixture
def s3(endpoint, serve, monkeypatch):
    """A service whose store is S3."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    store = f"s3://pictures/test?region=us-east-1&endpoint={endpoint}"
    return serve(store_url=store, max_bytes=100_000, max_stored_bytes_per_key=250_000)


@pytest.fixture
def opened(s3):
    """Opens an upload."""

    def open_upload(headers=None, **fields):
        answer = s3.client.post("/uploads", json=fields, headers=headers)
        assert answer.status_code == 201, answer.text
        return answer.json()

    return open_upload


def put(upload, data):
    assert httpx.put(upload["url"], content=data).status_code in (200, 201)


def test_an_image_is_uploaded_to_the_store_and_used_for_several_requests(s3, toy, opened, picture, valkey):
    worker = toy(store_url=s3.settings.store_url)
    data = picture("jpeg", size=(40, 30))
    upload = opened(bytes=len(data), file_name="Holiday 2019.jpg")
    assert upload["method"] == "PUT" and upload["max_bytes"] == 100_000
    put(upload, data)
    detected = s3.client.post("/detect", json={"upload": upload["id"]})
    assert detected.status_code == 200, detected.text
    wait = {"Prefer": "wait=20"}
    job = s3.client.post(f"/restore?upload={upload['id']}&strength=0.5", headers=wait)
    assert job.status_code == 200, job.text
    assert [leased.spec.source.bytes for leased in worker.leased] == [len(data)] * 2
    result = s3.client.get(job.json()["result"]["url"])
    assert 'filename="Holiday 2019-restored.jpg"' in result.headers["content-disposition"]
    assert s3.client.get("/limits").json()["uploads"] is True


def test_what_was_uploaded_is_checked_as_any_other_image(s3, opened, picture):
    for data, status, code in (
        (b"no image", 415, "not-an-image"), (bytes(100_001), 413, "too-large"),
        (b"GIF89a" + bytes(9), 415, "unsupported-format"),
    ):  # fmt: skip
        upload = opened(bytes=10)
        put(upload, data)
        answer = s3.client.post("/restore", json={"upload": upload["id"]})
        assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_an_upload_that_is_empty_unknown_or_over_is_refused(s3, opened, valkey):
    upload = opened(bytes=10)
    answer = s3.client.post("/restore", json={"upload": upload["id"]})
    assert answer.status_code == 409 and answer.json()["code"] == "upload-not-received"
    assert s3.client.post("/restore", json={"upload": "0" * 32}).json()["code"] == "no-such-upload"
    assert s3.client.post("/restore", json={"upload": "../x"}).json()["code"] == "no-such-upload"
    long_ago = f"{int((time.time() - UPLOAD_TTL_S - 60) * 1000):012x}7" + "a" * 19
    answer = s3.client.post("/restore", json={"upload": long_ago})
    assert answer.status_code == 410 and "POST /uploads" in answer.json()["hint"]


def test_an_upload_belongs_to_its_api_key(s3, opened, picture):
    async def two_keys(queue):
        return [(await api_keys.create(queue.redis, name))[1] for name in ("a", "b")]

    own, other = ({"X-API-Key": secret} for secret in s3.queued()(two_keys))
    upload = opened(headers=own, bytes=1000)
    put(upload, picture())
    answer = s3.client.post("/restore", json={"upload": upload["id"]}, headers=other)
    assert answer.status_code == 404 and answer.json()["code"] == "no-such-upload"
    assert s3.client.post("/restore", json={"upload": upload["id"]}, headers=own).status_code == 202


def test_the_room_of_an_upload_is_kept_and_comes_back_with_the_sweep(s3, opened, picture, valkey, eventually, endpoint):
    async def key(queue):
        return (await api_keys.create(queue.redis, "a"))[1]

    headers = {"X-API-Key": s3.queued()(key)}
    uploads = [opened(headers=headers), opened(headers=headers)]  # 100,000 bytes each, since their size is unknown
    put(uploads[0], picture())
    full = s3.client.post("/uploads", headers=headers)
    assert full.status_code == 507 and full.json()["code"] == "storage-full"
    valkey.do(lambda redis: redis.zadd("undegrade:blobs", {f"{upload['id']}/upload": 1 for upload in uploads}))
    eventually(lambda: valkey.do(lambda redis: redis.zcard("undegrade:blobs")) == 0)
    assert valkey.do(lambda redis: redis.hgetall("undegrade:stored-totals")) == {}
    assert valkey.do(lambda redis: redis.keys("undegrade:blobs:*")) == []
    answer = s3.client.post("/restore", json={"upload": uploads[0]["id"]}, headers=headers)
    assert answer.json()["code"] == "upload-not-received"


def test_a_repeated_request_opens_one_upload(s3, valkey):
    headers = {"Idempotency-Key": "k"}
    first, again = (s3.client.post("/uploads", json={"bytes": 5}, headers=headers) for _ in range(2))
    assert first.status_code == again.status_code == 201 and first.json()["id"] == again.json()["id"]
    assert again.headers["idempotency-replayed"] == "true" and again.json()["put_until"] == first.json()["put_until"]
    other = s3.client.post("/uploads", json={"bytes": 6}, headers=headers)
    assert other.status_code == 422 and other.json()["code"] == "idempotency-key-reused"
    assert len(valkey.do(lambda redis: redis.keys("undegrade:upload:*"))) == 1


@pytest.mark.parametrize(("body", "field"), [
    ({"bytes": 0}, "bytes"), ({"bytes": "5"}, "bytes"), ({"bytes": 5.5}, "bytes"), ({"name": "a"}, "name"),
    ({"file_name": ""}, "file_name"), ({"bytes": True}, "bytes"),
])  # fmt: skip
def test_a_wrong_field_is_refused_with_its_name(client, body, field):
    answer = client.post("/uploads", json=body)
    assert answer.status_code == 422 and answer.json()["errors"][0]["field"] == field


def test_an_image_that_is_too_large_is_refused_before_it_is_uploaded(s3):
    assert s3.client.post("/uploads", json={"bytes": 100_001}).json()["code"] == "too-large"


def test_another_store_than_s3_takes_no_uploads_and_says_what_to_do(client):
    answer = client.post("/uploads")
    assert answer.status_code == 409 and answer.json()["code"] == "uploads-unavailable"
    assert "POST /restore" in answer.json()["hint"] and client.get("/limits").json()["uploads"] is False


def test_a_client_that_prefers_it_is_redirected_to_the_store(s3, toy, picture):
    toy(store_url=s3.settings.store_url)
    job = s3.client.post("/restore", files={"image": picture()}, headers={"Prefer": "wait=20"}).json()
    for url in (job["result"]["url"], job["passes"][0]["image"]):
        whole = s3.client.get(url)
        answer = s3.client.get(url, headers={"Prefer": "redirect"})
        assert answer.status_code == 303 and answer.headers["preference-applied"] == "redirect"
        assert answer.headers["cache-control"] == "private, no-store" and not answer.content
        there = httpx.get(answer.headers["location"])
        assert there.status_code == 200 and there.content == whole.content
        assert there.headers["content-type"] == "image/png"
        assert int(parse_qs(urlsplit(answer.headers["location"]).query)["X-Amz-Expires"][0]) <= 300
        assert s3.client.get(url, headers={"Range": "bytes=2-9"}).content == whole.content[2:10]
        assert int(s3.client.head(url).headers["content-length"]) == len(whole.content)
    converted = s3.client.get(job["result"]["url"] + "?format=webp", headers={"Prefer": "redirect"})
    assert converted.status_code == 200 and "preference-applied" not in converted.headers


def test_a_request_that_waits_for_the_image_is_redirected_to_it_in_the_store(s3, toy, picture):
    toy(store_url=s3.settings.store_url)
    headers = {"Accept": "image/webp", "Prefer": "wait=20, redirect"}
    answer = s3.client.post("/restore", files={"image": picture()}, headers=headers)
    assert (answer.status_code, answer.content) == (303, b"")
    assert answer.headers["preference-applied"] == "wait=20, redirect"
    assert answer.headers["cache-control"] == "private, no-store"
    there = httpx.get(answer.headers["location"])
    assert there.status_code == 200 and there.headers["content-type"] == "image/webp"
    assert there.content == s3.client.get(f"/jobs/{answer.headers['x-job-id']}/result").content
    unstored = s3.client.post("/restore", files={"image": picture()}, data={"store": "false"}, headers=headers)
    assert unstored.status_code == 200 and unstored.headers["preference-applied"] == "wait=20"
    job = s3.client.post("/restore", files={"image": picture()}, headers={"Prefer": "wait=20, redirect"})
    assert job.status_code == 200 and job.json()["status"] == "succeeded", "who asks for the job gets the job"


def test_a_url_is_for_one_blob_and_one_method(s3, opened, picture, endpoint, request):
    if "moto" in request.node.name:
        pytest.skip("moto checks no signatures")
    upload = opened(bytes=1000)
    put(upload, picture())
    other = upload["url"].replace(upload["id"], "f" * 32)
    assert httpx.put(other, content=b"x").status_code == 403
    assert httpx.get(upload["url"]).status_code == 403
    assert httpx.put(upload["url"].replace("X-Amz-Expires=", "X-Amz-Expires=9"), content=b"x").status_code == 403


def test_urls_are_signed_for_the_endpoint_that_clients_reach(endpoint, serve, monkeypatch):
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    public = "&public_endpoint=https://images.example:8443"
    service = serve(store_url=f"s3://pictures/test?region=us-east-1&endpoint={endpoint}{public}")
    assert service.client.post("/uploads").json()["url"].startswith("https://images.example:8443/pictures/test/")
