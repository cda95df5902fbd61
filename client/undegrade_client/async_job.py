"""`AsyncJob`: a job on the server, as `AsyncClient.submit` and `AsyncClient.job` return it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from undegrade_client.async_driver import AsyncDriver
from undegrade_client.errors import ConnectionFailed
from undegrade_client.event_flow import events
from undegrade_client.flows import Flows
from undegrade_client.views import Event, JobView, OnEvent, Result


class AsyncJob:
    """A job on the server; methods and errors as those of `Job`.  `view` is what the server said last."""

    def __init__(self, driver: AsyncDriver, flows: Flows, view: JobView) -> None:
        self._driver, self._flows, self.view = driver, flows, view

    def __repr__(self) -> str:
        return f"AsyncJob({self.id!r}, {self.status!r})"

    @property
    def id(self) -> str:
        """The id, by which `client.job` finds it again."""
        return self.view.id

    @property
    def status(self) -> str:
        """queued, running, succeeded, failed, canceled or expired, as the server said last."""
        return self.view.status

    async def refresh(self) -> JobView:
        """Ask the server and return the job as it is now."""
        self.view = await self._driver.run(self._flows.look(self.id, self._flows.deadline(None)))
        return self.view

    async def wait(self, timeout_s: float | None = None, on_event: OnEvent | None = None) -> Result:
        """Wait for the end and return the result; arguments and errors as for `Job.wait`."""
        deadline = self._flows.deadline(timeout_s)
        if on_event is not None and not self.view.over:
            with contextlib.suppress(ConnectionFailed):  # the wait below goes on without them, or says what is wrong
                async for event in self._driver.iterate(events(self._flows, self.id, deadline)):
                    on_event(event)
        if not self.view.over:
            self.view = await self._driver.run(self._flows.wait(self.id, deadline))
        return await self._driver.run(self._flows.result(self.view, deadline))

    def events(self, timeout_s: float | None = None, after: str = "") -> AsyncIterator[Event]:
        """Yield the events of the job, as `Job.events`."""
        return self._driver.iterate(events(self._flows, self.id, self._flows.deadline(timeout_s), after))

    async def cancel(self) -> bool:
        """Cancel the job and erase its images.  Return False where it was over before; then it is deleted."""
        return await self._driver.run(self._flows.cancel(self.id, self._flows.deadline(None)))
