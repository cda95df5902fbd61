"""One job from its blob to its end, with an engine, a store and a queue that are easily told what to do."""

import asyncio
import hashlib
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from redis.exceptions import ConnectionError as RedisAway

from jobs.errors import BlobMissing
from jobs.queue import Leased
from jobs.record import Outcome, Progress, State
from jobs.spec import JobControls, JobSpec, Output, Source
from models.errors import PhotoError
from models.photo.read import Photo
from worker.codec import TooHard
from worker.job_run import REPORT_EVERY_S, Abandoned, Ended, JobRun, Room
from worker.messages import Cancel, Done, Failed, Passed, Stepped, Task

ID = "0" * 32
PIXELS = np.zeros((8, 8, 3), np.uint8)
PASS = {
    "label": "noise", "source": "auto", "probability_before": 0.9, "probability_after": 0.1, "kept": True, "seconds": 1,
}  # fmt: skip


def report(passes=0, stop_reason=""):
    return {
        "degradations": {"noise": 0.9}, "passes": [PASS] * passes, "stop_reason": stop_reason, "seed": 3, "steps": 2,
        "warnings": [],
    }  # fmt: skip


def stepped(step=1):
    return Stepped(id=ID, pass_index=0, passes=1, step=step, steps=2, fraction=step / 2)


DONE = Done(id=ID, report=report(1, "clean"), pixels=PIXELS)


@dataclass
class FakeQueue:
    error: Exception | None = None
    reports: list[tuple[Progress, Outcome | None, str]] = field(default_factory=list)

    async def report(self, token, job, progress, outcome=None, event=None):
        if self.error:
            raise self.error
        self.reports.append((progress, outcome, event.type))
        return True


@dataclass
class FakeStore:
    beside_queue: bool = False
    blobs: dict[str, bytes] = field(default_factory=lambda: {"input": b"file"})

    async def get(self, name):
        if name not in self.blobs:
            raise BlobMissing(f"there is no blob {name}")
        return self.blobs[name]

    async def put(self, name, data, keep_s):
        self.blobs[name] = data

    async def delete(self, *names):
        for name in names:
            self.blobs.pop(name, None)


@dataclass
class FakePictures:
    decode_error: Exception | None = None
    encode_error: Exception | None = None

    async def decode(self, data):
        await asyncio.sleep(0)
        if self.decode_error:
            raise self.decode_error
        return Photo(pixels=PIXELS, format="png")

    async def encode(self, photo, pixels, kind=None, quality=None, metadata=True):
        if self.encode_error:
            raise self.encode_error
        return f"a {kind or 'png'} file".encode(), kind or "png"

    def warnings(self, photo, kind):
        return ("kept no alpha",) if kind == "jpeg" else ()


class FakeEngine:
    """Answers a task with what it was told to; None: it thinks for ever."""

    def __init__(self, *answers) -> None:
        self.answers, self.sent, self.run = answers, [], None

    def send(self, command):
        self.sent.append(command)
        if isinstance(command, Task):
            for answer in self.answers:
                self.run.answers.put_nowait(answer)
        return True

    @property
    def at_work(self) -> bool:
        """Whether it still has the task, as far as it was told."""
        ended = any(isinstance(answer, Done | Failed) for answer in self.answers)
        given = any(isinstance(command, Task) for command in self.sent)
        return given and not ended and not any(isinstance(command, Cancel) for command in self.sent)


class Bench:
    def __init__(self, *answers, queue=None, pictures=None, store=None, cancel=False, **said) -> None:
        self.engine, self.queue, self.store = FakeEngine(*answers), queue or FakeQueue(), store or FakeStore()
        source = Source(blob="input", bytes=4, sha256="", format="png", width_px=8, height_px=8)
        spec = JobSpec(**{"id": ID, "bundle": "b", "submitted_ms": 1, "source": source, **said})
        room = Room(
            queue=self.queue,
            store=self.store,
            pictures=pictures or FakePictures(),
            engine=self.engine,
            token="w:12345678",
        )
        self.run = JobRun(Leased(spec=spec, attempts=1, deaths=0, alone=False, cancel=cancel), room)
        self.engine.run = self.run

    def end(self) -> tuple[State, Outcome]:
        return asyncio.run(asyncio.wait_for(self.run.run(), 30))


