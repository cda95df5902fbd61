"""An old and a new version on one queue, as during an upgrade.  The other version's records are written by hand.

`newer` is what a later version may write: a spec of version 3, or unknown fields.  `oldest` is what the first version
wrote: no field that came later.
"""

import json

import pytest
from queue_bench import BUNDLE, MANY, finished, spec

from jobs import api_keys, redis_keys
from jobs.errors import NewerSpec
from jobs.job_list import Filter
from jobs.record import WorkerInfo
from jobs.spec import LANES, JobSpec
from jobs.state import State


async def submit_as(bench, change) -> JobSpec:
    """Submit a job, and change the text of its spec as another version would have written it."""
    job = spec(kind="restore")
    await bench.queue.submit(job, MANY)
    text = json.loads(job.dump())
    change(text)
    await bench.redis.hset(redis_keys.JOB + job.id, "spec", json.dumps(text))
    return job


def version_3(text):
    text["version"] = 3
    text["mask"] = {"blob": f"{text['id']}/mask"}


def new_control(text):
    text["controls"]["sharpen"] = 0.5


def new_kind_of_output(text):
    text["output"]["frames"] = 3


def harmless_field(text):
    text["trace"] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize("newer", [version_3, new_control, new_kind_of_output])
def test_an_old_worker_fails_a_newer_job_by_name_and_runs_the_next_one(run, newer):
    """It must not run it without what it does not know: the result would be another one."""

    async def scenario(bench):
        job, good = await submit_as(bench, newer), spec()
        await bench.queue.submit(good, MANY)
        leased, refused = await bench.queue.lease([BUNDLE], LANES, 5, worker="w", token="a", held=0)
        assert [entry.spec.id for entry in leased] == [good.id]
        assert [(entry.id, entry.reason) for entry in refused] == [(job.id, "spec-version")]
        outcome = json.loads(await bench.redis.hget(redis_keys.JOB + job.id, "outcome"))
        assert outcome["failure"]["code"] == "spec-version" and "upgrade the workers" in outcome["failure"]["hint"]
        assert (await bench.event_types(job))[-1] == "failed"
        assert (await bench.queue.counters.read())["refused:spec-version"] == 1

    run(scenario)


def test_an_old_worker_runs_a_job_with_a_new_field_that_does_not_change_the_result(run):
    async def scenario(bench):
        job = await submit_as(bench, harmless_field)
        assert (await bench.lease_one()).spec.id == job.id
        assert await bench.commit(job) is State.SUCCEEDED

    run(scenario)


def test_an_old_worker_never_looks_into_the_queues_of_a_later_version(run):
    """A version whose jobs old workers must leave alone puts them into queues of their own, as bundle.lane.v2."""

    async def scenario(bench):
        (job,) = await bench.submit("standard")
        await bench.redis.rename(f"rq:queue:{BUNDLE}.standard", f"rq:queue:{BUNDLE}.standard.v2")
        await bench.redis.sadd(redis_keys.RQ_QUEUES, f"rq:queue:{BUNDLE}.standard.v2")
        assert await bench.lease(5) == []
        assert await bench.redis.lrange(f"rq:queue:{BUNDLE}.standard.v2", 0, -1) == [job.id.encode()]

    run(scenario)


@pytest.mark.parametrize("newer", [version_3, new_control])
def test_an_old_api_says_that_a_newer_job_is_newer_and_lists_the_others(run, newer):
    async def scenario(bench):
        job = await submit_as(bench, newer)
        (own,) = await bench.submit("bulk")
        with pytest.raises(NewerSpec):
            await bench.queue.record(job.id)
        assert [record.spec.id for record in (await bench.queue.listing.page(Filter(), 10)).records] == [own.id]

    run(scenario)


def test_an_old_api_reads_the_progress_and_the_outcome_of_a_new_worker(run):
    async def scenario(bench):
        job = await bench.running()
        outcome = {
            "degradations": {"noise": 0.5}, "confidence": 0.9, "seconds": {"restore": 1.5},
            "passes": [{"label": "noise", "source": "auto", "probability_before": 0.5, "heat": 3}],
            "failure": None, "result": None,
        }  # fmt: skip
        progress = {"fraction": 0.5, "tiles_left": 7}
        await bench.redis.hset(
            redis_keys.JOB + job.id, mapping={"outcome": json.dumps(outcome), "progress": json.dumps(progress)}
        )
        record = await bench.queue.record(job.id)
        assert record.outcome.degradations == {"noise": 0.5} and record.outcome.passes[0].label == "noise"
        assert record.progress.fraction == 0.5

    run(scenario)


