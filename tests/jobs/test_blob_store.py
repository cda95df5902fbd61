import asyncio
import subprocess
import sys
import time
from pathlib import Path

import obstore
import pytest
import redis.exceptions
from redis.asyncio import Redis
from store_bench import HOUR_S, every_backend, run, swept_backends

from jobs.blob_store import BlobStore
from jobs.errors import BlobMissing, StoreError


@every_backend
@pytest.mark.parametrize("data", [b"", b"\x00\xff\r\n", bytes(range(256)) * 20_000], ids=["none", "binary", "5 MB"])
def test_what_is_put_comes_back(valkey_url, url, data):
    async def scenario(store: BlobStore, _: Redis) -> None:
        await store.put("job/input", data, HOUR_S)
        got = await store.get("job/input")
        assert type(got) is bytes
        assert got == data

    run(valkey_url, url, scenario)


@every_backend
def test_a_second_put_replaces_the_first(valkey_url, url):
    async def scenario(store: BlobStore, _: Redis) -> None:
        await store.put("job/input", b"longer than", HOUR_S)
        await store.put("job/input", b"this", HOUR_S)
        assert await store.get("job/input") == b"this"

    run(valkey_url, url, scenario)


@every_backend
def test_a_blob_that_never_was_is_missing_by_its_name(valkey_url, url):
    async def scenario(store: BlobStore, _: Redis) -> None:
        with pytest.raises(BlobMissing, match="job/input"):
            await store.get("job/input")

    run(valkey_url, url, scenario)


@every_backend
def test_delete_removes_the_named_blobs_and_ignores_missing_ones(valkey_url, url):
    async def scenario(store: BlobStore, _: Redis) -> None:
        for name in ("job/input", "job/result", "job/passes/1"):
            await store.put(name, b"x", HOUR_S)
        await store.delete("job/input", "job/never", "job/passes/1")
        await store.delete("job/input")
        await store.delete()
        assert await store.get("job/result") == b"x"
        for deleted in ("job/input", "job/passes/1"):
            with pytest.raises(BlobMissing):
                await store.get(deleted)

    run(valkey_url, url, scenario)


@every_backend
def test_deleted_blobs_leave_nothing_in_redis(valkey_url, url):
    async def scenario(store: BlobStore, client: Redis) -> None:
        await store.put("job/input", b"x", HOUR_S)
        await store.delete("job/input")
        assert await client.keys() == []

    run(valkey_url, url, scenario)


@every_backend
@pytest.mark.parametrize(
    "name",
    ["", "/", "/abs", "a//b", "a/", "../etc/passwd", "a/../b", "a..b", ".", "a/./b", "a b", "a\n", "ä", "a\\b", "a%2e"],
)
def test_a_name_that_is_not_a_plain_path_is_refused(valkey_url, url, name):
    async def scenario(store: BlobStore, client: Redis) -> None:
        for act in (store.put(name, b"x", HOUR_S), store.get(name), store.delete("job/input", name)):
            with pytest.raises(StoreError, match="expected a path"):
                await act
        assert await client.keys() == []

    run(valkey_url, url, scenario)


@swept_backends
def test_sweep_deletes_expired_blobs_and_counts_them(valkey_url, url):
    async def scenario(store: BlobStore, _: Redis) -> None:
        now_s = time.time()
        await store.put("short/a", b"x", 10)
        await store.put("short/b", b"x", 10)
        await store.put("long/a", b"x", HOUR_S)
        assert await store.sweep(now_s) == 0
        assert await store.sweep(now_s + 60) == 2
        assert await store.sweep(now_s + 60) == 0
        assert await store.get("long/a") == b"x"
        with pytest.raises(BlobMissing):
            await store.get("short/a")

    run(valkey_url, url, scenario)


@swept_backends
def test_a_second_put_extends_the_time_to_live(valkey_url, url):
    async def scenario(store: BlobStore, _: Redis) -> None:
        await store.put("job/input", b"x", 10)
        await store.put("job/input", b"x", HOUR_S)
        assert await store.sweep(time.time() + 60) == 0
        assert await store.get("job/input") == b"x"

    run(valkey_url, url, scenario)


