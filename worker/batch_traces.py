"""Spans of steps that several jobs share.

A step that serves several jobs belongs to none of their traces, so it is a span of a trace of its own, with a link to
each job; the jobs' `steps` spans have a link to it.  Turns in a row that the same jobs share are one span.
"""

from jobs.tracing.spans import NO_SPAN, Tracer
from worker.held_jobs import HeldJobs
from worker.messages import BatchStepped


class BatchTraces:
    """Follows the turns of the engine."""

    def __init__(self, tracer: Tracer, held: HeldJobs) -> None:
        self.tracer, self.held = tracer, held
        self._span, self._turns, self._end_s = NO_SPAN, 0, 0.0
        self._tasks: tuple[str, ...] = ()

    def on_batch(self, batch: BatchStepped) -> None:
        """The engine has taken a turn."""
        if not self.tracer.enabled:
            return
        if batch.tasks != self._tasks:
            self.close()
            self._start(batch)
        self._turns, self._end_s = self._turns + 1, batch.end_s
        if batch.one_left:
            self.close()

    def _start(self, batch: BatchStepped) -> None:
        self._tasks, self._turns, self._end_s = batch.tasks, 0, batch.end_s
        runs = [run for task in batch.tasks if (run := self.held.get(task.partition(".")[0])) and run.task_id == task]
        links = [run.trace.engine.context for run in runs if run.trace.engine.recorded]
        if len(batch.tasks) < 2 or not links:
            return
        self._span = self.tracer.start(
            "shared steps", None, start_s=batch.end_s - batch.seconds, links=[link for link in links if link],
            attributes={
                "undegrade.bundle": batch.bundle, "undegrade.batch.jobs": len(batch.tasks),
                "undegrade.batch.images": batch.images, "undegrade.batch.megapixels": round(batch.megapixels, 3),
            },
        )  # fmt: skip
        if self._span.context is not None:
            for run in runs:
                run.trace.shared(self._span.context)

    def close(self) -> None:
        """End the span: the next turn has other jobs, or there is none."""
        self._span.set({"undegrade.batch.turns": self._turns})
        self._span.end(self._end_s)
        self._span, self._tasks = NO_SPAN, ()
