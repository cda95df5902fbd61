"""The spans of one attempt of a job, in the trace of the request that submitted it.

    process QUEUE            from the lease to the commit; a second attempt is a second such span beside the first
    ├── lease  fetch  decode
    ├── restore              from the hand-over to the engine to its answer
    │   └── turn  assess  steps  finish    (the last three once for each pass)
    └── encode  store  commit
    queued                   beside it: the time in the queue before this attempt

The names of the stages are those of the metrics, the log and the job's `timings`.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from jobs.lease import Leased
from jobs.record import Failure
from jobs.tracing.context import TraceContext
from jobs.tracing.spans import NO_SPAN, NO_TRACER, Span, Tracer, running
from worker.messages import Stage

MAX_LINKS = 32
"""How many shared steps a job names; each of them names the job."""

UNFINISHED = ("released", "engine-died", "lease-lost")
"""How an attempt ends that does not end its job."""


class JobTrace:
    """The spans of one attempt.  `leased_s` is when the lease was asked for, and when it came.

    Attributes:
        engine: the span of the time in the engine, while that lasts.
    """

    def __init__(
        self, leased: Leased, tracer: Tracer = NO_TRACER, worker: str = "", leased_s: tuple[float, float] | None = None
    ) -> None:
        begin_s, end_s = leased_s or (time.time(),) * 2
        spec, parent, attempt = leased.spec, leased.request.trace, {"undegrade.job.attempt": leased.attempts}
        self.span = tracer.start(
            f"process {spec.queue}", parent, kind="consumer", start_s=begin_s,
            attributes={
                "messaging.system": "rq", "messaging.operation.type": "process", "messaging.operation.name": "process",
                "messaging.destination.name": spec.queue, "messaging.message.id": spec.id,
                "messaging.client.id": worker, "undegrade.job.id": spec.id, "undegrade.job.kind": spec.kind,
                "undegrade.bundle": spec.bundle, "undegrade.lane": spec.lane, "undegrade.job.deaths": leased.deaths,
                **attempt,
            },
        )  # fmt: skip
        if tracer.enabled and parent is not None:
            tracer.start("queued", parent, start_s=begin_s - leased.queued_s, attributes=attempt).end(begin_s)
        self.span.child("lease", kind="client", start_s=begin_s, attributes=attempt).end(end_s)
        self.engine: Span = NO_SPAN
        self._batches: list[TraceContext] = []
        self._commit: Span = NO_SPAN

    @contextmanager
    def stage(self, name: str) -> Iterator[Span]:
        """Run the block as a stage of this attempt."""
        with running(self.span.child(name)) as span:
            yield span

    @contextmanager
    def in_engine(self) -> Iterator[None]:
        """The block waits for the engine."""
        with self.stage("restore") as self.engine:
            self.engine_s = time.time()
            yield

    def begun(self) -> None:
        """The engine has begun with the job, which waited for its turn until now."""
        self.engine.child("turn", start_s=self.engine_s).end()

    def shared(self, batch: TraceContext) -> None:
        """Steps of this job were shared with other jobs, under another span."""
        if len(self._batches) < MAX_LINKS:
            self._batches.append(batch)

    def engine_did(self, stages: Sequence[Stage]) -> None:
        """The engine has told what it did, and when."""
        for stage in stages:
            links = self._batches if stage.name == "steps" else ()
            span = self.engine.child(
                stage.name, start_s=stage.start_s, links=links,
                attributes={"undegrade.pass.index": stage.pass_index, "undegrade.work_s": round(stage.work_s, 4)},
            )  # fmt: skip
            span.end(stage.end_s)

    def committing(self) -> None:
        """The outcome is there and waits for its commit."""
        self._commit = self.span.child("commit", kind="client")

    def end(self, state: str, failure: Failure | None = None) -> None:
        """The attempt is over: in a state of the job, or `released`, `engine-died` or `lease-lost`."""
        self.span.set({"undegrade.attempt.end": state})
        if failure is not None:
            self.span.fail(failure.code)
        elif state in UNFINISHED:
            self.span.fail(state)
        self._commit.end()
        self.span.end()
