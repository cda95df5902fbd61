"""Batches through a running service: one bad image fails alone, ends are told once, and results come as a zip file."""

import asyncio
import io
import json
import shutil
import subprocess
import threading
import tracemalloc
import zipfile

import httpx
import pytest
from PIL import Image
from redis.asyncio import Redis

from jobs import api_keys, redis_keys
from jobs.record import Failure, Progress
from jobs.spec import LANES
from service.example_bodies import TINY_PNG

BAD = b"these are no bytes of an image"


def files(picture, count=12, bad=(4, 9)):
    """Images of different widths, some of them bad, as a form has them."""
    return [("image", (f"p{n}.png", BAD if n in bad else picture(size=(10 + n, 8)))) for n in range(1, count + 1)]


def create(client, images, headers=None, **fields):
    answer = client.post("/batches", files=images, data=fields, headers=headers)
    assert answer.status_code == 202, answer.text
    return answer.json()


def events(client, batch, last_event_id=None):
    headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
    found = []
    with client.stream("GET", batch["events_url"], headers=headers) as answer:
        for block in answer.read().decode().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
            if "event" in fields:
                found.append((fields["id"], fields["event"], json.loads(fields["data"])))
    return found


def archive(client, batch, **query):
    answer = client.get(batch["results_url"], params=query)
    assert answer.status_code == 200 and answer.headers["Content-Type"] == "application/zip"
    return answer.content, zipfile.ZipFile(io.BytesIO(answer.content))


def leave_dead(service, valkey):
    """Lease jobs for a worker that is then killed, and let its lease end."""
    lease = service.queued()
    leased, _ = lease(lambda queue: queue.lease(["toy"], LANES, 3, worker="w", token="dead", held=0))
    ids = [job.spec.id for job in leased]
    lease(lambda queue: queue.report("dead", ids[0], Progress()))
    valkey.do(lambda redis: redis.zadd(redis_keys.LEASES, dict.fromkeys(ids, 1), xx=True))
    return ids


def test_twelve_images_of_which_two_are_bad_with_a_worker_that_is_killed(service, toy, valkey, picture, tmp_path):
    client = service.client
    batch = create(client, files(picture), only="noise", labels="album=summer")
    assert batch["counts"] | {"running": 0} == {
        "total": 12, "queued": 10, "running": 0, "succeeded": 0, "failed": 0, "canceled": 0, "expired": 0, "refused": 2,
        "deleted": 0,
    }  # fmt: skip
    assert [item["index"] for item in batch["items"] if item["status"] == "refused"] == [4, 9]
    assert batch["items"][3]["error"]["code"] == "not-an-image"
    job = client.get(batch["items"][0]["job_url"]).json()
    assert (job["lane"], job["batch"], job["labels"]) == ("bulk", batch["id"], {"album": "summer"})
    leave_dead(service, valkey)
    toy()
    heard = []
    listening = threading.Thread(target=lambda: heard.extend(events(client, batch)))
    listening.start()
    service.queued()(lambda queue: queue.reclaim())
    data, zipped = archive(client, batch)
    listening.join()
    (tmp_path / "results.zip").write_bytes(data)
    assert zipped.testzip() is None
    if unzip := shutil.which("unzip"):
        subprocess.run([unzip, "-t", str(tmp_path / "results.zip")], check=True, capture_output=True)
    assert sorted(zipped.namelist()[:-1]) == sorted(f"p{n}.png" for n in range(1, 13) if n not in (4, 9))
    assert Image.open(zipped.open("p7.png")).size == (17, 8)
    errors = json.loads(zipped.read("errors.json"))
    assert zipped.namelist()[-1] == "errors.json" and [entry["name"] for entry in errors] == ["p4.png", "p9.png"]
    assert {info.compress_type for info in zipped.infolist()} == {zipfile.ZIP_STORED}
    done = client.get(f"/batches/{batch['id']}").json()
    assert done["status"] == "completed" and done["counts"]["succeeded"] == 10
    assert [data["index"] for _, kind, data in heard if kind == "item"][:2] == [4, 9]
    assert sorted(data["index"] for _, kind, data in heard if kind == "item") == list(range(1, 13))
    assert heard[-1][1] == "completed" and heard[-1][2]["counts"] == done["counts"]
    for cut in (0, 1, 5, 11, 12):
        again = events(client, batch, heard[cut][0])
        assert [(seen, data.get("index")) for seen, _, data in again] == [
            (seen, data.get("index")) for seen, _, data in heard[cut + 1 :]
        ]


