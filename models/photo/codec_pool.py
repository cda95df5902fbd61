"""Decodes and encodes image files in a small pool of processes with a memory limit.

A file that kills its process (a decompression bomb, a bug in a decoder) fails alone.  It is tried once more, because
the kernel may have killed the process for the memory of another; then the file is refused.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from models.photo.read import Limits, Photo, Samples, read_photo
from models.photo.write import conversion_warnings, encode_photo
from processes.pool import Pool, ProcessDied

T = TypeVar("T")

INLINE_FORMATS, INLINE_MAX_SAMPLES = ("png", "jpeg"), 3 * 2**14
"""A picture this small is encoded in this process in 2 ms; the way to the pool and back would add a third."""


class CodecFailed(Exception):
    """The decoder or the encoder died of an image, or needed more memory than it may have."""


def import_codec() -> None:
    """Runs in the pool.  It does nothing: the process has imported everything before it runs."""


def decode(data: bytes, limits: Limits) -> Photo:
    """Runs in the pool."""
    return read_photo(data, limits)


def encode(photo: Photo, kind: str | None, quality: int | None) -> tuple[bytes, str]:
    """Runs in the pool.  Returns the photo as a file, and its format: `kind`, or the photo's own."""
    return encode_photo(photo, kind, quality), kind or photo.format


class CodecPool:
    """`workers` processes of at most `memory_bytes` of address space each."""

    def __init__(self, workers: int = 2, memory_bytes: int = 6 * 2**30, limits: Limits | None = None) -> None:
        self.workers, self.limits = workers, limits or Limits()
        self._pool = Pool(workers, memory_bytes)

    async def warm_up(self) -> None:
        """Start the processes now, and not with the first image."""
        await asyncio.gather(*(self._run(import_codec) for _ in range(self.workers)))

    async def decode(self, data: bytes) -> Photo:
        """Decode an image file.

        Raises:
            PhotoError: it is not an image, or is over the limits.
            CodecFailed: the decoder died of it, or ran out of memory.
        """
        return await self._run(decode, data, self.limits)

    async def encode(
        self, photo: Photo, pixels: Samples, kind: str | None = None, quality: int | None = None, metadata: bool = True
    ) -> tuple[bytes, str]:
        """Encode a photo with other pixels.  Returns the file and its format.

        Raises:
            PhotoError: the format cannot hold it.
            CodecFailed: the encoder died of it, or ran out of memory.
        """
        written = replace(photo, pixels=pixels)  # without the old pixels, which would cross the pipe for nothing
        if not metadata:
            written = replace(written, exif=None, metadata=photo.metadata.without_words())
        if pixels.size <= INLINE_MAX_SAMPLES and (kind or photo.format) in INLINE_FORMATS:
            return encode(written, kind, quality)
        return await self._run(encode, written, kind, quality)

    def warnings(self, photo: Photo, kind: str | None) -> tuple[str, ...]:
        """Returns the photo's own warnings, and what the file format cannot keep."""
        return (*photo.warnings, *conversion_warnings(photo, kind or photo.format))

    async def _run(self, action: Callable[..., T], *arguments: object) -> T:
        try:
            try:
                return await self._pool.run(action, *arguments)
            except ProcessDied:
                return await self._pool.run(action, *arguments)
        except ProcessDied as error:
            raise CodecFailed("the image's decoder or encoder died of it, twice") from error
        except MemoryError as error:
            raise CodecFailed("the image needs more memory than a decoder may use") from error

    async def close(self) -> None:
        await self._pool.close()
