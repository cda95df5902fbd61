"""What a user deletes is nowhere any more: not in Redis, not in its file, not in the store."""

import io
import os
import time

import pytest
from PIL import Image, PngImagePlugin

STORES = ["redis://", "file", "memory://"]


@pytest.fixture(params=STORES)
def store_url(request, tmp_path) -> str:
    return f"file://{tmp_path}/blobs" if request.param == "file" else request.param


def marked(marker: str, side: int) -> bytes:
    """A PNG that contains the marker as text."""
    info, target = PngImagePlugin.PngInfo(), io.BytesIO()
    info.add_text("Comment", marker)
    Image.frombytes("RGB", (side, side), os.urandom(3 * side * side)).save(target, "png", pnginfo=info)
    return target.getvalue()


def places_of(marker: bytes, valkey, tmp_path, app) -> list[str]:
    """Where the marker still is: keys of Redis, files of the store and of Redis."""

    def in_redis(redis):
        return [key.decode() for key in redis.scan_iter() if marker in (redis.dump(key) or b"")]

    def uncompressed(redis):
        redis.config_set("rdbcompression", "no")  # DUMP and the rewritten file then hold texts as they are
        return in_redis(redis)

    found = valkey.do(uncompressed)
    for folder in (tmp_path, valkey.folder / "appendonlydir"):
        found += [str(path) for path in folder.rglob("*") if path.is_file() and marker in path.read_bytes()]
    store = app.state.desk.store
    if store.kind == "memory":
        import obstore

        found += [entry["path"] for page in obstore.list(store.store) for entry in page]
    return found


@pytest.mark.parametrize("side", [20, 700], ids=["small", "large"])
@pytest.mark.parametrize("when", ["queued", "running", "finished"])
def test_delete_erases_image_and_prompt(serve, mortal_valkey, toy, tmp_path, store_url, side, when, eventually):
    if store_url == "memory://" and when != "queued":
        pytest.skip("a worker does not see the memory of another process")
    marker = os.urandom(8).hex()
    store = store_url if store_url != "redis://" else mortal_valkey.url
    service = serve(redis_url=mortal_valkey.url, store_url=store, embedded_redis_folder=mortal_valkey.folder)
    service.app.state.desk.eraser.rewrite.delay_s = service.app.state.desk.eraser.rewrite.pause_s = 0.05
    form = {"prompt": f"remove {marker}"}
    job = service.client.post("/restore", files={"image": marked(marker, side)}, data=form).json()
    url = f"/jobs/{job['id']}"
    assert places_of(marker.encode(), mortal_valkey, tmp_path, service.app)
    if when != "queued":
        worker = toy(url=mortal_valkey.url, store_url=store, hold=when == "running")
        eventually(lambda: service.client.get(url).json()["status"] != "queued")
    if when == "finished":
        assert service.client.get(f"{url}?wait=20").json()["status"] == "succeeded"
    assert service.client.delete(url).status_code == {"queued": 200, "running": 202, "finished": 204}[when]
    if when == "running":
        assert service.client.get(f"{url}?wait=20").json()["status"] == "canceled"
        worker.stop.set()
        rewrite = service.app.state.desk.eraser.rewrite
        service.server._loop.call_soon_threadsafe(rewrite.request)  # as it is after CANCELED_WITHIN_S
    eventually(lambda: not places_of(marker.encode(), mortal_valkey, tmp_path, service.app))
    eventually(lambda: not mortal_valkey.do(lambda redis: redis.keys("undegrade:blob*")))
    if when == "finished":
        named = [key for key in mortal_valkey.do(lambda redis: redis.keys()) if job["id"].encode() in key]
        assert named == []


@pytest.mark.parametrize("side", [20, 700], ids=["small", "large"])
@pytest.mark.parametrize("end", ["expired", "canceled"])
def test_the_input_of_a_job_that_no_worker_took_is_gone_in_seconds(
    serve, valkey, tmp_path, store_url, side, end, eventually
):
    marker = os.urandom(8).hex()
    service = serve(store_url=store_url)
    form = {"deadline_s": "0.3"} if end == "expired" else {}
    job = service.client.post("/restore", files={"image": marked(marker, side)}, data=form).json()
    if end == "canceled":
        service.client.delete(f"/jobs/{job['id']}")
    since_s = time.monotonic()
    eventually(lambda: service.client.get("/jobs").json()["jobs"][0]["status"] == end)
    eventually(lambda: not valkey.do(lambda redis: redis.keys("undegrade:blob*")))
    assert [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()] == []
    assert time.monotonic() - since_s < 15, "in seconds"


def test_an_expired_job_leaves_the_line_and_its_stream_says_so(service, submitted, eventually):
    late, next_one = submitted(deadline_s="0.2"), submitted()
    with service.client.stream("GET", f"/jobs/{late['id']}/events") as stream:
        kinds = [line.removeprefix("event: ") for line in stream.iter_lines() if line.startswith("event")]
    assert kinds == ["queued", "expired"]
    assert service.client.get(f"/jobs/{late['id']}").json()["error"]["code"] == "deadline"
    assert service.client.get(f"/jobs/{next_one['id']}").json()["queue"]["position"] == 0
