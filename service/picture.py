"""The response with a picture: whole, a range of its bytes, or only its headers.

A picture belongs to one caller and may be deleted at any time.  So a browser may keep it (`private`), but asks before
it shows it again (`no-cache`); the answer to that is 304 or 410.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi import Request, Response

from service.conditional import has_current
from service.content_disposition import clean_stem, content_disposition
from service.proxies import is_head
from service.ranges import requested_range

REDIRECT_HEADERS = {"Preference-Applied": "redirect", "Cache-Control": "private, no-store"}
"""Of an answer whose Location is a URL in the store."""
FILE_ENDINGS = {"jpeg": "jpg", "tiff": "tif"}
CACHE_CONTROL = "private, no-cache"
Reader = Callable[[int, int], Awaitable[bytes]]
"""Returns the bytes of a picture from the first position up to the second, which is not included."""


@dataclass(frozen=True)
class Picture:
    """A picture to send.

    Attributes:
        format: the name of its media type below image/.
        stem: of its file name.
        etag: a strong entity tag with its quotation marks.
        size: in bytes.
    """

    format: str
    stem: str
    etag: str
    size: int

    @property
    def headers(self) -> dict[str, str]:
        """Returns the headers of every response with this picture."""
        return {
            "ETag": self.etag,
            "Vary": "Accept",
            "Accept-Ranges": "bytes",
            "Cache-Control": CACHE_CONTROL,
            "Content-Disposition": content_disposition(f"{self.stem}.{FILE_ENDINGS.get(self.format, self.format)}"),
        }


def stem_of(file_name: str | None, job_id: str) -> str:
    """Return a file name without extension: that of the caller's file, cleaned, or else the job's id."""
    stem = clean_stem(file_name)
    return f"{stem}-restored" if stem else job_id


def not_modified(request: Request, etag: str) -> Response | None:
    """Return 304 if the client has the picture with this tag already, else None."""
    if not has_current(request.headers.getlist("if-none-match"), etag):
        return None
    return Response(status_code=304, headers={"ETag": etag, "Vary": "Accept", "Cache-Control": CACHE_CONTROL})


async def picture_response(request: Request, picture: Picture, read: Reader) -> Response:
    """Return the picture, or what `Range` asks for.  Of a HEAD request, nothing is read.

    Raises:
        RangeNotSatisfiable: with the size of the picture.
    """
    media_type = f"image/{picture.format}"
    if is_head(request.scope):  # RFC 9110, 14.2: Range is for GET
        return Response(headers={**picture.headers, "Content-Length": str(picture.size)}, media_type=media_type)
    wanted = request.headers.get("range"), request.headers.get("if-range")
    part = requested_range(*wanted, picture.etag, picture.size)
    if part is None:
        return Response(await read(0, picture.size), headers=picture.headers, media_type=media_type)
    headers = {**picture.headers, "Content-Range": part.content_range}
    return Response(await read(part.first, part.last + 1), status_code=206, headers=headers, media_type=media_type)


def reader_of(data: bytes) -> Reader:
    """Return the reader of a picture that is in memory."""

    async def read(first: int, end: int) -> bytes:
        return data[first:end]

    return read
