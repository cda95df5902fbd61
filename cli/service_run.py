"""Runs the parts of `serve`: Valkey, then worker and webhook process, then the API.  Parts that end are started again.

Everything happens on the loop of the main thread.  A signal may arrive at any moment after `run` has begun: it only
sets an event, and every wait ends with that event.  A second signal ends the parts without waiting for their work.
"""

import asyncio
import contextlib
import shlex
import signal
import socket
import time
import webbrowser
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from redis.exceptions import RedisError

from cli.api import check_open_port
from cli.console import print_error, print_message, print_warning
from cli.embedded_redis import END_S, EmbeddedRedis, EmbeddedRedisError, StartWait
from cli.exit_codes import ExitCode
from cli.listening import close, url_of
from cli.servers import open_servers, queue_of, refresh
from cli.worker_process import WorkerProcess
from jobs.backoff import Backoff
from jobs.end_tasks import end_tasks
from jobs.tracing.spans import NO_TRACER, Tracer
from processes.child_program import ChildProgram

if TYPE_CHECKING:
    from service.server import Server
    from service.settings import ServiceSettings

T = TypeVar("T")
POLL_S = 0.1
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
STEADY_S = 60.0
"""A part that ran this long is restarted with the shortest pause again."""
WORKER_END_S = 10.0
"""Time for the engine to end, after the grace."""


class _Stopped(Exception):
    """A signal has arrived."""