OLDEST_WORKER = {
    "name": "w", "host": "h", "bundle": BUNDLE, "family": "f", "bundle_version": "1", "device": "cpu",
    "lanes": list(LANES), "max_batch": 1, "ready": True, "started_ms": 1,
}  # fmt: skip


def test_a_new_api_reads_the_entry_of_an_old_worker_and_drains_it(run):
    async def scenario(bench):
        await bench.redis.sadd(redis_keys.WORKERS, f"w/{BUNDLE}")
        await bench.redis.set(redis_keys.WORKER + f"w/{BUNDLE}", json.dumps(OLDEST_WORKER))
        (worker,) = await bench.queue.workers.alive()
        assert worker == WorkerInfo(**OLDEST_WORKER) and worker.state == "idle" and worker.takes_jobs
        (worker,) = await bench.queue.workers.drain("w", "")
        assert worker.state == "draining", "it never says that it is drained: it does not know the word"

    run(scenario)


def test_a_new_worker_runs_the_job_of_an_old_api(run):
    """The first version's submit wrote neither of the later fields of the record."""

    async def scenario(bench):
        job = await submit_as(bench, lambda text: [text.pop(name) for name in ("owner", "deadline_ms", "output")])
        for field in await bench.redis.hkeys(redis_keys.JOB + job.id):
            if field.decode() not in ("spec", "state", "queue", "bundle", "enqueued_ms", "keep_s"):
                await bench.redis.hdel(redis_keys.JOB + job.id, field)
        assert (await bench.lease_one()).spec.id == job.id
        await bench.begin(job)
        (state,) = await bench.queue.commit("a", [finished(job)])
        assert state is State.SUCCEEDED and (await bench.queue.record(job.id)).state is State.SUCCEEDED

    run(scenario)


FIRST_FIELDS = {"name", "sha256", "created_ms", "last_used_ms"}


def test_an_api_key_of_an_old_version_may_restore_and_is_written_so_that_the_old_version_reads_it(run):
    async def scenario(bench):
        key_id, secret = await api_keys.create(bench.redis, "old")
        stored = json.loads(await bench.redis.hget(redis_keys.API_KEYS, key_id))
        assert set(stored) == FIRST_FIELDS, "the fields of the first version"
        assert (await api_keys.verify(bench.redis, secret)).rights == {"restore", "read"}

    run(scenario)


def test_an_admin_key_of_an_old_version_may_do_everything_and_a_new_one_has_the_same_record(run):
    async def scenario(bench):
        key_id, secret = await api_keys.create(bench.redis, "admin", "admin")
        stored = json.loads(await bench.redis.hget(redis_keys.API_KEYS, key_id))
        assert set(stored) == {*FIRST_FIELDS, "scope"} and stored["scope"] == "admin"
        assert (await api_keys.verify(bench.redis, secret)).rights == {"restore", "read", "admin"}

    run(scenario)


@pytest.mark.parametrize(
    ("scopes", "expires_ms"), [(("restore",), None), (("read",), None), (("restore", "read"), 9), (("admin",), 9)]
)
def test_an_old_version_refuses_a_key_that_it_would_let_do_too_much(run, scopes, expires_ms):
    """It reads `scope` only, and a word that it does not know allows nothing."""

    async def scenario(bench):
        key_id, _ = await api_keys.create(bench.redis, "new", *scopes, expires_ms=expires_ms)
        stored = json.loads(await bench.redis.hget(redis_keys.API_KEYS, key_id))
        assert stored["scope"] not in ("restore", "admin")
        await api_keys.update(bench.redis, key_id, scopes=("restore", "read"), expires_ms=None)
        stored = json.loads(await bench.redis.hget(redis_keys.API_KEYS, key_id))
        assert set(stored) == FIRST_FIELDS, "unrestricted again"

    run(scenario)


def test_what_a_later_version_adds_to_an_api_key_stays_when_its_last_use_is_written(run):
    async def scenario(bench):
        key_id, secret = await api_keys.create(bench.redis, "new", "admin")
        stored = json.loads(await bench.redis.hget(redis_keys.API_KEYS, key_id))
        later = {**stored, "scope": "paint", "regions": ["eu"]}
        await bench.redis.hset(redis_keys.API_KEYS, key_id, json.dumps(later))
        assert (await api_keys.verify(bench.redis, secret)).rights == {"paint"}
        await api_keys.note_use(bench.redis, key_id)
        after = json.loads(await bench.redis.hget(redis_keys.API_KEYS, key_id))
        assert after.pop("last_used_ms") and after == {k: v for k, v in later.items() if k != "last_used_ms"}

    run(scenario)