@pytest.mark.parametrize("url", ["file", "s3"], indirect=True)
def test_blobs_and_their_expiry_survive_a_restart(valkey_url, url):
    async def before(store: BlobStore, _: Redis) -> None:
        await store.put("job/input", b"x", 10)
        await store.put("job/result", b"y", HOUR_S)

    async def after(store: BlobStore, _: Redis) -> None:
        assert await store.sweep(time.time() + 60) == 1
        assert await store.get("job/result") == b"y"

    run(valkey_url, url, before)
    run(valkey_url, url, after)


@pytest.mark.parametrize("url", ["file"], indirect=True)
def test_a_job_whose_blobs_are_deleted_leaves_no_folder(valkey_url, url):
    async def scenario(store: BlobStore, _: Redis) -> None:
        await store.put("job/input", b"x", 10)
        await store.put("job/passes/1", b"x", 10)
        await store.sweep(time.time() + 60)

    run(valkey_url, url, scenario)
    folder = Path(url.removeprefix("file://"))
    assert folder.is_dir()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("url", ["file"], indirect=True)
def test_a_put_during_the_delete_of_the_folders_last_blob_succeeds(valkey_url, url):
    async def scenario(store: BlobStore, _: Redis) -> None:
        for _turn in range(100):
            await store.put("job/input", b"x", HOUR_S)
            await asyncio.gather(store.delete("job/input"), store.put("job/result", b"y", HOUR_S))
            assert await store.get("job/result") == b"y"
            await store.delete("job/result")

    run(valkey_url, url, scenario)


@pytest.mark.parametrize("url", ["file"], indirect=True)
def test_a_blob_that_cannot_be_deleted_does_not_stop_the_others(valkey_url, url):
    folder = Path(url.removeprefix("file://"))

    async def scenario(store: BlobStore, _: Redis) -> None:
        for name in ("a", "b", "c"):
            await store.put(name, b"x", 10)
        (folder / "a").unlink()
        (folder / "a" / "inside").mkdir(parents=True)  # no store deletes a folder as a blob
        with pytest.raises(StoreError, match="cannot delete a"):
            await store.sweep(time.time() + 60)
        assert [path.name for path in folder.iterdir()] == ["a"]

    run(valkey_url, url, scenario)


@pytest.mark.parametrize("url", ["file"], indirect=True)
def test_an_error_of_the_backend_names_the_blob_and_its_cause(valkey_url, url):
    async def scenario(store: BlobStore, _: Redis) -> None:
        name = "job/" + "x" * 300  # longer than a file system allows
        with pytest.raises(StoreError, match=name) as caught:
            await store.put(name, b"x", HOUR_S)
        assert not isinstance(caught.value, BlobMissing)
        assert caught.value.__cause__ is not None
        assert "\n" not in str(caught.value)

    run(valkey_url, url, scenario)


def test_a_missing_s3_bucket_is_an_error_and_not_a_missing_blob(valkey_url, bucket):
    async def scenario(store: BlobStore, _: Redis) -> None:
        with pytest.raises(StoreError, match="cannot store job/input"):
            await store.put("job/input", b"x", HOUR_S)

    run(valkey_url, bucket.replace("s3://bucket", "s3://nobodys"), scenario)


def test_a_blob_in_redis_expires_by_itself(valkey_url):
    async def scenario(store: BlobStore, client: Redis) -> None:
        await store.put("job/input", b"x", HOUR_S)
        assert 0 < await client.ttl("undegrade:blob:job/input") <= HOUR_S
        assert await store.sweep(time.time() + 2 * HOUR_S) == 0
        await store.put("job/input", b"x", 1)
        while await client.exists("undegrade:blob:job/input"):
            await asyncio.sleep(0.05)
        with pytest.raises(BlobMissing):
            await store.get("job/input")

    run(valkey_url, "redis://", scenario)


def test_a_process_that_ends_right_after_its_last_blob_does_not_crash():
    script = """
import asyncio
from contextlib import suppress
from jobs.errors import BlobMissing
from jobs.blob_store import open_store

async def main():
    with suppress(BlobMissing):
        await open_store("memory://", None).get("job/input")

asyncio.run(main())
"""
    for _turn in range(5):  # obstore's own coroutines abort more than every second one
        assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_the_redis_client_stays_open_when_a_store_closes(valkey_url):
    async def scenario(store: BlobStore, client: Redis) -> None:
        await store.close()
        assert await client.ping()

    run(valkey_url, "redis://", scenario)


