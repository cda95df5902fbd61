"""`Client`: the service for programs that block."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import httpx

from undegrade_client.driver import Driver
from undegrade_client.errors import UndegradeError
from undegrade_client.flows import Flows
from undegrade_client.images import Image
from undegrade_client.job import Job
from undegrade_client.progress import Progress, shown_progress
from undegrade_client.settings import read_settings
from undegrade_client.views import Detection, Result
from undegrade_client.window import OnError, Outcome, Window

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from undegrade_client.options import DetectOptions, RestoreOptions

I = TypeVar("I", bound=Image)  # noqa: E741 - one image of a call


class Stopped(BaseException):
    """Ends the threads of a `map` that nobody reads any more."""


class Client:
    """Restores images by an undegrade server.  Threads may share a client; `with Client() as client` closes it.

    Args:
        server: URL of the API.  Default: UNDEGRADE_SERVER, or else http://127.0.0.1:8000.
        api_key: Default: UNDEGRADE_API_KEY, or else none.
        timeout_s: how long a call may take in all, with waits and retries; None for no limit.
        http: an httpx.Client of your own, with proxies or certificates; you close it.
        patience: other fields of `undegrade_client.settings.Settings`, such as wait_s.

    Raises:
        ConfigurationError: the URL or the key cannot be used.
    """

    def __init__(
        self, server: str | None = None, api_key: str | None = None, *, timeout_s: float | None = 600.0,
        http: httpx.Client | None = None, **patience: float,
    ) -> None:  # fmt: skip
        settings = read_settings(server, api_key, timeout_s, **patience)
        self._owned = http is None
        self._driver = Driver(http or httpx.Client(), settings)
        self._flows = Flows(settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        if self._owned:
            self._driver.http.close()

    def restore(
        self, image: Image, *, timeout_s: float | None = None, idempotency_key: str | None = None,
        **options: Unpack[RestoreOptions],
    ) -> Result:  # fmt: skip
        """Restore an image and return the result.

        Ctrl-C cancels the job.  When the deadline passes, the job continues.

        Args:
            timeout_s: the deadline of this call instead of the client's.
            idempotency_key: two calls with one key are one job, also after a restart of your program, for 24 h.

        Raises:
            UndegradeError: errors.py has the tree.
        """
        deadline = self._flows.deadline(timeout_s)
        return self._driver.run(self._flows.restore(image, options, deadline, idempotency_key))

    def submit(
        self, image: Image, *, timeout_s: float | None = None, idempotency_key: str | None = None,
        **options: Unpack[RestoreOptions],
    ) -> Job:  # fmt: skip
        """Queue a job and return it at once; arguments and errors as for `restore`."""
        deadline = self._flows.deadline(timeout_s)
        flow = self._flows.submit("restore", image, options, deadline, idempotency_key)
        return Job(self._driver, self._flows, self._driver.run(flow))

    def detect(self, image: Image, *, timeout_s: float | None = None, **options: Unpack[DetectOptions]) -> Detection:
        """Find out what is wrong with an image, without changing it; errors as for `restore`."""
        return self._driver.run(self._flows.detect(image, options, self._flows.deadline(timeout_s)))

    def job(self, job_id: str) -> Job:
        """Return a job by its id, as it is now.

        Raises:
            NotFound, Expired: there is none.
        """
        flow = self._flows.look(job_id, self._flows.deadline(None))
        return Job(self._driver, self._flows, self._driver.run(flow))

    def limits(self, timeout_s: float | None = None) -> dict[str, Any]:
        """Return the limits of the server, such as max_bytes."""
        return self._driver.run(self._flows.get("/limits", self._flows.deadline(timeout_s)))

    @overload
    def map(
        self, images: Iterable[I], *, jobs: int = ..., on_error: Literal["raise", "skip"] = ..., ordered: bool = ...,
        progress: Progress = ..., timeout_s: float | None = ..., **options: Unpack[RestoreOptions],
    ) -> Iterator[Result]: ...  # fmt: skip
    @overload
    def map(
        self, images: Iterable[I], *, jobs: int = ..., on_error: Literal["return"], ordered: bool = ...,
        progress: Progress = ..., timeout_s: float | None = ..., **options: Unpack[RestoreOptions],
    ) -> Iterator[Outcome]: ...  # fmt: skip
    def map(
        self, images: Iterable[I], *, jobs: int = 8, on_error: OnError = "raise", ordered: bool = True,
        progress: Progress = False, timeout_s: float | None = None, **options: Unpack[RestoreOptions],
    ) -> Iterator[Outcome]:  # fmt: skip
        """Restore many images, several at once, and yield their results; `result.source` is the image as given.

        Whoever stops reading, by `break`, an exception or Ctrl-C, cancels the jobs that are under way.

        Args:
            images: any iterable; it is read as results are taken.
            jobs: how many images are under way at once.
            on_error: what an image that fails does: "raise" ends the iteration, "skip" leaves it out, and "return"
                yields its exception, whose `source` is the image.
            ordered: yield in the order of `images`, else as they end.
            progress: True for a bar on a terminal (rich or tqdm), or a function of the numbers done and of all.
            timeout_s: the deadline of each image, from its start.
        """
        window = Window(images, jobs=jobs, on_error=on_error, ordered=ordered)
        return self._map(window, jobs, progress, timeout_s, options)

    def _map(
        self, window: Window[I], jobs: int, progress: Progress, timeout_s: float | None, options: RestoreOptions
    ) -> Iterator[Outcome]:
        run = _MapRun(self._driver, self._flows, {"lane": "standard", **options}, timeout_s)
        with shown_progress(progress, window.total) as advance, ThreadPoolExecutor(jobs) as pool:
            futures: dict[Future[Outcome], int] = {}
            try:
                while True:
                    for index, image in window.take():
                        futures[pool.submit(run.restore, image)] = index
                    if not futures:
                        return
                    for future in wait(futures, return_when=FIRST_COMPLETED).done:
                        window.put(futures.pop(future), future.result())
                        advance()
                    yield from window.ready()
            finally:
                run.stop()


class _MapRun:
    """The images of one `map` that are under way, each in a thread."""

    def __init__(self, driver: Driver, flows: Flows, options: dict[str, Any], timeout_s: float | None) -> None:
        self._stopped, self._lock = threading.Event(), threading.Lock()
        self._flows, self._options, self._timeout_s = flows, options, timeout_s
        self._canceler, self._driver = driver, Driver(driver.http, driver.settings, self._sleep, driver.now)
        self._jobs: set[str] = set()

    def restore(self, image: Image) -> Outcome:
        """Return the result, or the exception, of one image."""
        mine: list[str] = []

        def submitted(job_id: str) -> None:
            mine.append(job_id)
            with self._lock:
                self._jobs.add(job_id)
            if self._stopped.is_set():
                raise Stopped

        deadline = self._flows.deadline(self._timeout_s)
        try:
            return self._driver.run(self._flows.restore(image, self._options, deadline, None, submitted))
        except UndegradeError as error:
            error.source = image
            return error
        finally:
            with self._lock:
                self._jobs.difference_update(mine)

    def _sleep(self, seconds: float) -> None:
        if self._stopped.wait(seconds):
            raise Stopped

    def stop(self) -> None:
        """Cancel the jobs that are under way, which ends the threads that wait for them."""
        self._stopped.set()
        with self._lock:
            jobs = list(self._jobs)
        if jobs:
            with ThreadPoolExecutor(len(jobs)) as pool:
                list(pool.map(lambda job_id: self._canceler.run(self._flows.cancel_quietly(job_id)), jobs))
