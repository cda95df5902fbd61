"""Decoding and encoding, in a small pool of processes with a memory limit, away from the device and from Redis.

A file that kills its process (a bomb, a decoder's bug) takes nobody with it.  It is tried once more, since the kernel
may have killed the process for another's memory; then the file is refused.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from models.errors import PhotoError
from models.photo.read import Limits, Photo, read_photo
from models.photo.write import conversion_warnings, encode_photo
from worker.messages import Pixels
from worker.process_pool import Died, Pool

T = TypeVar("T")


AT_ONCE, AT_ONCE_SAMPLES = ("png", "jpeg"), 3 * 2**14
"""A picture of ours so small is written right here, in 2 ms: a third of that would be the way to the pool and back."""


class TooHard(Exception):
    """A file that its decoder, or a picture that its encoder, does not survive."""


def started() -> None:
    """Runs in the pool: whoever runs it has imported everything."""


def decode(data: bytes, limits: Limits) -> Photo:
    """Runs in the pool."""
    return read_photo(data, limits)


def encode(photo: Photo, kind: str | None, quality: int | None) -> tuple[bytes, str]:
    """Runs in the pool: the photo in its own file format, or in `kind`."""
    return encode_photo(photo, kind, quality), kind or photo.format


class Pictures:
    """`workers` processes of at most `memory_bytes` of address space each."""

    def __init__(self, workers: int = 2, memory_bytes: int = 6 * 2**30, limits: Limits | None = None) -> None:
        self.workers, self.limits = workers, limits or Limits()
        self._pool = Pool(workers, memory_bytes)

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
        written = replace(photo, pixels=pixels, exif=photo.exif if metadata else None)  # the pipe carries no old pixels
        if pixels.size <= AT_ONCE_SAMPLES and (kind or photo.format) in AT_ONCE:
            return encode(written, kind, quality)
        return await self._run(encode, written, kind, quality)

    def warnings(self, photo: Photo, kind: str | None) -> tuple[str, ...]:
        """What the file format cannot keep."""
        return (*photo.warnings, *conversion_warnings(photo, kind or photo.format))

    async def _run(self, action: Callable[..., T], *words: object) -> T:
        try:
            try:
                return await self._pool.run(action, *words)
            except Died:
                return await self._pool.run(action, *words)
        except Died as error:
            raise TooHard("the image's decoder or encoder died of it, twice") from error
        except MemoryError as error:
            raise TooHard("the image needs more memory than a decoder may have") from error

    async def close(self) -> None:
        await self._pool.close()


__all__ = ["PhotoError", "Pictures", "TooHard"]