def test_a_job_ends_with_its_picture_in_the_store():
    bench = Bench(Passed(id=ID, report=report()), stepped(), DONE, output=Output(format="jpeg"))
    state, outcome = bench.end()
    assert state is State.SUCCEEDED
    data = bench.store.blobs[outcome.result.blob]
    assert (data, outcome.result.sha256) == (b"a jpeg file", hashlib.sha256(data).hexdigest())
    assert (outcome.result.format, outcome.result.width_px, outcome.result.height_px) == ("jpeg", 8, 8)
    assert (outcome.stop_reason, outcome.seed, outcome.warnings) == ("clean", 3, ("kept no alpha",))
    assert outcome.passes[0].blob == outcome.result.blob
    assert set(outcome.seconds) == {"fetch", "decode", "restore", "encode", "store"}
    assert [kind for _, _, kind in bench.queue.reports] == ["detected"]


def test_a_step_is_told_when_the_job_takes_long_enough_for_somebody_to_watch():
    bench = Bench(Passed(id=ID, report=report()))

    async def scenario() -> tuple[State, Outcome]:
        asyncio.get_running_loop().call_later(1.1 * REPORT_EVERY_S, bench.run.answers.put_nowait, stepped())
        asyncio.get_running_loop().call_later(1.2 * REPORT_EVERY_S, bench.run.answers.put_nowait, DONE)
        return await asyncio.wait_for(bench.run.run(), 30)

    asyncio.run(scenario())
    assert [kind for _, _, kind in bench.queue.reports] == ["detected", "step.progress"]


def test_an_input_that_came_with_the_lease_is_not_fetched_and_not_deleted():
    bench = Bench(DONE, store=FakeStore(blobs={}))
    bench.run.leased = replace(bench.run.leased, input=b"file")
    state, _ = bench.end()
    assert state is State.SUCCEEDED

    bench.store.blobs["input"] = b"another's"
    asyncio.run(bench.run.drop_input())
    assert "input" in bench.store.blobs, "its end has removed it"


def test_a_small_picture_beside_the_queue_goes_with_the_commit():
    bench = Bench(DONE, store=FakeStore(beside_queue=True))
    _, outcome = bench.end()
    assert bench.run.carried.name == outcome.result.blob not in bench.store.blobs
    assert hashlib.sha256(bench.run.carried.data).hexdigest() == outcome.result.sha256


def test_the_picture_of_each_pass_is_kept_until_the_last():
    bench = Bench(Passed(id=ID, report=report()), Passed(id=ID, report=report(1), pixels=PIXELS),
                  Done(id=ID, report=report(2, "clean"), pixels=PIXELS))  # fmt: skip
    _, outcome = bench.end()
    first, last = outcome.passes
    assert first.blob in bench.store.blobs and first.blob != last.blob
    assert last.blob == outcome.result.blob


def test_an_image_that_is_only_assessed_has_no_result():
    state, outcome = Bench(Done(id=ID, report=report()), kind="detect").end()
    assert (state, outcome.result, outcome.degradations) == (State.SUCCEEDED, None, {"noise": 0.9})


