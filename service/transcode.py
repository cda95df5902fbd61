"""Converts stored images to another format or quality: in processes of their own, a few at a time, each only once.

An AVIF of 24 megapixels takes 17 s and a gigabyte.  So conversions run outside the API process, under a memory limit,
and the line before them is short, in requests and in seconds.  Equal requests share one conversion, and its file is
kept for a minute.  A client that hangs up leaves the line, or its conversion, at once.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus

from starlette.types import Receive

from jobs.spec import Format
from models.errors import PhotoError
from models.photo.codec_pool import codec_memory_bytes
from models.photo.convert import convert_photo
from models.photo.read import Limits
from processes.pool import CallTooSlow, Pool, ProcessDied
from service.hang_up import until_hang_up
from service.problems import retry_after
from service.refusals import Gone, NotAcceptable, Refusal

RESULT_LIMITS = Limits(pixels=2 * 10**8, file_bytes=2 * 2**30)
"""Generous: our own workers wrote these images, and their inputs were within the upload limits."""
PROCESSES = 2
MAX_CONVERSIONS = 12
"""Running and waiting ones; a request beyond them is refused."""
MAX_LINE_S = 30.0
"""How long a request waits for a free process."""
MAX_CONVERSION_S = 120.0
CACHE_BYTES = 64 * 2**20
CACHE_S = 60.0
"""A deleted image stays in the memory of another API process for this long at most."""
RETRY_S = "5"


Load = Callable[[], Awaitable[bytes]]


class TooManyConversions(Refusal):
    """Too many images are being converted to another format."""

    status, code = HTTPStatus.SERVICE_UNAVAILABLE, "too-many-conversions"
    hint = "retry after the seconds in Retry-After, or fetch the image as stored, without format and quality"


class ConversionFailed(Refusal):
    """The image could not be converted with the memory and the time that a conversion may use."""

    status, code = HTTPStatus.SERVICE_UNAVAILABLE, "conversion-failed"
    hint = "ask for another format, or fetch the image as stored, without format and quality"


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What to convert into what; equal conversions give equal files.  `sha256` is the stored file's."""

    job_id: str
    sha256: str
    format: Format
    quality: int | None


@dataclass
class _Running:
    """`begun` is set when the conversion leaves the line: it has a process, or it has ended."""

    task: "asyncio.Task[bytes]" = field(init=False)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    callers: int = 0


@dataclass
class Transcoder:
    """The conversions of this process.  The first one starts the processes."""

    max_conversions: int = MAX_CONVERSIONS
    line_s: float = MAX_LINE_S
    cache_bytes: int = CACHE_BYTES
    cache_s: float = CACHE_S
    _pool: Pool = field(default_factory=lambda: Pool(PROCESSES, codec_memory_bytes()))
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(PROCESSES))
    _running: dict[Conversion, _Running] = field(default_factory=dict)
    _cache: "OrderedDict[Conversion, bytes]" = field(default_factory=OrderedDict)

    async def convert(self, conversion: Conversion, load: Load, receive: Receive | None = None) -> bytes:
        """Return the converted file.  `load` returns the stored file; it is called when a process is free.

        A conversion ends when its last caller leaves.  With `receive`, of the request, a client that hangs up leaves.

        Raises:
            TooManyConversions: the line is full, or no process was free for `line_s`.
            Gone: `load` found no file, the job was deleted, or the client has hung up.
            NotAcceptable: the format cannot hold the image.
            ConversionFailed: it needed too much memory or time.
        """
        if (cached := self._cache.get(conversion)) is not None:
            self._cache.move_to_end(conversion)
            return cached
        data = await until_hang_up(self._converted(conversion, load), receive, None)
        if data is None:
            raise Gone("the client has hung up")
        return data

    async def _converted(self, conversion: Conversion, load: Load) -> bytes | None:
        with self._shared(conversion, load) as running:
            try:
                async with asyncio.timeout(self.line_s):
                    await running.begun.wait()
            except TimeoutError:
                problem = f"the conversion has waited for {self.line_s:g} s, the limit, while others ran"
                raise TooManyConversions(problem, headers=retry_after(self.line_s)) from None
            task = running.task
            await asyncio.wait({task})  # unlike awaiting it, this leaves the task alone if this caller is canceled
            if task.cancelled():
                raise Gone(f"job {conversion.job_id} was deleted during the conversion")
            return task.result()

    @contextmanager
    def _shared(self, conversion: Conversion, load: Load) -> Iterator[_Running]:
        running = self._running.get(conversion)
        if running is None:
            if len(self._running) >= self.max_conversions:
                raise TooManyConversions(
                    f"got {len(self._running)} conversions in progress, the limit", headers={"Retry-After": RETRY_S}
                )
            running = self._running[conversion] = _Running()
            running.task = asyncio.create_task(self._run(conversion, load, running.begun))
            running.task.add_done_callback(partial(self._ended, conversion, running))
        running.callers += 1
        try:
            yield running
        finally:
            running.callers -= 1
            if not running.callers:
                self._drop(conversion, running)

    async def _run(self, conversion: Conversion, load: Load, begun: asyncio.Event) -> bytes:
        try:
            async with self._slots:
                begun.set()
                data = await load()
                return await self._pool.run(
                    convert_photo, data, conversion.format, conversion.quality, RESULT_LIMITS,
                    limit_s=MAX_CONVERSION_S,
                )  # fmt: skip
        except PhotoError as error:
            raise NotAcceptable(str(error), hint="ask for another format") from error
        except (ProcessDied, MemoryError) as error:
            raise ConversionFailed(f"a conversion to {conversion.format} needs too much memory") from error
        except CallTooSlow as error:
            raise ConversionFailed(f"the conversion did not end within {MAX_CONVERSION_S:g} s") from error

    def _drop(self, conversion: Conversion, running: _Running) -> None:
        running.task.cancel()
        if self._running.get(conversion) is running:  # at once: the next caller must not join a task that ends
            del self._running[conversion]

    def _ended(self, conversion: Conversion, running: _Running, task: "asyncio.Task[bytes]") -> None:
        running.begun.set()
        if self._running.get(conversion) is running:
            del self._running[conversion]
        if task.cancelled() or task.exception() is not None or len(task.result()) > self.cache_bytes:
            return
        self._cache[conversion] = task.result()
        while sum(map(len, self._cache.values())) > self.cache_bytes:
            self._cache.popitem(last=False)
        task.get_loop().call_later(self.cache_s, self._cache.pop, conversion, None)

    def forget(self, job_id: str) -> None:
        """Drop everything of a deleted job."""
        for conversion in [entry for entry in self._cache if entry.job_id == job_id]:
            del self._cache[conversion]
        for conversion, running in list(self._running.items()):
            if conversion.job_id == job_id:
                self._drop(conversion, running)

    async def close(self) -> None:
        """End all conversions and their processes."""
        for running in list(self._running.values()):
            running.task.cancel()
        self._cache.clear()
        await self._pool.close()
