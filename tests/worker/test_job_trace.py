"""The spans of an attempt, also where it does not end well, and those of steps that several jobs share."""

import asyncio
from dataclasses import replace

import pytest
from job_run_bench import DONE, ID, Bench
from recorded_spans import Recorder

from jobs.lease import Leased
from jobs.record import Failure
from jobs.request_context import RequestContext
from jobs.spec import JobSpec
from jobs.tracing.context import TraceContext
from models.errors import PhotoError
from worker.batch_traces import BatchTraces
from worker.job_trace import MAX_LINKS, JobTrace
from worker.messages import BatchStepped, Begun, Failed, Stage

SUBMITTED = TraceContext(trace_id="a" * 32, span_id="b" * 16, flags=1)
STAGES = (
    Stage(name="assess", pass_index=0, start_s=10.0, end_s=11.0, work_s=1.0),
    Stage(name="steps", pass_index=0, start_s=11.0, end_s=14.0, work_s=2.0),
    Stage(name="finish", pass_index=0, start_s=14.0, end_s=14.5, work_s=0.5),
    Stage(name="steps", pass_index=1, start_s=15.0, end_s=17.0, work_s=2.0),
)


def leased(number=0, attempts=1, request=None, **fields):
    spec = JobSpec(id=f"{number:032x}", bundle="b", submitted_ms=1)
    request = request or RequestContext.of("r", SUBMITTED)
    return Leased(spec=spec, attempts=attempts, deaths=0, run_alone=False, cancel=False, request=request, **fields)


def traced(bench):
    """Gives the bench's run a recorder."""
    recorder = Recorder()
    bench.run.trace = JobTrace(leased(), recorder, "w", (9.0, 9.5))
    return recorder


def test_the_stages_of_a_job_are_parts_of_its_attempt_with_the_engines_own_times():
    bench = Bench(Begun(ID), replace(DONE, stages=STAGES))
    recorder = traced(bench)
    finished = bench.end()
    bench.run.trace.end("succeeded")
    parents = recorder.parents()
    assert parents == {
        "process b.standard": None, "queued": None, "lease": "process b.standard", "fetch": "process b.standard",
        "decode": "process b.standard", "restore": "process b.standard", "turn": "restore", "assess": "restore",
        "steps": "restore", "finish": "restore", "encode": "process b.standard", "store": "process b.standard",
    }  # fmt: skip
    steps = [span for span in recorder.spans if span.name == "steps"]
    assert [(span.start_s, *span.ends) for span in steps] == [(11.0, 14.0), (15.0, 17.0)]
    assert [span.attributes["undegrade.pass.index"] for span in steps] == [0, 1]
    assert {name: finished.outcome.seconds[name] for name in ("assess", "steps", "finish")} == {
        "assess": 1.0, "steps": 4.0, "finish": 0.5,
    }  # fmt: skip
    assert all(len(span.ends) == 1 and span.error is None for span in recorder.spans)


def test_the_wait_in_the_queue_lies_beside_the_attempt_and_ends_with_its_beginning():
    recorder = Recorder()
    JobTrace(leased(attempts=2, queued_s=4.0), recorder, "w", (9.0, 9.5))
    queued, process, lease = (recorder.named(name) for name in ("queued", "process b.standard", "lease"))
    assert queued.parent == process.parent == SUBMITTED
    assert (queued.start_s, *queued.ends) == (5.0, 9.0)
    assert (process.start_s, lease.start_s, *lease.ends) == (9.0, 9.0, 9.5)
    assert {span.attributes["undegrade.job.attempt"] for span in (queued, process, lease)} == {2}


def test_a_job_without_a_trace_begins_one():
    recorder = Recorder()
    JobTrace(leased(request=RequestContext()), recorder)
    assert recorder.parents() == {"process b.standard": None, "lease": "process b.standard"}


def test_a_stage_that_fails_is_marked_with_the_class_of_its_error_and_the_attempt_with_its_code():
    bench = Bench()
    bench.run.services.codec.decode_error = PhotoError("the file zebra.png is damaged")
    recorder = traced(bench)
    finished = bench.end()
    bench.run.trace.end("failed", finished.outcome.failure)
    assert recorder.named("decode").error == "PhotoError"
    assert recorder.named("process b.standard").error == "bad-image"
    assert "zebra" not in repr(recorder.spans)


def test_what_the_engine_did_before_a_job_failed_is_told():
    bench = Bench(Begun(ID), Failed(id=ID, code="out-of-memory", detail="", stages=STAGES[:2]))
    recorder = traced(bench)
    assert bench.end().outcome.seconds["steps"] == 2.0
    assert recorder.parents()["steps"] == "restore"


@pytest.mark.parametrize("why", ["lease-lost", "engine-died", "released"])
def test_an_attempt_that_is_abandoned_says_why(why):
    recorder = Recorder()
    JobTrace(leased(), recorder).end(why)
    assert recorder.named("process b.standard").error == why


def test_the_code_of_a_failure_is_told_only_once():
    recorder = Recorder()
    trace = JobTrace(leased(), recorder)
    trace.end("failed", Failure(code="bad-image", detail="d"))
    assert recorder.named("process b.standard").attributes["undegrade.attempt.end"] == "failed"


class Runs:
    """Two jobs in the engine, by id as in HeldJobs."""

    def __init__(self, recorder):
        self.runs = {}
        for number in range(2):
            bench = Bench(id=f"{number:032x}")
            bench.run.trace = JobTrace(leased(number), recorder)
            self.runs[f"{number:032x}"] = bench.run

    def get(self, job):
        return self.runs.get(job)

    async def in_engine(self, work):
        with self.runs[f"{0:032x}"].trace.in_engine(), self.runs[f"{1:032x}"].trace.in_engine():
            work([run.task_id for run in self.runs.values()])


def turn(tasks, end_s, **fields):
    return BatchStepped(
        bundle="b", images=len(tasks), megapixels=1.0, seconds=1.0, end_s=end_s, tasks=tuple(tasks), **fields
    )  # fmt: skip


def test_turns_that_the_same_jobs_share_are_one_span_linked_both_ways():
    recorder = Recorder()
    runs = Runs(recorder)
    batches = BatchTraces(recorder, runs)

    def work(tasks):
        batches.on_batch(turn(tasks[:1], 1.0))
        batches.on_batch(turn(tasks, 2.0))
        batches.on_batch(turn(tasks, 3.0, one_left=True))
        batches.on_batch(turn(tasks[1:], 4.0))
        for run in runs.runs.values():
            run.trace.engine_did(STAGES)

    asyncio.run(runs.in_engine(work))
    shared = recorder.named("shared steps")
    assert (shared.start_s, shared.ends, shared.parent) == (1.0, [3.0], None)
    assert shared.attributes["undegrade.batch.turns"] == 2
    assert shared.links == tuple(span.context for span in recorder.spans if span.name == "restore")
    steps = [span for span in recorder.spans if span.name == "steps"]
    assert len(steps) == 4 and {span.links for span in steps} == {(shared.context,)}
    assert not any(span.links for span in recorder.spans if span.name in ("assess", "finish"))


def test_the_links_of_a_job_are_bounded():
    trace = JobTrace(leased(), recorder := Recorder())
    for _ in range(2 * MAX_LINKS):
        trace.shared(SUBMITTED)
    with trace.in_engine():
        trace.engine_did(STAGES[1:2])
    assert len(recorder.named("steps").links) == MAX_LINKS
