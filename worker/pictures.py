"""Decoding and encoding, in a small pool of processes with a memory limit, away from the device and from Redis.

A file that kills its process (a bomb, a decoder's bug) must not take its neighbours with it: when the pool breaks, what
was in it is tried again one at a time, and only the file that breaks it again is refused.
"""

import asyncio
import multiprocessing
import os
import resource
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from typing import TypeVar

from models.errors import PhotoError
from models.photo import Limits, Photo, read_photo
from models.photo_write import encode_photo, losses
from worker.messages import Pixels
from worker.parent import die_with_parent

T = TypeVar("T")


class TooHard(Exception):
    """A file that its decoder, or a picture that its encoder, does not survive."""


def _prepare(memory_bytes: int, parent: int) -> None:
    die_with_parent(parent)
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))


def started() -> None:
    """Runs in the pool: whoever runs it has imported everything."""


def decode(data: bytes, limits: Limits) -> Photo:
    """Runs in the pool."""
    return read_photo(data, limits)


def encode(photo: Photo, pixels: Pixels, kind: str | None, quality: int | None, metadata: bool) -> tuple[bytes, str]:
    """Runs in the pool: the restored pixels in the photo's own file format, or in `kind`."""
    written = replace(photo, pixels=pixels)
    if not metadata:
        written = replace(written, exif=None)
    return encode_photo(written, kind, quality), kind or photo.format


class Pictures:
    """`workers` processes of at most `memory_bytes` of address space each."""

    def __init__(self, workers: int = 2, memory_bytes: int = 6 * 2**30, limits: Limits | None = None) -> None:
        self.workers, self.memory_bytes = workers, memory_bytes
        self.limits = limits or Limits()
        self._pool = self._fresh()
        self._singly = asyncio.Lock()

    def _fresh(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(self.workers, context, _prepare, (self.memory_bytes, os.getpid()))

    async def warm(self) -> None:
        """Start the processes now, not with the first picture."""
        await asyncio.gather(*(self._run(started) for _ in range(self.workers)))

    async def decode(self, data: bytes) -> Photo:
        """A file's photo.

        Raises:
            PhotoError: it is none, or over the limits.
            TooHard: the decoder died of it, or ran out of its memory.
        """
        return await self._run(decode, data, self.limits)

    async def encode(
        self, photo: Photo, pixels: Pixels, kind: str | None = None, quality: int | None = None, metadata: bool = True
    ) -> tuple[bytes, str]:
        """The file with these pixels, and its format."""
        return await self._run(encode, photo, pixels, kind, quality, metadata)

    def warnings(self, photo: Photo, kind: str | None) -> tuple[str, ...]:
        """What the file format cannot keep."""
        return (*photo.warnings, *losses(photo, kind or photo.format))

    async def _run(self, action: Callable[..., T], *words: object) -> T:
        loop, pool = asyncio.get_running_loop(), self._pool
        try:
            return await loop.run_in_executor(pool, action, *words)
        except BrokenProcessPool:
            pass
        except MemoryError as error:
            raise TooHard("the image needs more memory than a decoder may have") from error
        async with self._singly:
            self._renew(pool)
            try:
                return await loop.run_in_executor(self._pool, action, *words)
            except BrokenProcessPool as error:
                self._renew(self._pool)
                raise TooHard("the image's decoder or encoder died of it, twice") from error
            except MemoryError as error:
                raise TooHard("the image needs more memory than a decoder may have") from error

    def _renew(self, broken: ProcessPoolExecutor) -> None:
        if self._pool is broken:
            broken.shutdown(wait=False, cancel_futures=True)
            self._pool = self._fresh()

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


__all__ = ["PhotoError", "Pictures", "TooHard"]
