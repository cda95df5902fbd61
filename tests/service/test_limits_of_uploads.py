"""What is refused before it is read, and what a header alone tells."""

import base64
import io
import resource
import socket
import struct
import time
import zlib

import pytest
from PIL import Image

from jobs.store import CARRIED_BYTES
from service.image_header import look
from service.refusals import NotAnImage, TooManyPixels


def png_header(width: int, height: int) -> bytes:
    """About a kilobyte that claims to be a picture."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(bytes(900_000))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in (chunk, data)
    )


def webp_header(width: int, height: int) -> bytes:
    """An extended WebP whose canvas is as large as it says."""
    size = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    chunks = b"VP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + size
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


@pytest.mark.parametrize("size", [(60_000, 60_000), (8_000, 7_000), (12_000, 10_000), (66_000, 2)])
def test_a_small_file_that_claims_too_many_pixels_is_413(client, size):
    data = png_header(*size)
    assert len(data) < 1200
    answer = client.post("/restore", files={"image": data})
    assert answer.status_code == 413 and answer.json()["code"] == "too-many-pixels"


def test_a_canvas_of_gigabytes_costs_no_memory(client):
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer = client.post("/restore", files={"image": webp_header(16_000_000, 200)})
    assert answer.status_code in (413, 415)  # by whether the system hands out so much address space
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 100_000


def test_the_pixel_limit_is_the_settings(serve, picture):
    client = serve(most_megapixels=0.01).client
    assert client.post("/restore", files={"image": picture(size=(100, 100))}).status_code == 202
    answer = client.post("/restore", files={"image": picture(size=(101, 100))})
    assert answer.status_code == 413 and "101 x 100" in answer.json()["detail"]


def test_nothing_is_decoded():
    """A PNG header without any pixel data passes: the worker's decoder will tell."""
    header = png_header(5_000, 5_000)[:60]
    assert look(header, 50).width_px == 5_000


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff", "avif"])
def test_every_format_is_recognized(picture, kind):
    seen = look(picture(kind, size=(30, 20)), 50)
    assert (seen.format, seen.width_px, seen.height_px) == (kind, 30, 20)


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"GIF89a" + bytes(50), "unsupported-format"), (b"BM" + bytes(50), "unsupported-format"),
     (b"\0\0\0\x18ftypheic" + bytes(50), "unsupported-format"), (b"%PDF-1.7", "unsupported-format"),
     (b"hello", "not-an-image"), (b"", "not-an-image"), (b"\x89PNG\r\n\x1a\n" + bytes(9), "not-an-image")],
)  # fmt: skip
def test_what_is_no_image_is_415_and_told_apart(client, data, code):
    answer = client.post("/restore", files={"image": data})
    assert (answer.status_code, answer.json()["code"]) == (415, code)


@pytest.mark.filterwarnings("ignore:.*:UserWarning")  # Pillow warns of odd EXIF; server.py silences it
def test_flipped_headers_are_refused_or_read_but_never_crash(picture):
    for kind in ("jpeg", "png", "webp", "tiff", "avif"):
        good = picture(kind)
        for position in range(0, min(len(good), 120), 3):
            bad = good[:position] + bytes([good[position] ^ 0xFF]) + good[position + 1 :]
            try:
                look(bad, 50)
            except (NotAnImage, TooManyPixels):
                continue


@pytest.mark.parametrize("form", ["raw", "multipart", "json"])
def test_more_bytes_than_the_limit_are_413(serve, form):
    client = serve(most_bytes=100_000).client
    data = bytes(100_001)
    said = {
        "raw": {"content": data, "headers": {"Content-Type": "image/png"}},
        "multipart": {"files": {"image": data}},
        "json": {"json": {"image_base64": base64.b64encode(data).decode()}},
    }[form]
    answer = client.post("/restore", **said)
    assert answer.status_code == 413 and answer.json()["code"] == "too-large"


@pytest.mark.parametrize("kind", ["image/png", "multipart/form-data; boundary=x", "application/json"])
def test_an_upload_over_the_limit_stops_being_read(serve, kind):
    client, sent = serve(most_bytes=200_000).client, []

    def endless():
        yield b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
        for _ in range(2_000):
            sent.append(50_000)
            yield bytes(50_000)

    answer = client.post("/restore", content=endless(), headers={"Content-Type": kind})
    assert answer.status_code == 413 and answer.json()["code"] == "too-large"
    assert answer.headers["connection"] == "close"
    assert sum(sent) < 20_000_000  # of 100 MB: what the sockets' buffers hold


