"""One job from its input to its end, with a fake engine, store, codec and queue."""

import asyncio
import hashlib
import time
from dataclasses import replace

import pytest
from job_run_bench import (
    DONE,
    ID,
    PIXELS,
    Bench,
    FakeCodec,
    FakeQueue,
    FakeStore,
    outcome_of,
    stepped,
)
from redis.exceptions import ConnectionError as RedisAway

from jobs.errors import StoreError
from jobs.spec import JobControls, Output
from jobs.state import State
from models.errors import PhotoError
from models.photo.codec_pool import CodecFailed, CodecOutOfMemory, DecodeTooSlow
from worker.job_end import Abandoned
from worker.job_run import REPORT_EVERY_S
from worker.messages import Begun, Done, Failed, PassProgress, Task


def test_a_job_ends_with_its_picture_in_the_store():
    bench = Bench(PassProgress(id=ID, outcome=outcome_of()), stepped(), DONE, output=Output(format="jpeg"))
    finished = bench.end()
    state, outcome = finished.state, finished.outcome
    assert state is State.SUCCEEDED
    data = bench.store.blobs[outcome.result.blob]
    assert (data, outcome.result.sha256) == (b"a jpeg file", hashlib.sha256(data).hexdigest())
    assert (outcome.result.format, outcome.result.width_px, outcome.result.height_px) == ("jpeg", 8, 8)
    assert (outcome.stop_reason, outcome.seed, outcome.warnings) == ("clean", 3, ("kept no alpha",))
    assert outcome.passes[0].blob == outcome.result.blob
    assert set(outcome.seconds) == {"queued", "fetch", "decode", "restore", "encode", "store"}
    assert [kind for _, _, kind in bench.queue.reports] == ["detected", "pass.completed"]


@pytest.mark.parametrize("passes", [0, 1, 3])
def test_the_end_of_every_pass_is_told_also_of_the_last(passes):
    told = [PassProgress(id=ID, outcome=outcome_of(count)) for count in range(max(1, passes))]
    bench = Bench(*told, Done(id=ID, outcome=outcome_of(passes, "clean"), pixels=PIXELS))
    bench.end()
    completed = [len(outcome.passes) for _, outcome, kind in bench.queue.reports if kind == "pass.completed"]
    assert completed == [*range(1, passes + 1)]


def test_steps_are_reported_at_most_once_in_their_interval():
    bench = Bench(PassProgress(id=ID, outcome=outcome_of()))

    async def scenario():
        running = asyncio.ensure_future(bench.run.run())
        for number, now_s in enumerate((0.9 * REPORT_EVERY_S, 1.1 * REPORT_EVERY_S, 1.2 * REPORT_EVERY_S)):
            while not bench.engine.sent or not bench.run.answers.empty():
                await asyncio.sleep(0)
            bench.now_s = now_s
            bench.run.answers.put_nowait(stepped(number))
        bench.run.answers.put_nowait(DONE)
        await asyncio.wait_for(running, 30)

    asyncio.run(scenario())
    assert [(kind, progress.step) for progress, _, kind in bench.queue.reports] == [
        ("detected", 0),
        ("step.progress", 1),
        ("pass.completed", 0),
    ]


def test_an_input_that_came_with_the_lease_is_not_fetched_and_not_deleted():
    bench = Bench(DONE, store=FakeStore(blobs={}))
    bench.run.leased = replace(bench.run.leased, input=b"file")
    state = bench.end().state
    assert state is State.SUCCEEDED

    bench.store.blobs["input"] = b"another's"
    asyncio.run(bench.run.delete_input())
    assert "input" in bench.store.blobs, "the commit deletes it"


def test_a_small_picture_beside_the_queue_goes_with_the_commit():
    bench = Bench(DONE, store=FakeStore(beside_queue=True))
    finished = bench.end()
    outcome = finished.outcome
    assert finished.blob.name == outcome.result.blob not in bench.store.blobs
    assert hashlib.sha256(finished.blob.data).hexdigest() == outcome.result.sha256