def test_the_zip_file_has_the_order_of_the_request_if_asked(client, worker, picture):
    batch = create(client, files(picture, 6, bad=()))
    _, zipped = archive(client, batch, order="request")
    assert zipped.namelist() == [f"p{n}.png" for n in range(1, 7)]


def test_a_zip_file_without_a_wait_names_what_has_not_ended(client, picture):
    batch = create(client, files(picture, 3, bad=()))
    _, zipped = archive(client, batch, partial="true")
    errors = json.loads(zipped.read("errors.json"))
    assert [entry["error"]["code"] for entry in errors] == ["not-finished"] * 3


def test_a_job_that_fails_or_is_deleted_fails_alone(client, toy, picture):
    toy(failure=Failure(code="bad-image", detail="damaged", hint="export it again"))
    batch = create(client, files(picture, 2, bad=()))
    events(client, batch)
    client.delete(batch["items"][1]["job_url"])
    now = client.get(f"/batches/{batch['id']}").json()
    assert [item["status"] for item in now["items"]] == ["failed", "deleted"]
    assert now["items"][0]["error"] == {"code": "bad-image", "detail": "damaged", "hint": "export it again"}
    _, zipped = archive(client, batch)
    assert [entry["error"]["code"] for entry in json.loads(zipped.read("errors.json"))] == ["bad-image", "gone"]


def test_a_batch_is_canceled_then_deleted_and_leaves_nothing(client, toy, valkey, picture, eventually):
    before = valkey.do(lambda redis: set(redis.keys()))
    worker = toy(hold=True)
    batch = create(client, files(picture, 6, bad=(6,)))
    eventually(lambda: len(worker.leased) == 5)
    assert client.delete(f"/batches/{batch['id']}").status_code == 200
    eventually(lambda: client.get(f"/batches/{batch['id']}").json()["status"] == "completed")
    assert client.get(f"/batches/{batch['id']}").json()["counts"]["canceled"] == 5
    assert client.delete(f"/batches/{batch['id']}").status_code == 204
    assert client.get(f"/batches/{batch['id']}").status_code == 404
    left = valkey.do(lambda redis: set(redis.keys())) - before
    assert not [key for key in left if batch["id"].encode() in key or b"job" in key or b"blob" in key]


def test_a_batch_goes_with_its_last_job(client, worker, valkey, picture):
    batch = create(client, files(picture, 2, bad=()))
    events(client, batch)
    for item in batch["items"]:
        client.delete(item["job_url"])
    assert client.get(f"/batches/{batch['id']}").status_code == 404
    assert not valkey.do(lambda redis: redis.keys("undegrade:batch*"))


def test_images_may_come_as_json(client):
    entries = [{"image_base64": TINY_PNG, "name": "a"}, {"image_base64": "!"}, {"image": "x"}, {"name": "b"}, 5]
    answer = client.post("/batches", json={"images": entries, "strength": 0.5})
    assert answer.status_code == 202, answer.text
    assert [item["status"] for item in answer.json()["items"]] == ["queued", "refused", "refused", "refused", "refused"]