@pytest.mark.parametrize("url", ["memory://", "redis://"])
def test_redis_being_away_raises_redis_own_error(tmp_path, url):
    async def scenario(store: BlobStore, _: Redis) -> None:
        with pytest.raises(redis.exceptions.ConnectionError):
            await store.put("job/input", b"x", HOUR_S)

    run(f"unix://{tmp_path}/nobody", url, scenario)


@every_backend
def test_a_store_that_works_passes_the_probe_and_keeps_nothing_of_it(valkey_url, url):
    async def scenario(store: BlobStore, client: Redis) -> None:
        await store.probe()
        assert await client.zcard("undegrade:blobs") == 0

    run(valkey_url, url, scenario)
    folder = Path(url.removeprefix("file://"))
    assert not folder.is_dir() or list(folder.rglob("*")) == []


def test_a_missing_bucket_does_not_pass_the_probe(valkey_url, bucket):
    async def scenario(store: BlobStore, _: Redis) -> None:
        with pytest.raises(StoreError, match=r"the bucket .* does not exist"):
            await store.probe()

    run(valkey_url, bucket.replace("s3://bucket", "s3://nobodys"), scenario)


WRITE_AND_DIE = """
import os, signal, sys, threading, time
from pathlib import Path
import obstore
from obstore.store import LocalStore

folder = Path(sys.argv[1])
store = LocalStore(str(folder), mkdir=True, automatic_cleanup=True)
threading.Thread(target=obstore.put, args=(store, "job/input", bytes(200_000_000)), daemon=True).start()
while not list(folder.rglob("input*")):
    time.sleep(0.001)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("url", ["file"], indirect=True)
def test_what_a_process_has_written_of_a_blob_before_it_was_killed_goes_with_the_blob(valkey_url, url):
    folder = Path(url.removeprefix("file://"))

    async def scenario(store: BlobStore, client: Redis) -> None:
        await client.zadd("undegrade:blobs", {"job/input": time.time() + HOUR_S})  # as a put does before it writes
        killed = subprocess.run([sys.executable, "-c", WRITE_AND_DIE, str(folder)], check=False)
        assert killed.returncode == -9 and [path.name for path in folder.rglob("*") if path.is_file()] == ["input#1"]
        await store.put("job/result", b"another", HOUR_S)
        await store.delete("job/input")
        assert [path.name for path in folder.rglob("*") if path.is_file()] == ["result"]
        await store.put("job/input-1", b"a name of ours", HOUR_S)
        assert await store.sweep(time.time() + 2 * HOUR_S) == 2

    run(valkey_url, url, scenario)
    assert list(folder.rglob("*")) == []


@swept_backends
def test_a_write_whose_answer_was_lost_is_deleted_later_unless_it_is_repeated(valkey_url, url, monkeypatch):
    async def scenario(store: BlobStore, client: Redis) -> None:
        put = obstore.put

        def lost(*arguments, **named):
            put(*arguments, **named)
            raise OSError("connection reset")

        monkeypatch.setattr(obstore, "put", lost)
        for name in ("job/once", "job/again"):
            with pytest.raises(StoreError, match="connection reset"):
                await store.put(name, b"x", 2 * HOUR_S)
        monkeypatch.undo()
        await store.put("job/again", b"x", 2 * HOUR_S)
        assert await store.sweep(time.time()) == 0, "a worker may be about to write it once more"
        assert await store.sweep(time.time() + HOUR_S) == 1
        assert await store.get("job/again") == b"x"
        with pytest.raises(BlobMissing):
            await store.get("job/once")

    run(valkey_url, url, scenario)


@pytest.mark.parametrize("url", ["file"], indirect=True)
def test_the_probe_of_a_process_that_was_killed_is_swept(valkey_url, url, monkeypatch):
    async def scenario(store: BlobStore, _: Redis) -> None:
        monkeypatch.setattr(obstore, "delete", lambda *arguments: 1 / 0)  # the process ends here
        with pytest.raises(ZeroDivisionError):
            await store.probe()
        monkeypatch.undo()
        assert await store.sweep(time.time()) == 0
        assert await store.sweep(time.time() + HOUR_S) == 1

    run(valkey_url, url, scenario)
    assert list(Path(url.removeprefix("file://")).rglob("*")) == []