def test_the_picture_of_each_pass_is_kept_until_the_last():
    bench = Bench(PassProgress(id=ID, outcome=outcome_of()), PassProgress(id=ID, outcome=outcome_of(1), pixels=PIXELS),
                  Done(id=ID, outcome=outcome_of(2, "clean"), pixels=PIXELS))  # fmt: skip
    finished = bench.end()
    outcome = finished.outcome
    first, last = outcome.passes
    assert first.blob in bench.store.blobs and first.blob != last.blob
    assert last.blob == outcome.result.blob


def test_a_failed_job_names_no_pictures_because_they_go_with_its_input():
    told = [PassProgress(id=ID, outcome=outcome_of(count), pixels=PIXELS if count else None) for count in range(2)]
    bench = Bench(*told, Failed(id=ID, code="out-of-memory", detail="no room"))
    finished = bench.end()
    assert finished.state is State.FAILED and len(finished.outcome.passes) == 1
    assert finished.outcome.passes[0].blob is None and finished.outcome.result is None
    asyncio.run(bench.run.discard())
    assert set(bench.store.blobs) == {"input"}


def test_an_image_that_is_only_assessed_has_no_result():
    finished = Bench(Done(id=ID, outcome=outcome_of()), kind="detect").end()
    state, outcome = finished.state, finished.outcome
    assert (state, outcome.result, outcome.degradations) == (State.SUCCEEDED, None, {"noise": 0.9})


def test_the_engine_gets_the_users_controls():
    bench = Bench(DONE, lane="bulk", controls=JobControls(seed=9, steps=3), output=Output(passes=False))
    bench.end()
    (task,) = bench.engine.sent
    assert (task.lane, task.controls.seed, task.controls.steps, task.send_passes) == (2, 9, 3, False)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"store": FakeStore(blobs={})}, "input-missing"),
        ({"codec": FakeCodec(decode_error=PhotoError("no photo"))}, "bad-image"),
        ({"codec": FakeCodec(decode_error=CodecFailed("it died"))}, "bad-image"),
        ({"codec": FakeCodec(decode_error=DecodeTooSlow("30 s"))}, "decode-timeout"),
        ({"codec": FakeCodec(decode_error=CodecOutOfMemory("6 GiB"))}, "out-of-memory"),
        ({"codec": FakeCodec(encode_error=CodecOutOfMemory("6 GiB"))}, "out-of-memory"),
        ({"codec": FakeCodec(encode_error=PhotoError("too wide"))}, "encode"),
        ({"codec": FakeCodec(encode_error=CodecFailed("it died"))}, "encode"),
    ],
)
def test_a_bad_file_fails_with_its_own_code(fields, code):
    finished = Bench(DONE, **fields).end()
    state, outcome = finished.state, finished.outcome
    assert (state, outcome.failure.code) == (State.FAILED, code)
    assert outcome.failure.hint


def test_a_job_without_an_image_fails_with_its_own_code():
    finished = Bench(DONE, source=None).end()
    state, outcome = finished.state, finished.outcome
    assert (state, outcome.failure.code) == (State.FAILED, "input-missing")


def test_a_failure_of_the_engine_is_the_failure_of_the_job():
    finished = Bench(Failed(id=ID, code="out-of-memory", detail="d", hint="h")).end()
    state, outcome = finished.state, finished.outcome
    assert state is State.FAILED
    assert (outcome.failure.code, outcome.failure.detail, outcome.failure.hint) == ("out-of-memory", "d", "h")


def test_a_job_past_its_deadline_is_not_begun():
    bench = Bench(DONE, deadline_ms=2)
    finished = bench.end()
    state, outcome = finished.state, finished.outcome
    assert (state, outcome.failure.code, bench.engine.sent) == (State.EXPIRED, "deadline", [])


def test_a_job_that_was_canceled_before_is_not_begun():
    bench = Bench(DONE, cancel=True)
    assert (bench.end().state, bench.engine.sent) == (State.CANCELED, [])