def test_names_and_fields_that_are_no_text_in_utf8_break_nothing(client):
    entries = [{"image_base64": TINY_PNG, "name": "a\ud800"}, {"\udfff": 1}, {"image_url": "\ud800"}]
    body = json.dumps({"images": entries}).encode()
    answer = client.post("/batches", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 202, answer.text
    assert [item["status"] for item in answer.json()["items"]] == ["queued", "refused", "refused"]


@pytest.mark.parametrize(
    ("images", "fields", "field"),
    [(0, {}, "image"), (1, {"strength": "2"}, "strength"), (1, {"nonsense": "1"}, "nonsense"),
     (1, {"store": "false"}, "store"), (1, {"image": "text"}, "image")],
)  # fmt: skip
def test_a_batch_that_makes_no_sense_is_refused_as_a_whole(client, valkey, picture, images, fields, field):
    form = [(name, (None, value)) for name, value in fields.items()] or [("only", (None, "noise"))]
    answer = client.post("/batches", files=[*form, *files(picture, images, bad=())])
    assert answer.status_code == 422 and answer.json()["errors"][0]["field"] == field
    assert not valkey.do(lambda redis: redis.keys("undegrade:job:*"))


def test_a_field_after_an_image_is_refused_and_nothing_stays(client, valkey, picture):
    form = [*files(picture, 2, bad=()), ("only", (None, "noise"))]
    answer = client.post("/batches", files=form)
    assert answer.status_code == 422 and "first" in answer.json()["detail"]
    assert not valkey.do(lambda redis: redis.keys("undegrade:job:*") + redis.keys("undegrade:b*"))


@pytest.mark.parametrize("limits", [{"max_batch_images": 2}, {"max_batch_bytes": 400}])
def test_a_batch_over_the_limits_is_413_and_nothing_stays(serve, valkey, picture, limits):
    client = serve(**limits).client
    answer = client.post("/batches", files=files(picture, 3, bad=()))
    assert answer.status_code == 413 and answer.json()["code"] == "batch-too-large"
    assert not valkey.do(lambda redis: redis.keys("undegrade:job:*"))


def test_an_image_over_the_limit_fails_alone(serve, picture):
    client = serve(max_bytes=1000).client
    batch = create(client, [("image", ("big", picture() + b"\0" * 5000)), ("image", ("small", picture()))])
    assert [item["status"] for item in batch["items"]] == ["refused", "queued"]
    assert batch["items"][0]["error"]["code"] == "too-large"


def test_a_full_queue_refuses_the_rest_and_a_batch_of_which_nothing_fits(serve, picture):
    client = serve(max_queued=2).client
    batch = create(client, files(picture, 3, bad=()))
    assert [item["status"] for item in batch["items"]] == ["queued", "queued", "refused"]
    assert batch["items"][2]["error"]["code"] == "queue-full"
    answer = client.post("/batches", files=files(picture, 3, bad=()))
    assert answer.status_code == 503 and answer.json()["code"] == "queue-full" and answer.headers["Retry-After"]


def test_a_client_that_breaks_off_leaves_nothing(service, valkey, picture, eventually):
    request = httpx.Request("POST", "http://x", files=files(picture, 5, bad=()))
    boundary = request.headers["content-type"]
    body = request.read()

    def half():
        yield body[: len(body) // 2]
        eventually(lambda: valkey.do(lambda redis: redis.zcard(redis_keys.JOBS)))
        raise OSError("the network is gone")

    with pytest.raises(OSError, match="network"):
        service.client.post("/batches", content=half(), headers={"Content-Type": boundary})
    eventually(lambda: not valkey.do(lambda redis: redis.keys("undegrade:job:*") + redis.keys("undegrade:blob:*")))


def test_a_repeated_batch_with_an_idempotency_key_makes_no_second_one(client, valkey, picture):
    key, images = {"Idempotency-Key": "batch-1"}, files(picture, 3, bad=(2,))
    first = client.post("/batches", files=images, headers=key)
    again = client.post("/batches", files=images, headers=key)
    assert again.json()["id"] == first.json()["id"] and again.headers["Idempotency-Replayed"] == "true"
    assert valkey.do(lambda redis: redis.zcard(redis_keys.JOBS)) == 2
    other = client.post("/batches", files=files(picture, 2, bad=()), headers=key)
    assert other.status_code == 422 and other.json()["code"] == "idempotency-key-reused"


def test_a_repeated_batch_that_was_deleted_is_gone(client, picture):
    key, images = {"Idempotency-Key": "batch-1"}, files(picture, 2, bad=(1,))
    first = client.post("/batches", files=images, headers=key).json()
    for _ in range(2):  # cancel, then delete
        client.delete(f"/batches/{first['id']}")
    again = client.post("/batches", files=images, headers=key)
    assert again.status_code == 410 and "Idempotency-Key" in again.json()["hint"]


def test_a_batch_belongs_to_its_key(service, picture):
    async def keys():
        async with Redis.from_url(service.settings.redis_url) as redis:
            return [(await api_keys.create(redis, name))[1] for name in ("hers", "his")]

    her, him = ({"X-API-Key": secret} for secret in asyncio.run(keys()))
    batch = create(service.client, files(picture, 1, bad=()), headers=her)
    for path in ("", "/events", "/results.zip"):
        assert service.client.get(f"/batches/{batch['id']}{path}", headers=him).json()["code"] == "no-such-batch"
    assert service.client.delete(f"/batches/{batch['id']}", headers=him).status_code == 404
    assert service.client.get(f"/batches/{batch['id']}", headers=her).status_code == 200


def listed(client, path, **query):
    """All pages of a list, and how many there were."""
    name, found, pages = path.removeprefix("/"), [], 0
    while True:
        answer = client.get(path, params=query)
        assert answer.status_code == 200, answer.text
        found, pages = found + answer.json()[name], pages + 1
        query["cursor"] = answer.json()["next"]
        if query["cursor"] is None:
            return found, pages


def test_batches_are_listed_newest_first_in_pages_that_lose_none(client, valkey, picture):
    made = [create(client, files(picture, 2, bad=(2,))) for _ in range(5)]
    found, pages = listed(client, "/batches", limit=2)
    assert pages == 3 and [entry["id"] for entry in found] == [batch["id"] for batch in reversed(made)]
    assert found[0] == {name: value for name, value in made[-1].items() if name != "items"}
    first = client.get("/batches", params={"limit": 2}).json()
    client.delete(made[2]["items"][0]["job_url"])
    rest = client.get("/batches", params={"limit": 100, "cursor": first["next"]}).json()
    assert [entry["id"] for entry in rest["batches"]] == [made[2]["id"], made[1]["id"], made[0]["id"]]
    since, _ = listed(client, "/batches", since=made[3]["created_at"])
    assert [entry["id"] for entry in since] == [made[4]["id"], made[3]["id"]]
    valkey.do(lambda redis: redis.delete(redis_keys.BATCH + made[1]["id"]))  # it expires
    assert made[1]["id"] not in [entry["id"] for entry in listed(client, "/batches", limit=1)[0]]
    assert made[1]["id"].encode() not in valkey.do(lambda redis: redis.zrange(redis_keys.BATCHES, 0, -1))


def test_batches_of_one_millisecond_are_each_listed_once(client, valkey, picture):
    made = {create(client, files(picture, 1, bad=()))["id"] for _ in range(5)}
    valkey.do(lambda redis: redis.zadd(redis_keys.BATCHES, dict.fromkeys(made, 1795754702518)))
    found, _ = listed(client, "/batches", limit=2)
    assert sorted(entry["id"] for entry in found) == sorted(made)


def test_a_key_lists_its_own_batches_and_an_admin_those_of_all_or_of_one(service, picture):
    async def keys():
        async with Redis.from_url(service.settings.redis_url) as redis:
            scopes = {"hers": (), "his": (), "admin": ("admin",)}
            return [(await api_keys.create(redis, name, *scopes[name]))[1] for name in scopes]

    client = service.client
    her, him, admin = ({"X-API-Key": secret} for secret in asyncio.run(keys()))
    hers, his = (create(client, files(picture, 1, bad=()), headers=headers)["id"] for headers in (her, him))
    owner = {"owner": him["X-API-Key"].split("_")[1]}

    def seen(headers, **query):
        answer = client.get("/batches", headers=headers, params=query)
        return [entry["id"] for entry in answer.json()["batches"]] if answer.status_code == 200 else answer.json()

    assert (seen(her), seen(him), seen(admin), seen(admin, **owner)) == ([hers], [his], [his, hers], [his])
    assert seen(her, **owner)["code"] == "forbidden"
    jobs = client.get("/jobs", headers=her, params={"batch": his}).json()
    assert (jobs["jobs"], jobs["next"]) == ([], None), "her key and his batch have no job together"


def test_jobs_are_filtered_by_their_batch_also_where_many_others_came_later(client, valkey, picture):
    batch = create(client, files(picture, 7, bad=(3,)), labels="album=summer")
    for _ in range(3):
        client.post("/restore", files={"image": picture()}, data={"labels": "album=summer"})
    for query in (
        {},
        {"label": "album:summer"},
        {"status": "queued"},
        {"since": "2026-01-01T00:00:00Z"},
    ):
        found, pages = listed(client, "/jobs", batch=batch["id"], limit=2, **query)
        assert pages == 3 and [job["batch"] for job in found] == [batch["id"]] * 6
    wanted = [item["job_id"] for item in batch["items"] if item["job_id"]]
    assert sorted(job["id"] for job in found) == sorted(wanted)
    ages = [job["created_at"] for job in found]
    assert ages == sorted(ages, reverse=True)
    assert listed(client, "/jobs", batch=batch["id"], status="failed")[0] == []
    assert listed(client, "/jobs", batch="0" * 32)[0] == []
    first = listed(client, "/jobs", batch=batch["id"], since="2999-01-01T00:00:00Z")
    assert first == ([], 1)
    assert client.get("/jobs", params={"batch": "x"}).status_code == 422


def test_the_zip_file_has_every_variant(service, toy, valkey, picture):
    """The toy worker makes one result: the others are written beside it, as a worker with noise writes them."""
    client = service.client
    toy()
    batch = create(client, files(picture, 2, bad=()))
    events(client, batch)
    job = batch["items"][0]["job_id"]

    def add_variants(redis):
        outcome = json.loads(redis.hget(redis_keys.JOB + job, "outcome"))
        result = outcome["result"]
        other = {**result, "blob": f"{job}/result-2"}
        outcome["variants"] = [{"seed": 1, "result": result}, {"seed": 2, "result": other}]
        redis.hset(redis_keys.JOB + job, "outcome", json.dumps(outcome))
        redis.set(f"{redis_keys.BLOB}{other['blob']}", picture(color="blue"))

    valkey.do(add_variants)
    _, zipped = archive(client, batch, order="request")
    assert zipped.namelist() == ["p1-1.png", "p1-2.png", "p2.png"]
    for number, name in enumerate(("p1-1.png", "p1-2.png"), 1):
        assert zipped.read(name) == client.get(f"/jobs/{job}/result", params={"variant": number}).content


@pytest.mark.slow
def test_the_memory_of_the_service_does_not_grow_with_the_batch(service, toy, valkey, picture):
    """The client's body is written as it is read, and the zip file is read in pieces, so neither takes memory."""
    image, boundary = picture() + b"\0" * 150_000, "b" * 20
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="p.png"\r\n\r\n'.encode()

    def body():
        for _ in range(200):
            yield head + image + b"\r\n"
        yield f"--{boundary}--\r\n".encode()

    tracemalloc.start()
    try:
        content_type = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        batch = service.client.post("/batches", content=body(), headers=content_type).json()
        taking = tracemalloc.get_traced_memory()[1]
        worker = toy()
        assert events(service.client, batch)[-1][1] == "completed"
        worker.leased.clear()
        for item in batch["items"]:
            valkey.do(lambda redis, job=item["job_id"]: redis.set(f"{redis_keys.BLOB}{job}/result", image))
        tracemalloc.reset_peak()
        with service.client.stream("GET", batch["results_url"]) as zipped:
            assert sum(map(len, zipped.iter_raw())) > 200 * len(image)
        giving = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert batch["counts"]["refused"] == 0 and batch["counts"]["total"] == 200
    assert max(taking, giving) < 8_000_000 < 200 * len(image) / 3
