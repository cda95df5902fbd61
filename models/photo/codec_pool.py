"""Decodes and encodes image files in a small pool of processes with a memory limit.

A file that kills its process (a decompression bomb, a bug in a decoder) fails alone.  It is tried once more, because
the kernel may have killed the process for the memory of another; then the file is refused.  A file that keeps its
process busy for too long is refused at once, and a caller that is canceled ends the work on its file.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from models.controls import Crop
from models.photo.marking import Marking, encode_marked
from models.photo.part import prepared
from models.photo.read import Limits, Photo, Samples, read_photo
from models.photo.write import conversion_warnings
from processes.memory_limits import memory, oom_kills
from processes.pool import CallTooSlow, Pool, ProcessDied

T = TypeVar("T")

INLINE_FORMATS, INLINE_MAX_SAMPLES = ("png", "jpeg"), 3 * 2**14
"""A picture this small is encoded in this process in 2 ms; the way to the pool and back would add a third."""


MOST_MEMORY_BYTES, LEAST_MEMORY_BYTES = 6 * 2**30, 2**30
"""Address space of a process.  With less than the least, the libraries alone leave no room for a photo."""


class CodecFailed(Exception):
    """The decoder or the encoder died of an image."""


class CodecOutOfMemory(CodecFailed):
    """The decoder or the encoder needed more memory than it may have, or than there is."""


class DecodeTooSlow(CodecFailed):
    """The decoder did not end within its limit."""


def codec_memory_bytes() -> int:
    """Returns the memory limit of a process: no more than the limit of the container."""
    return max(LEAST_MEMORY_BYTES, min(MOST_MEMORY_BYTES, memory().limit_bytes or MOST_MEMORY_BYTES))


def import_codec() -> None:
    """Runs in the pool.  It does nothing: the process has imported everything before it runs."""


def decode(data: bytes, limits: Limits, crop: Crop | None, scale: int) -> Photo:
    """Runs in the pool."""
    return prepared(read_photo(data, limits), crop, scale, limits)


def encode(photo: Photo, kind: str | None, quality: int | None, marking: Marking | None) -> tuple[bytes, str]:
    """Runs in the pool.  Returns the photo as a file, and its format: `kind`, or the photo's own."""
    written = kind or photo.format
    return encode_marked(photo, written, quality, marking), written


class CodecPool:
    """`workers` processes of at most `memory_bytes` of address space each; a file may take `decode_s` to decode."""

    def __init__(
        self, workers: int = 2, memory_bytes: int | None = None, limits: Limits | None = None, decode_s: float = 30.0
    ) -> None:
        self.workers, self.limits, self.decode_s = workers, limits or Limits(), decode_s
        self._pool = Pool(workers, memory_bytes or codec_memory_bytes())

    async def warm_up(self) -> None:
        """Start the processes now, and not with the first image."""
        await asyncio.gather(*(self._run(import_codec) for _ in range(self.workers)))

    async def decode(self, data: bytes, crop: Crop | None = None, scale: int = 1) -> Photo:
        """Decode an image file, cut its part out and enlarge that.

        Raises:
            PhotoError: it is not an image, or is over the limits.
            UnfitControls: the part is not within the image, or the enlarged image is over the limits.
            DecodeTooSlow: it took more than `decode_s` seconds.
            CodecOutOfMemory: it needs more memory than there is.
            CodecFailed: the decoder died of it.
        """
        try:
            return await self._run(decode, data, self.limits, crop, scale, limit_s=self.decode_s)
        except CallTooSlow as error:
            raise DecodeTooSlow(f"the image could not be decoded within {self.decode_s:g} s") from error

    async def encode(
        self, photo: Photo, pixels: Samples, kind: str | None = None, quality: int | None = None,
        metadata: bool = True, marking: Marking | None = None,
    ) -> tuple[bytes, str]:  # fmt: skip
        """Encode a photo with other pixels.  Returns the file and its format.

        Without `metadata` nothing of the input's is kept; the mark of the result is written in any case.

        Raises:
            PhotoError: the format cannot hold it.
            ProvenanceError: it cannot be signed.
            CodecOutOfMemory: it needs more memory than there is.
            CodecFailed: the encoder died of it.
        """
        # Without the old pixels, which would cross the pipe for nothing
        written = replace(photo, pixels=pixels, whole=None, small=None)
        if not metadata:
            written = replace(written, exif=None, metadata=photo.metadata.without_words())
        small = pixels.size <= INLINE_MAX_SAMPLES and (kind or photo.format) in INLINE_FORMATS
        if small and (marking is None or marking.signed_by is None):
            return encode(written, kind, quality, marking)
        return await self._run(encode, written, kind, quality, marking)

    def warnings(self, photo: Photo, kind: str | None) -> tuple[str, ...]:
        """Returns the photo's own warnings, and what the file format cannot keep."""
        return (*photo.warnings, *conversion_warnings(photo, kind or photo.format))

    async def _run(self, action: Callable[..., T], *arguments: object, limit_s: float | None = None) -> T:
        kills = oom_kills()
        try:
            try:
                return await self._pool.run(action, *arguments, limit_s=limit_s)
            except ProcessDied:
                return await self._pool.run(action, *arguments, limit_s=limit_s)
        except ProcessDied as error:
            if kills is not None and oom_kills() != kills:
                raise CodecOutOfMemory("the image needs more memory than this machine has left") from error
            raise CodecFailed("the image's decoder or encoder died of it, twice") from error
        except MemoryError as error:
            raise CodecOutOfMemory("the image needs more memory than a decoder may use") from error

    async def close(self) -> None:
        await self._pool.close()