@pytest.mark.parametrize("interruption", ["cancel", "expire", "abandon"])
def test_an_interrupted_job_leaves_the_engine(interruption):
    bench = Bench(stepped())

    async def scenario():
        running = asyncio.ensure_future(bench.run.run())
        while not bench.engine.sent:
            await asyncio.sleep(0)
        getattr(bench.run, interruption)()
        return await running

    if interruption == "abandon":
        with pytest.raises(Abandoned):
            asyncio.run(scenario())
    else:
        assert asyncio.run(scenario()).state is (State.CANCELED if interruption == "cancel" else State.EXPIRED)
    assert not bench.engine.at_work


def test_discard_deletes_everything_that_a_run_stored():
    bench = Bench(PassProgress(id=ID, outcome=outcome_of(1), pixels=PIXELS), DONE)
    bench.end()
    assert len(bench.store.blobs) == 3
    asyncio.run(bench.run.discard())
    assert set(bench.store.blobs) == {"input"}


def test_a_job_that_is_canceled_while_it_is_decoded_does_not_keep_the_engine_busy():
    bench = Bench()
    bench.run.cancel()
    assert bench.end().state is State.CANCELED
    assert not bench.engine.at_work


def test_a_job_that_meets_an_error_in_our_code_does_not_keep_the_engine_busy():
    bench = Bench(PassProgress(id=ID, outcome=outcome_of()), queue=FakeQueue(error=KeyError("ours")))
    with pytest.raises(KeyError):
        bench.end()
    assert not bench.engine.at_work


def test_a_short_absence_of_redis_does_not_fail_a_job():
    state = Bench(PassProgress(id=ID, outcome=outcome_of()), DONE, queue=FakeQueue(error=RedisAway("gone"))).end().state
    assert state is State.SUCCEEDED


@pytest.mark.parametrize("error", [CodecFailed("it died"), PhotoError("too wide")])
def test_a_pass_picture_that_cannot_be_encoded_does_not_fail_the_job(error):
    class OnceUnable(FakeCodec):
        async def encode(self, photo, pixels, kind=None, quality=None, metadata=True, marking=None):
            self.encode_error, now = None, self.encode_error
            if now:
                raise now
            return await super().encode(photo, pixels, kind, quality, metadata)

    bench = Bench(PassProgress(id=ID, outcome=outcome_of(1), pixels=PIXELS), DONE, codec=OnceUnable(encode_error=error))
    finished = bench.end()
    state, outcome = finished.state, finished.outcome
    assert (state, outcome.passes[0].blob) == (State.SUCCEEDED, outcome.result.blob)


def test_answers_to_an_earlier_attempt_are_ignored():
    """This worker lost the lease and leased the job again: old answers arrive while the image is decoded again."""
    bench = Bench(DONE)
    bench.run.answers.put_nowait(stepped())
    assert bench.end().state is State.SUCCEEDED


def test_the_late_end_of_an_earlier_attempt_does_not_cancel_the_next_ones_task():
    """As above, and the earlier attempt was storing the picture of a pass when it was interrupted."""
    earlier, later = Bench(), Bench()
    later.run.leased = replace(later.run.leased, attempts=2)
    later.run.services = earlier.run.services

    async def scenario():
        sent = earlier.engine.sent
        first = asyncio.ensure_future(earlier.run.run())
        while len(sent) < 1:
            await asyncio.sleep(0)
        second = asyncio.ensure_future(later.run.run())
        while len(sent) < 2:
            await asyncio.sleep(0)
        earlier.run.abandon()
        with pytest.raises(Abandoned):
            await first
        second.cancel()
        task = sent[1]
        assert isinstance(task, Task)
        assert task.id not in [command.id for command in sent[2:3]]

    asyncio.run(scenario())


class EndlessCodec(FakeCodec):
    """Decodes for ever, and notes that it was ended."""

    def __init__(self) -> None:
        super().__init__()
        self.decoding, self.ended = asyncio.Event(), False

    async def decode(self, data, crop=None, scale=1):
        self.decoding.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended = True