def test_an_announced_length_over_the_limit_is_refused_before_a_byte(serve):
    port = serve(most_bytes=1_000).settings.port
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(
            b"POST /restore HTTP/1.1\r\nHost: here\r\nContent-Type: image/png\r\nContent-Length: 5000000000\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 413")  # and no 100 Continue before it


def test_a_full_queue_answers_503_with_retry_after_and_queues_nothing(serve, picture, valkey):
    service = serve(most_queued=2)
    for _ in range(2):
        assert service.client.post("/restore", files={"image": picture()}).status_code == 202
    blobs = valkey.do(lambda redis: redis.dbsize())
    answer = service.client.post("/restore", files={"image": picture()})
    assert answer.status_code == 503 and answer.json()["code"] == "queue-full"
    assert int(answer.headers["retry-after"]) >= 1
    assert service.queued()(lambda queue: queue.backlog("toy")).total == 2
    assert valkey.do(lambda redis: redis.dbsize()) == blobs


def test_a_full_queue_refuses_a_large_body_before_it_has_come(serve):
    service = serve(most_queued=0)
    with socket.create_connection(("127.0.0.1", service.settings.port), timeout=10) as connection:
        connection.sendall(
            b"POST /restore HTTP/1.1\r\nHost: here\r\nContent-Type: image/png\r\nContent-Length: 2000000\r\n\r\n"
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 503")


@pytest.mark.parametrize("side", [24, 1000], ids=["travels with the job", "is put first"])
def test_a_queue_that_fills_between_the_look_and_the_submission_keeps_no_blob(serve, picture, valkey, side):
    """The first look is for speed; the second is atomic."""
    target = io.BytesIO()
    Image.effect_noise((side, 1200), 90).save(target, "png")
    assert (len(target.getvalue()) > CARRIED_BYTES) == (side == 1000)
    service = serve(most_queued=1)
    assert service.client.post("/restore", files={"image": picture()}).status_code == 202

    async def passes(*arguments) -> None:
        return None

    service.app.state.desk.refuse_early = passes
    keys = valkey.do(lambda redis: sorted(redis.keys()))
    answer = service.client.post("/restore", files={"image": target.getvalue()})
    assert answer.json()["code"] == "queue-full"
    assert valkey.do(lambda redis: sorted(redis.keys())) == keys


def test_retry_after_is_the_measured_drain_rate(serve, picture, valkey):
    service = serve(most_queued=0)
    now_ms = service.queued()(lambda queue: queue.now_ms())
    valkey.do(lambda redis: redis.rpush("undegrade:drain:toy", f"{now_ms} 1", f"{now_ms - 42_000} 1"))
    answer = service.client.post("/restore", files={"image": picture()})
    assert answer.status_code == 503 and 42 <= int(answer.headers["retry-after"]) <= 84


def test_an_image_as_large_as_a_photo_goes_through_memory(client):
    noise = Image.effect_noise((2000, 1500), 90)
    target = io.BytesIO()
    noise.save(target, "png")
    assert len(target.getvalue()) > 1_500_000  # over starlette's own spool limit
    assert client.post("/restore", files={"image": target.getvalue()}).status_code == 202


def test_a_client_that_hangs_up_half_way_leaves_nothing_and_is_no_crash(service, capsys):
    with socket.create_connection(("127.0.0.1", service.settings.port), timeout=10) as connection:
        connection.sendall(
            b"POST /restore HTTP/1.1\r\nHost: here\r\nContent-Type: image/png\r\nContent-Length: 90000\r\n\r\nabc"
        )
        time.sleep(0.3)
    until_s = time.monotonic() + 5
    seen = ""
    while "request.ended" not in seen and time.monotonic() < until_s:
        seen += capsys.readouterr().out
        time.sleep(0.02)
    assert "499" in seen and "crashed" not in seen
    assert service.queued()(lambda queue: queue.backlog("toy")).total == 0
