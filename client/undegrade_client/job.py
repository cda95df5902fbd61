"""`Job`: a job on the server, as `Client.submit` and `Client.job` return it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from undegrade_client.driver import Driver
from undegrade_client.errors import ConnectionFailed
from undegrade_client.event_flow import events
from undegrade_client.flows import Flows
from undegrade_client.views import Event, JobView, OnEvent, Result


class Job:
    """A job on the server.  `view` is what the server said last."""

    def __init__(self, driver: Driver, flows: Flows, view: JobView) -> None:
        self._driver, self._flows, self.view = driver, flows, view

    def __repr__(self) -> str:
        return f"Job({self.id!r}, {self.status!r})"

    @property
    def id(self) -> str:
        """The id, by which `client.job` finds it again."""
        return self.view.id

    @property
    def status(self) -> str:
        """queued, running, succeeded, failed, canceled or expired, as the server said last."""
        return self.view.status

    def refresh(self) -> JobView:
        """Ask the server and return the job as it is now."""
        self.view = self._driver.run(self._flows.look(self.id, self._flows.deadline(None)))
        return self.view

    def wait(self, timeout_s: float | None = None, on_event: OnEvent | None = None) -> Result:
        """Wait for the end and return the result; the end of the wait never cancels the job.

        Args:
            timeout_s: the deadline of this call instead of the client's.
            on_event: called with each event of the job, from its first one: `event.fraction` is the progress.

        Raises:
            JobFailed, Canceled, Expired: it has none.
            DeadlineExceeded: the job has not ended in time.
        """
        deadline = self._flows.deadline(timeout_s)
        if on_event is not None and not self.view.over:
            with contextlib.suppress(ConnectionFailed):  # the wait below goes on without them, or says what is wrong
                for event in self._driver.iterate(events(self._flows, self.id, deadline)):
                    on_event(event)
        if not self.view.over:
            self.view = self._driver.run(self._flows.wait(self.id, deadline))
        return self._driver.run(self._flows.result(self.view, deadline))

    def events(self, timeout_s: float | None = None, after: str = "") -> Iterator[Event]:
        """Yield the events of the job, from its first one or after the one with the id `after`, until its last."""
        return self._driver.iterate(events(self._flows, self.id, self._flows.deadline(timeout_s), after))

    def cancel(self) -> bool:
        """Cancel the job and erase its images.  Return False where it was over before; then it is deleted."""
        return self._driver.run(self._flows.cancel(self.id, self._flows.deadline(None)))