@pytest.mark.parametrize(
    ("interruption", "state"),
    [("cancel", State.CANCELED), ("expire", State.EXPIRED), ("time_out", State.FAILED), ("abandon", None)],
)
@pytest.mark.parametrize("repeated", [False, True])
def test_an_interruption_ends_a_decoder_that_runs(interruption, state, repeated):
    codec = EndlessCodec()
    bench = Bench(codec=codec)

    async def scenario():
        running = asyncio.ensure_future(bench.run.run())
        await codec.decoding.wait()
        for _ in range(1 + repeated):
            getattr(bench.run, interruption)()
        return await asyncio.wait_for(running, 30)

    if state is None:
        with pytest.raises(Abandoned):
            asyncio.run(scenario())
    else:
        assert asyncio.run(scenario()).state is state
    assert codec.ended and bench.engine.sent == []


def test_a_job_whose_lease_is_lost_is_not_ended_even_if_it_was_canceled():
    codec = EndlessCodec()
    bench = Bench(codec=codec)

    async def scenario():
        running = asyncio.ensure_future(bench.run.run())
        await codec.decoding.wait()
        bench.run.cancel()
        bench.run.abandon()
        with pytest.raises(Abandoned):
            await asyncio.wait_for(running, 30)

    asyncio.run(scenario())


def test_a_deadline_ends_a_job_wherever_it_is_without_any_help_of_redis():
    codec = EndlessCodec()
    finished = Bench(codec=codec, deadline_ms=int(time.time() * 1000) + 300).end()
    assert (finished.state, finished.outcome.failure.code) == (State.EXPIRED, "deadline")
    assert codec.ended


def test_a_far_deadline_is_no_trouble():
    assert Bench(DONE, deadline_ms=2**53).end().state is State.SUCCEEDED


def test_a_job_that_runs_for_too_long_fails_with_its_own_code_and_leaves_the_engine():
    bench = Bench(Begun(ID))
    bench.run.services = replace(bench.run.services, max_running_s=0.05)
    finished = bench.end()
    assert (finished.state, finished.outcome.failure.code) == (State.FAILED, "time-limit")
    assert not bench.engine.at_work


def test_the_time_limit_does_not_count_the_wait_for_a_turn():
    bench = Bench()
    bench.run.services = replace(bench.run.services, max_running_s=0.05)

    async def scenario():
        running = asyncio.ensure_future(bench.run.run())
        await asyncio.sleep(0.2)
        assert not running.done() and bench.queue.reports == []
        bench.run.answers.put_nowait(DONE)
        return await asyncio.wait_for(running, 30)

    assert asyncio.run(scenario()).state is State.SUCCEEDED


def test_a_job_starts_when_the_engine_begins_with_it_and_only_once():
    bench = Bench(Begun(ID), PassProgress(id=ID, outcome=outcome_of()), Begun(ID), DONE)
    bench.end()
    assert [kind for _, _, kind in bench.queue.reports] == ["started", "detected", "pass.completed"]


def test_the_engines_seconds_are_the_jobs_work_and_its_attempt_has_a_name():
    bench = Bench(replace(DONE, work_s=1.25))
    finished = bench.end()
    assert (finished.work_s, finished.fence) == (1.25, bench.run.task_id)


def test_a_result_that_cannot_be_stored_is_kept_until_it_can_and_nothing_is_computed_again():
    class OnceFull(FakeStore):
        async def put(self, name, data, keep_s, *, replicated=True):
            if not failures:
                failures.append(name)
                raise StoreError("no space")
            await super().put(name, data, keep_s)

    failures = []
    bench = Bench(DONE, store=OnceFull())
    finished = bench.end()
    assert finished.state is State.SUCCEEDED and failures == [finished.outcome.result.blob]
    assert sum(isinstance(command, Task) for command in bench.engine.sent) == 1


def test_a_store_that_cannot_be_read_fails_the_job_in_its_name():
    class Broken(FakeStore):
        async def get(self, name):
            raise StoreError("no such disk")

    async def no_pause(seconds):
        pass

    bench = Bench(DONE, store=Broken())
    bench.run.store.sleep = no_pause
    finished = bench.end()
    assert (finished.state, finished.outcome.failure.code) == (State.FAILED, "store-unavailable")