class ServiceRun:
    """One run of `serve`.

    Attributes:
        sockets: listen already.
        redis: open but not started; None where the service uses another server.
    """

    def __init__(
        self,
        service: "ServiceSettings",
        sockets: Sequence[socket.socket],
        redis: EmbeddedRedis | None,
        *,
        grace_s: float,
        open_page: bool,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self.service, self.sockets, self.redis, self.tracer = service, sockets, redis, tracer
        self.grace_s, self.open_page = grace_s, open_page
        self.worker = WorkerProcess(service)
        self.webhooks = WorkerProcess(service, "webhooks") if service.webhook_hosts or service.result_hosts else None
        self._server: Server | None = None
        self._stop, self._hurry = asyncio.Event(), asyncio.Event()
        self._code = ExitCode.OK
        self._worker_was_ready = self._api_has_started = False

    async def run(self) -> ExitCode:
        """Run until a signal arrives, or until a part can never work.  Nothing runs any more when this returns.

        Raises:
            EmbeddedRedisError: the embedded Valkey does not start.
            ControlsError: the port would be open to everybody.
            RedisError, OSError: the Redis of the service cannot be reached, or no process can be started.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)
        watchers: list[asyncio.Task[None]] = []
        try:
            await self._unless_stopped(self._start())
            parts = [self._keep_worker(), self._announce(), *([self._keep_redis()] if self.redis else [])]
            if self.webhooks is not None:
                parts.append(self._keep_webhooks(self.webhooks))
            watchers = [asyncio.create_task(part) for part in parts]
            await self._keep_api()
        except _Stopped:
            pass
        finally:
            await end_tasks(*watchers)
            await self._end()
        return self._code

    def _on_signal(self, number: int) -> None:
        if self._stop.is_set():
            self._hurry.set()
        self._begin_stop()
        if self._server is not None:
            self._server.handle_exit(number, None)
            self._server.force_exit = self._hurry.is_set()

    def _begin_stop(self, code: ExitCode = ExitCode.OK) -> None:
        self._code = code
        self._stop.set()
        close(self.sockets)  # a caller who comes now must not wait for an answer
        if self._server is not None:
            self._server.should_exit = True
            self._server.end_waits()

    async def _start(self) -> None:
        """Start Valkey, wait until it has loaded its data, and start the worker."""
        if self.redis is not None:
            self.redis.spawn()
            await self._until_redis_answers(self.redis)
        async with open_servers(self.service.redis_url, answer_s=10) as client:
            await refresh(client)
            await check_open_port(self.service, client)
        self.worker.start()

    async def _until_redis_answers(self, redis: EmbeddedRedis) -> None:
        wait = StartWait(redis, print_message)
        while not await asyncio.to_thread(wait.over):  # in a thread: a server that loads answers late
            await asyncio.sleep(POLL_S)

    async def _unless_stopped(self, work: Coroutine[Any, Any, T]) -> T:
        """Returns what `work` returns; a signal cancels it.

        Raises:
            _Stopped: a signal has arrived.
        """
        task, stop = asyncio.create_task(work), asyncio.create_task(self._stop.wait())
        await asyncio.wait((task, stop), return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if task.done():
            return task.result()
        await end_tasks(task)
        raise _Stopped

    async def _keep_api(self) -> None:
        """Serve HTTP until a signal arrives, and start again where the API ends by itself."""
        from service.app import create_app
        from service.server import server_for

        pauses = _Pauses()
        while not self._stop.is_set():
            self._server = server_for(create_app(self.service, self.tracer), self.service)
            # Our own handlers stay: the server's would raise the signal once more, and that would look like a second
            self._server.capture_signals = contextlib.nullcontext  # type: ignore[assignment, method-assign]
            pauses.started()
            try:
                await self._server.serve(sockets=[entry.dup() for entry in self.sockets])
                if self._server.force_exit and self._server.started:  # it left this out
                    await self._server.lifespan.shutdown()
                cause = "ended"
            except SystemExit:  # the server's way to report that the application does not start
                cause = "did not start"
            except Exception as error:  # whatever it was, the jobs in the queue still want their API
                cause = f"ended with {type(error).__name__}: {error}"
            self._api_has_started = self._api_has_started or self._server.started
            if self._stop.is_set():
                return
            if not self._api_has_started:
                print_error(f"the API {cause}; see the message above.")
                self._code = ExitCode.SERVER
                return
            await self._pause(pauses, f"the API {cause}")

    async def _keep_redis(self) -> None:
        """Restart Valkey for ever."""
        redis, pauses = self.redis, _Pauses()
        assert redis is not None
        while True:
            await asyncio.sleep(POLL_S)
            if redis.running():
                continue
            await self._pause(pauses, redis.why_it_ended())
            pauses.started()
            try:
                redis.spawn()
                await self._until_redis_answers(redis)
                print_message("the embedded Valkey runs again, with the data on disk")
            except EmbeddedRedisError as error:
                print_warning(str(error))
                redis.kill()

    async def _keep_worker(self) -> None:
        """Restart the worker for ever; end everything where its first start shows that it can never work."""
        pauses = _Pauses()
        pauses.started()
        while True:
            await asyncio.sleep(POLL_S)
            code = self.worker.exit_code()
            if code is None:
                continue
            if code in (ExitCode.MODEL, ExitCode.DEVICE, ExitCode.USAGE) and not self._worker_was_ready:
                print_error("the worker cannot run; see the error above")
                self._begin_stop(ExitCode(code))
                return
            await self._pause(pauses, f"the worker ended with exit code {code}")
            pauses.started()
            try:
                self.worker.start()
            except OSError as error:
                print_warning(f"the worker cannot be started: {error}")

    async def _keep_webhooks(self, webhooks: WorkerProcess) -> None:
        """Start the webhook process, and restart it for ever."""
        pauses = _Pauses()
        while True:
            pauses.started()
            try:
                webhooks.start()
                while (code := webhooks.exit_code()) is None:
                    await asyncio.sleep(POLL_S)
                cause = f"the webhook process ended with exit code {code}"
            except OSError as error:
                cause = f"the webhook process cannot be started: {error}"
            await self._pause(pauses, cause)

    async def _pause(self, pauses: "_Pauses", cause: str) -> None:
        pause_s = pauses.next_s()
        print_warning(f"{cause}; starting it again in {pause_s:g} s")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), pause_s)

    async def _announce(self) -> None:
        """Print the URL, and how to use it as soon as a worker is ready."""
        while self._server is None or not self._server.started:
            await asyncio.sleep(POLL_S)
        path = self.service.unix_socket
        url = "http://localhost" if path else url_of(self.service.host, self.sockets[0].getsockname()[1])
        print_message(f"listening on {path or url}; loading the models")
        bundles, device = await _ready_worker(self.service.redis_url)
        self._worker_was_ready = True
        print_message(f"ready: {', '.join(bundles)} on {device}. Restore a photo with")
        if path:
            url = f"--unix-socket {shlex.quote(str(path))} {url}"
        place = f"'{url}/restore'" if "[" in url else f"{url}/restore"  # some shells take [ for a pattern
        print_message("")
        print_message(f'  curl -f -H "Accept: image/*" -F image=@photo.jpg {place} -o restored.jpg')
        print_message("")
        page = f"{url}/" if self.service.page and not path else f"{url}/docs"
        if self.service.page and not path:
            print_message(f"In a browser: {page}. Press Ctrl-C to stop.")
        else:
            print_message(f"API documentation: {'curl ' if path else ''}{page}. Press Ctrl-C to stop.")
        if self.open_page:
            await asyncio.to_thread(webbrowser.open, page)  # some browsers answer late

    async def _end(self) -> None:
        """End worker and webhook process, which need Valkey until then, and then Valkey."""
        if self.webhooks is not None:
            self.webhooks.terminate()
        await self._end_part(self.worker, self.grace_s + WORKER_END_S)
        if self.webhooks is not None:  # what it has not sent is sent after the next start
            await self._end_part(self.webhooks, END_S)
        if self.redis is not None:
            await self._end_part(self.redis, END_S)

    async def _end_part(self, part: ChildProgram, patience_s: float) -> None:
        part.terminate()
        until_s = time.monotonic() + patience_s
        while part.running() and time.monotonic() < until_s and not (self._hurry.is_set() and part is self.worker):
            await asyncio.sleep(POLL_S / 4)
        part.kill()
        while part.running():
            await asyncio.sleep(POLL_S / 4)


class _Pauses:
    """Growing pauses between restarts of a part; short again after it ran for STEADY_S."""

    def __init__(self) -> None:
        self._backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        self._started_s = time.monotonic()

    def started(self) -> None:
        self._started_s = time.monotonic()

    def next_s(self) -> float:
        if time.monotonic() - self._started_s > STEADY_S:
            self._backoff.reset()
        return self._backoff.next_s()


async def _ready_worker(redis_url: str) -> tuple[list[str], str]:
    """Returns the bundles and the device of the first worker that is ready."""
    async with open_servers(redis_url, answer_s=10) as client:
        while True:
            with contextlib.suppress(RedisError, OSError):  # it is being restarted
                await refresh(client)
                ready = [entry for entry in await queue_of(client).workers.alive() if entry.ready]
                if ready:
                    return [entry.bundle for entry in ready], ready[0].device
            await asyncio.sleep(POLL_S)