def test_the_engine_is_told_what_the_user_said():
    bench = Bench(DONE, lane="bulk", controls=JobControls(seed=9, steps=3), output=Output(passes=False))
    bench.end()
    (task,) = bench.engine.sent
    assert (task.lane, task.controls["seed"], task.controls["steps"], task.pictures) == (2, 9, 3, False)


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"store": FakeStore(blobs={})}, "input-missing"),
        ({"pictures": FakePictures(decode_error=PhotoError("no photo"))}, "bad-image"),
        ({"pictures": FakePictures(decode_error=TooHard("it died"))}, "bad-image"),
        ({"pictures": FakePictures(encode_error=PhotoError("too wide"))}, "encode"),
        ({"pictures": FakePictures(encode_error=TooHard("it died"))}, "encode"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_by_its_code(said, code):
    state, outcome = Bench(DONE, **said).end()
    assert (state, outcome.failure.code) == (State.FAILED, code)
    assert outcome.failure.hint


def test_a_job_without_an_image_says_so():
    state, outcome = Bench(DONE, source=None).end()
    assert (state, outcome.failure.code) == (State.FAILED, "input-missing")


def test_what_the_engine_says_is_wrong_is_passed_on():
    state, outcome = Bench(Failed(id=ID, code="out-of-memory", detail="d", hint="h")).end()
    assert state is State.FAILED
    assert (outcome.failure.code, outcome.failure.detail, outcome.failure.hint) == ("out-of-memory", "d", "h")


def test_a_job_past_its_deadline_is_not_begun():
    bench = Bench(DONE, deadline_ms=2)
    state, outcome = bench.end()
    assert (state, outcome.failure.code, bench.engine.sent) == (State.EXPIRED, "deadline", [])


def test_a_job_that_was_canceled_before_is_not_begun():
    bench = Bench(DONE, cancel=True)
    assert (bench.end()[0], bench.engine.sent) == (State.CANCELED, [])


@pytest.mark.parametrize("reason", [Ended(State.CANCELED), Abandoned()])
def test_an_interrupted_job_leaves_the_engine(reason):
    bench = Bench(stepped())

    async def scenario():
        running = asyncio.ensure_future(bench.run.run())
        while not bench.engine.sent:
            await asyncio.sleep(0)
        bench.run.interrupt(reason)
        return await running

    if isinstance(reason, Abandoned):
        with pytest.raises(Abandoned):
            asyncio.run(scenario())
    else:
        assert asyncio.run(scenario())[0] is State.CANCELED
    assert not bench.engine.at_work


def test_what_a_run_stored_can_be_taken_back():
    bench = Bench(Passed(id=ID, report=report(1), pixels=PIXELS), DONE)
    bench.end()
    assert len(bench.store.blobs) == 3
    asyncio.run(bench.run.discard())
    assert set(bench.store.blobs) == {"input"}


def test_a_job_that_is_canceled_while_it_is_decoded_does_not_keep_the_engine_busy():
    bench = Bench()
    bench.run.interrupt(Ended(State.CANCELED))
    assert bench.end()[0] is State.CANCELED
    assert not bench.engine.at_work


def test_a_job_that_stumbles_over_our_own_mistake_does_not_keep_the_engine_busy():
    bench = Bench(Passed(id=ID, report=report()), queue=FakeQueue(error=KeyError("ours")))
    with pytest.raises(KeyError):
        bench.end()
    assert not bench.engine.at_work


def test_a_blink_of_redis_does_not_cost_a_job_its_work():
    state, _ = Bench(Passed(id=ID, report=report()), DONE, queue=FakeQueue(error=RedisAway("gone"))).end()
    assert state is State.SUCCEEDED


@pytest.mark.parametrize("error", [TooHard("it died"), PhotoError("too wide")])
def test_a_picture_of_a_pass_that_cannot_be_written_does_not_cost_the_result(error):
    class OnceUnable(FakePictures):
        async def encode(self, photo, pixels, kind=None, quality=None, metadata=True):
            self.encode_error, now = None, self.encode_error
            if now:
                raise now
            return await super().encode(photo, pixels, kind, quality, metadata)

    bench = Bench(Passed(id=ID, report=report(1), pixels=PIXELS), DONE, pictures=OnceUnable(encode_error=error))
    state, outcome = bench.end()
    assert (state, outcome.passes[0].blob) == (State.SUCCEEDED, outcome.result.blob)


def test_what_the_engine_still_says_of_an_earlier_try_is_not_heard():
    """This worker lost the lease and got the same job again: answers are on their way while it is decoded anew."""
    bench = Bench(DONE)
    bench.run.answers.put_nowait(stepped())
    assert bench.end()[0] is State.SUCCEEDED


def test_the_late_end_of_an_earlier_try_does_not_take_the_next_ones_task():
    """As above, and the earlier try was busy with the picture of a pass when it was interrupted."""
    earlier, later = Bench(), Bench()
    later.run.leased = replace(later.run.leased, attempts=2)
    later.run.room = earlier.run.room

    async def scenario():
        sent = earlier.engine.sent
        first = asyncio.ensure_future(earlier.run.run())
        while len(sent) < 1:
            await asyncio.sleep(0)
        second = asyncio.ensure_future(later.run.run())
        while len(sent) < 2:
            await asyncio.sleep(0)
        earlier.run.interrupt(Abandoned())
        with pytest.raises(Abandoned):
            await first
        second.cancel()
        task = sent[1]
        assert isinstance(task, Task)
        assert task.id not in [command.id for command in sent[2:3]]

    asyncio.run(scenario())
