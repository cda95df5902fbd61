"""The limits of an upload: by its length, by its bytes, and by its header."""

import base64
import gzip
import io
import resource
import socket
import struct
import zlib

import pytest
from PIL import Image


def png_header(width: int, height: int) -> bytes:
    """About a kilobyte that claims to be a large image."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(bytes(900_000))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in (chunk, data)
    )


def webp_header(width: int, height: int) -> bytes:
    """An extended WebP with a canvas of this size."""
    size = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    chunks = b"VP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + size
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


@pytest.mark.parametrize("size", [(60_000, 60_000), (8_000, 7_000), (12_000, 10_000), (66_000, 2)])
def test_a_small_file_that_claims_too_many_pixels_is_413(client, size):
    data = png_header(*size)
    assert len(data) < 1200
    answer = client.post("/restore", files={"image": data})
    assert answer.status_code == 413 and answer.json()["code"] == "too-many-pixels"


def test_a_canvas_of_gigabytes_takes_no_memory(client):
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer = client.post("/restore", files={"image": webp_header(16_000_000, 200)})
    assert answer.status_code in (413, 415)  # depends on how much address space the system grants
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 100_000


def test_the_pixel_limit_is_a_setting(serve, picture):
    client = serve(max_megapixels=0.01).client
    assert client.post("/restore", files={"image": picture(size=(100, 100))}).status_code == 202
    answer = client.post("/restore", files={"image": picture(size=(101, 100))})
    assert answer.status_code == 413 and "101 x 100" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"GIF89a" + bytes(50), "unsupported-format"), (b"BM" + bytes(50), "unsupported-format"),
     (b"\0\0\0\x18ftypheic" + bytes(50), "unsupported-format"), (b"%PDF-1.7", "unsupported-format"),
     (b"hello", "not-an-image"), (b"", "not-an-image"), (b"\x89PNG\r\n\x1a\n" + bytes(9), "not-an-image")],
)  # fmt: skip
def test_other_files_are_415_with_the_code_of_their_kind(client, data, code):
    answer = client.post("/restore", files={"image": data})
    assert (answer.status_code, answer.json()["code"]) == (415, code)


@pytest.mark.parametrize("form", ["raw", "multipart", "json"])
def test_more_bytes_than_the_limit_are_413(serve, form):
    client = serve(max_bytes=100_000).client
    data = bytes(100_001)
    request = {
        "raw": {"content": data, "headers": {"Content-Type": "image/png"}},
        "multipart": {"files": {"image": data}},
        "json": {"json": {"image_base64": base64.b64encode(data).decode()}},
    }[form]
    answer = client.post("/restore", **request)
    assert answer.status_code == 413 and answer.json()["code"] == "too-large"


@pytest.mark.parametrize("kind", ["image/png", "multipart/form-data; boundary=x", "application/json"])
def test_an_upload_over_the_limit_stops_being_read(serve, kind):
    client, sent = serve(max_bytes=200_000).client, []

    def endless():
        yield b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
        for _ in range(2_000):
            sent.append(50_000)
            yield bytes(50_000)

    answer = client.post("/restore", content=endless(), headers={"Content-Type": kind})
    assert answer.status_code == 413 and answer.json()["code"] == "too-large"
    assert answer.headers["connection"] == "close"
    assert sum(sent) < 20_000_000  # of 100 MB; the socket buffers hold a part


def test_a_content_length_over_the_limit_is_refused_before_a_byte_is_sent(serve):
    port = serve(max_bytes=1_000).settings.port
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(
            b"POST /restore HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 5000000000\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 413")  # and no 100 Continue before it


def test_an_image_as_large_as_a_photo_is_accepted(client):
    target = io.BytesIO()
    Image.effect_noise((2000, 1500), 90).save(target, "png")
    assert len(target.getvalue()) > 1_500_000  # over Starlette's own spool limit
    assert client.post("/restore", files={"image": target.getvalue()}).status_code == 202


def test_a_client_that_disconnects_leaves_no_job_and_is_logged_as_499(service, capsys, eventually):
    with socket.create_connection(("127.0.0.1", service.settings.port), timeout=10) as connection:
        connection.sendall(
            b"POST /restore HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 90000\r\n\r\nabc"
        )
    lines = []
    eventually(lambda: lines.extend(capsys.readouterr()) or "request.ended" in "".join(lines))
    assert "499" in "".join(lines) and "crashed" not in "".join(lines)
    assert service.queued()(lambda queue: queue.backlog("toy")).total == 0


@pytest.mark.parametrize(("body", "problem"), [
    ('{"image_base64": "AA==", "steps": 1, "steps": 2}', "steps: given twice"), ('{"strength": NaN}', "NaN"),
    ('{"strength": -Infinity}', "-Infinity"), ('[1]', "not an object"),
])  # fmt: skip
def test_json_that_parsers_read_differently_is_422(client, body, problem):
    answer = client.post("/restore", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422 and problem in answer.json()["detail"]


@pytest.mark.parametrize("encoding", ["gzip", "br", "gzip, identity"])
def test_a_compressed_body_is_refused_with_a_reason(client, encoding):
    for route in ("/restore", "/detect", "/uploads"):
        for kind in ("image/png", "application/json", "multipart/form-data; boundary=x"):
            headers = {"Content-Type": kind, "Content-Encoding": encoding}
            answer = client.post(route, content=gzip.compress(b"{}"), headers=headers)
            assert answer.status_code == 415 and answer.json()["code"] == "unsupported-encoding", (route, kind)
            assert encoding in answer.json()["detail"] and answer.headers["accept-encoding"] == "identity"


def test_a_body_whose_encoding_is_identity_is_read(client, picture):
    headers = {"Content-Type": "image/png", "Content-Encoding": "identity"}
    assert client.post("/restore", content=picture(), headers=headers).status_code == 202


def test_base64_may_stand_in_a_form(client, picture):
    large = io.BytesIO()
    Image.effect_noise((400, 400), 90).save(large, "png")  # more than a field of another name may have
    text = base64.urlsafe_b64encode(large.getvalue()).decode().rstrip("=")
    assert client.post("/restore", files={"image_base64": (None, text)}).status_code == 202
    answer = client.post("/restore", files={"image": picture(), "prompt": (None, text)})
    assert answer.status_code == 422 and answer.json()["errors"][0]["field"] == "prompt"
