"""A store that fails is waited for, with growing pauses and a bounded number of tries."""

import asyncio

import pytest
from redis.exceptions import ConnectionError as RedisAway
from redis.exceptions import OutOfMemoryError as RedisFull

from jobs import redis_keys
from jobs.blob_store import Blob
from jobs.errors import BlobMissing, NotReplicated, StoreError
from worker.job_end import Ended
from worker.patient_store import MAX_TRIES, PatientStore

BLOB = Blob("job/result", b"pixels", 60)


class FailingStore:
    """Fails with these errors, one after the other, and then works."""

    def __init__(self, *errors) -> None:
        self.errors, self.calls, self.blobs = list(errors), 0, {}

    async def get(self, name):
        self._fail()
        return self.blobs.get(name, b"file")

    async def put(self, name, data, ttl_s, *, replicated=True):
        self._fail()
        self.blobs[name] = data

    def _fail(self):
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)


def use(store, action):
    pauses = []

    async def sleep(seconds):
        pauses.append(seconds)

    return lambda: asyncio.run(action(PatientStore(store, "job", sleep))), pauses


@pytest.mark.parametrize("error", [StoreError("disk"), RedisFull("full"), OSError("disk")])
@pytest.mark.parametrize("action", [lambda store: store.get("a"), lambda store: store.put(BLOB)])
def test_a_store_that_stays_broken_ends_the_job_after_a_bounded_number_of_tries(error, action):
    store = FailingStore(*[error] * 1000)
    run, pauses = use(store, action)
    with pytest.raises(Ended) as caught:
        run()
    assert caught.value.failure.code == "store-unavailable"
    assert "disk" not in caught.value.failure.detail, "the operator's paths are not the user's"
    assert store.calls == MAX_TRIES
    assert pauses == sorted(pauses) and sum(pauses) > 30, "the pauses grow"


@pytest.mark.parametrize("error", [StoreError("disk"), RedisFull("full"), RedisAway("gone")])
def test_a_store_that_recovers_gets_the_result(error):
    store = FailingStore(*[error] * (MAX_TRIES - 1))
    use(store, lambda store: store.put(BLOB))[0]()
    assert store.blobs == {BLOB.name: BLOB.data}


def test_a_redis_that_does_not_answer_is_waited_for_as_long_as_the_lease():
    store = FailingStore(*[RedisAway("gone")] * 100)
    run, pauses = use(store, lambda store: store.put(BLOB))
    run()
    assert store.blobs == {BLOB.name: BLOB.data}
    assert max(pauses) <= 5, "a result is stored soon after Redis is back, however long that took"


class NoReplicas(FailingStore):
    """Its Redis has no replica that answers."""

    async def put(self, name, data, ttl_s, *, replicated=True):
        self.calls += 1
        if replicated:
            raise NotReplicated("0 of 1 replicas have the write")
        self.blobs[name] = data


def test_replicas_that_do_not_answer_are_waited_for_as_long_as_a_commit_waits_and_not_for_ever():
    store, now_s = NoReplicas(), [0.0]

    async def sleep(seconds):
        now_s[0] += seconds

    asyncio.run(PatientStore(store, "job", sleep, lambda: now_s[0]).put(BLOB))
    assert store.blobs == {BLOB.name: BLOB.data}
    assert store.calls > 1 and now_s[0] >= redis_keys.LEASE_MS / 1000


def test_a_missing_blob_is_missing_at_once():
    store = FailingStore(BlobMissing("none"))
    with pytest.raises(BlobMissing):
        use(store, lambda store: store.get("a"))[0]()
    assert store.calls == 1
