"""Reads a multipart body part by part.  At any time it holds one part, and the rest of one chunk of the network."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from fastapi import Request
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from service.batches.refusals import BatchTooLarge
from service.refusals import InvalidRequest

MAX_TEXT_BYTES = 64 * 1024


@dataclass
class Part:
    """One part of a form.

    Attributes:
        file_name: None for a field.
        data: its bytes; empty where `size`, the number of bytes that have arrived, is over the limit.
        over: whether it is over the limit.
    """

    name: str
    file_name: str | None
    data: bytearray
    size: int = 0
    over: bool = False


class PartReader:
    """Turns the chunks of a body into its parts.  `max_bytes`: of a file; a longer one is left out of memory."""

    def __init__(self, boundary: bytes, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._ready: list[Part] = []
        self._part = Part("", None, bytearray())
        self._header, self._value = bytearray(), bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_part_data": self._data,
                "on_part_end": self._end,
                "on_header_field": self._to(lambda: self._header),
                "on_header_value": self._to(lambda: self._value),
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_finished,
                "on_end": self._all,
            },
        )

    def feed(self, chunk: bytes) -> list[Part]:
        """Returns the parts that end in this chunk.

        Raises:
            InvalidRequest: the body is not a form.
        """
        try:
            self._parser.write(chunk)
        except MultipartParseError as error:
            raise InvalidRequest(f"the multipart body is damaged: {error}") from error
        ready, self._ready = self._ready, []
        return ready

    def finish(self) -> None:
        """Raises InvalidRequest if the body ended before its last boundary."""
        if not self._ended:
            raise InvalidRequest("the multipart body is damaged: it ends before its last boundary")

    def _to(self, target: Callable[[], bytearray]) -> Callable[[bytes, int, int], None]:
        return lambda data, start, end: target().extend(data[start:end])

    def _begin(self) -> None:
        self._part, self._headers = Part("", None, bytearray()), {}

    def _header_end(self) -> None:
        self._headers[bytes(self._header).lower()] = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        if b"name" not in options:
            raise InvalidRequest("the multipart body is damaged: a part has no name")
        self._part.name = options[b"name"].decode(errors="replace")
        if b"filename" in options:
            self._part.file_name = options[b"filename"].decode(errors="replace")

    def _data(self, data: bytes, start: int, end: int) -> None:
        part = self._part
        part.size += end - start
        if part.size <= (MAX_TEXT_BYTES if part.file_name is None else self.max_bytes):
            part.data += data[start:end]
        else:
            part.over, part.data = True, bytearray()

    def _end(self) -> None:
        self._ready.append(self._part)
        self._part = Part("", None, bytearray())

    def _all(self) -> None:
        self._ended = True


def boundary_of(request: Request) -> bytes:
    """Return the boundary of a form.

    Raises:
        InvalidRequest: the content type names none.
    """
    _, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary", b"")
    if not boundary:
        raise InvalidRequest("the multipart body is damaged: Content-Type names no boundary")
    return boundary


async def parts(request: Request, max_bytes: int, max_body_bytes: int) -> AsyncIterator[Part]:
    """Yield the parts of a form as they arrive.

    Raises:
        BatchTooLarge: the body has more than `max_body_bytes`.
        InvalidRequest: the body is not a form.
    """
    reader, count = PartReader(boundary_of(request), max_bytes), 0
    async for chunk in request.stream():
        count += len(chunk)
        if count > max_body_bytes:
            raise BatchTooLarge(f"the batch has {count:,} bytes or more, the limit is {max_body_bytes:,}")
        for part in reader.feed(chunk):
            yield part
    reader.finish()
