"""The upload path: bodies of all forms.  Each is read, or refused as the API refuses requests."""

import asyncio
import atexit
import base64
import json
from concurrent.futures import Executor
from functools import partial

from fastapi import Request
from photo_seeds import small_photos

from service.refusals import Refusal
from service.settings import ServiceSettings
from service.upload import read_parcel

SETTINGS = ServiceSettings(redis_url="unix:///none", store_url="memory://", max_bytes=1 << 16, max_megapixels=1.0)
BOUNDARY = "b0"
TYPES = {
    b"m": f"multipart/form-data; boundary={BOUNDARY}", b"j": "application/json", b"r": "image/png",
    b"o": "application/octet-stream",
}  # fmt: skip


class Loop(asyncio.SelectorEventLoop):
    """Runs at once what would run in a thread: the change of threads takes longer than the reader."""

    def run_in_executor(self, executor: Executor | None, func, *args):
        done = self.create_future()
        try:
            done.set_result(partial(func, *args)())
        except Exception as error:
            done.set_exception(error)
        return done


_LOOP = Loop()
atexit.register(_LOOP.close)


def seeds() -> list[bytes]:
    """The first byte is the form of the body, the second its query."""
    pictures = small_photos()[:12]
    fields = {"image_base64": base64.b64encode(pictures[0]).decode(), "prompt": "rain", "only": ["rain"], "seed": 3}
    form = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nrain\r\n--{BOUNDARY}\r\n'
        'Content-Disposition: form-data; name="image"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
    ).encode()
    return [
        *(b"r0" + picture for picture in pictures),
        b"j0" + json.dumps(fields).encode(),
        b"m0" + form + pictures[1] + f"\r\n--{BOUNDARY}--\r\n".encode(),
        b'j0{"image_url": "https://example.com/a.png", "strength": {"rain": 0.5}}',
    ]


def run(data: bytes) -> None:
    kind, query, body = data[:1], data[1:2], data[2:]
    content_type = TYPES.get(kind, "image/jpeg")
    chunks = [body[: len(body) // 2], body[len(body) // 2 :]]

    async def receive() -> dict:
        chunk = chunks.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}

    scope = {
        "type": "http", "method": "POST", "path": "/restore", "query_string": b"" if query == b"0" else body[:40],
        "headers": [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())],
    }  # fmt: skip
    try:
        parcel = _LOOP.run_until_complete(read_parcel(Request(scope, receive), "restore", SETTINGS))
    except Refusal as refusal:
        assert 400 <= refusal.status < 500 and refusal.code
        json.dumps(refusal.detail).encode()
        return
    assert parcel.header is None or parcel.header.width_px * parcel.header.height_px <= 1_000_000
