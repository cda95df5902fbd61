"""`AsyncClient`: the service for programs on an asyncio event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import httpx

from undegrade_client.async_driver import AsyncDriver
from undegrade_client.async_job import AsyncJob
from undegrade_client.errors import UndegradeError
from undegrade_client.flows import Flows
from undegrade_client.images import Image
from undegrade_client.progress import Progress, shown_progress
from undegrade_client.settings import read_settings
from undegrade_client.views import Detection, Result
from undegrade_client.window import OnError, Outcome, Window

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from undegrade_client.options import DetectOptions, RestoreOptions

I = TypeVar("I", bound=Image)  # noqa: E741 - one image of a call


class AsyncClient:
    """Restores images by an undegrade server; arguments, methods and errors as those of `Client`.

    A task that is canceled in `restore` or `map` cancels its jobs.
    """

    def __init__(
        self, server: str | None = None, api_key: str | None = None, *, timeout_s: float | None = 600.0,
        http: httpx.AsyncClient | None = None, **patience: float,
    ) -> None:  # fmt: skip
        settings = read_settings(server, api_key, timeout_s, **patience)
        self._owned = http is None
        self._driver = AsyncDriver(http or httpx.AsyncClient(), settings)
        self._flows = Flows(settings)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        if self._owned:
            await self._driver.http.aclose()

    async def restore(
        self, image: Image, *, timeout_s: float | None = None, idempotency_key: str | None = None,
        **options: Unpack[RestoreOptions],
    ) -> Result:  # fmt: skip
        """Restore an image and return the result; as `Client.restore`."""
        deadline = self._flows.deadline(timeout_s)
        return await self._driver.run(self._flows.restore(image, options, deadline, idempotency_key))

    async def submit(
        self, image: Image, *, timeout_s: float | None = None, idempotency_key: str | None = None,
        **options: Unpack[RestoreOptions],
    ) -> AsyncJob:  # fmt: skip
        """Queue a job and return it at once; arguments and errors as for `restore`."""
        deadline = self._flows.deadline(timeout_s)
        flow = self._flows.submit("restore", image, options, deadline, idempotency_key)
        return AsyncJob(self._driver, self._flows, await self._driver.run(flow))

    async def detect(
        self, image: Image, *, timeout_s: float | None = None, **options: Unpack[DetectOptions]
    ) -> Detection:
        """Find out what is wrong with an image, without changing it; errors as for `restore`."""
        return await self._driver.run(self._flows.detect(image, options, self._flows.deadline(timeout_s)))

    async def job(self, job_id: str) -> AsyncJob:
        """Return a job by its id, as it is now; errors as for `Client.job`."""
        flow = self._flows.look(job_id, self._flows.deadline(None))
        return AsyncJob(self._driver, self._flows, await self._driver.run(flow))

    async def limits(self, timeout_s: float | None = None) -> dict[str, Any]:
        """Return the limits of the server, such as max_bytes."""
        return await self._driver.run(self._flows.get("/limits", self._flows.deadline(timeout_s)))

    @overload
    def map(
        self, images: Iterable[I], *, jobs: int = ..., on_error: Literal["raise", "skip"] = ..., ordered: bool = ...,
        progress: Progress = ..., timeout_s: float | None = ..., **options: Unpack[RestoreOptions],
    ) -> AsyncIterator[Result]: ...  # fmt: skip
    @overload
    def map(
        self, images: Iterable[I], *, jobs: int = ..., on_error: Literal["return"], ordered: bool = ...,
        progress: Progress = ..., timeout_s: float | None = ..., **options: Unpack[RestoreOptions],
    ) -> AsyncIterator[Outcome]: ...  # fmt: skip
    def map(
        self, images: Iterable[I], *, jobs: int = 8, on_error: OnError = "raise", ordered: bool = True,
        progress: Progress = False, timeout_s: float | None = None, **options: Unpack[RestoreOptions],
    ) -> AsyncIterator[Outcome]:  # fmt: skip
        """Restore many images, several at once, and yield their results; as `Client.map`.

        Whoever leaves the iteration early closes it: `async with contextlib.aclosing(client.map(...)) as results`.
        """
        window = Window(images, jobs=jobs, on_error=on_error, ordered=ordered)
        return self._map(window, progress, timeout_s, {"lane": "standard", **options})

    async def _map(
        self, window: Window[I], progress: Progress, timeout_s: float | None, options: dict[str, Any]
    ) -> AsyncIterator[Outcome]:
        tasks: dict[asyncio.Task[Outcome], int] = {}
        with shown_progress(progress, window.total) as advance:
            try:
                while True:
                    for index, image in window.take():
                        tasks[asyncio.ensure_future(self._restored(image, timeout_s, options))] = index
                    if not tasks:
                        return
                    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        window.put(tasks.pop(task), task.result())
                        advance()
                    for outcome in window.ready():
                        yield outcome
            finally:
                for task in tasks:
                    task.cancel()  # each cancels its job
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _restored(self, image: Image, timeout_s: float | None, options: dict[str, Any]) -> Outcome:
        """Return the result, or the exception, of one image."""
        try:
            return await self._driver.run(self._flows.restore(image, options, self._flows.deadline(timeout_s)))
        except UndegradeError as error:
            error.source = image
            return error
