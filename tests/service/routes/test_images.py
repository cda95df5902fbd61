"""The restored image, and the image after each pass."""

import hashlib
import io
from urllib.parse import quote

import pytest
from PIL import Image


@pytest.fixture
def job(worker, submitted):
    """A finished job."""
    return submitted(headers={"Prefer": "wait=20"})


def test_a_result_is_returned_as_stored(client, job):
    answer = client.get(job["result"]["url"])
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/png"
    assert hashlib.sha256(answer.content).hexdigest() == job["result"]["sha256"]
    assert answer.headers["etag"] == f'"{job["result"]["sha256"]}"' and len(answer.content) == job["result"]["bytes"]
    assert answer.headers["content-disposition"] == f'inline; filename="{job["id"]}.png"'
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_an_image_that_the_client_has_is_not_sent_again(client, job):
    etag = client.get(job["result"]["url"]).headers["etag"]
    again = client.get(job["result"]["url"], headers={"If-None-Match": etag})
    assert again.status_code == 304 and not again.content
    assert client.get(job["result"]["url"] + "?format=webp", headers={"If-None-Match": etag}).status_code == 200


@pytest.mark.parametrize("kind", ["jpeg", "webp", "tiff", "avif"])
@pytest.mark.parametrize("asked", ["format", "accept"])
def test_a_result_is_converted_to_a_requested_format(client, job, kind, asked):
    request = {"params": {"format": kind}} if asked == "format" else {"headers": {"Accept": f"image/{kind}"}}
    answer = client.get(job["result"]["url"], **request)
    assert answer.headers["content-type"] == f"image/{kind}" and answer.headers["vary"] == "Accept"
    assert Image.open(io.BytesIO(answer.content)).format == kind.upper()


def test_a_browsers_accept_header_returns_the_stored_format(client, job):
    accept = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
    assert client.get(job["result"]["url"], headers={"Accept": accept}).headers["content-type"] == "image/png"


def test_a_lower_quality_gives_a_smaller_file(client, job):
    sizes = [len(client.get(job["result"]["url"], params={"format": "jpeg", "quality": q}).content) for q in (5, 95)]
    assert sizes[0] < sizes[1]


def test_a_format_that_cannot_be_returned_is_406_or_422(client, job):
    assert client.get(job["result"]["url"], headers={"Accept": "application/json"}).status_code == 406
    assert client.get(job["result"]["url"] + "?format=gif").status_code == 422


def test_the_result_of_an_unfinished_job_is_409(client, submitted):
    answer = client.get(f"/jobs/{submitted()['id']}/result")
    assert answer.status_code == 409 and answer.json()["code"] == "not-finished"


def test_a_result_whose_blob_has_expired_is_410(client, job, valkey):
    valkey.do(lambda redis: redis.delete(*redis.keys("undegrade:blob:*")))
    answer = client.get(job["result"]["url"])
    assert answer.status_code == 410 and answer.json()["code"] == "gone"


def test_a_detection_has_no_image(client, worker, picture):
    job = client.post("/detect", files={"image": picture()}).json()
    assert client.get(f"/jobs/{job['id']}/result").status_code == 410


def test_the_image_of_a_pass_is_returned(client, job):
    answer = client.get(job["passes"][0]["image"])
    assert answer.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(answer.content)).convert("RGB").getpixel((0, 0)) == (255, 192, 203)


@pytest.mark.parametrize(("number", "status"), [("2", 404), ("3", 404), ("0", 422), ("x", 422)])
def test_a_pass_without_an_image_is_404(client, job, number, status):
    assert client.get(f"/jobs/{job['id']}/passes/{number}/image").status_code == status


# Ranges, HEAD and file names, with a real client of a real server


@pytest.fixture(params=["redis", "file"])
def pictures(request, serve, toy, picture, tmp_path):
    """A client, and the URLs of a result, of a converted result and of a pass, in two kinds of stores."""
    store = {} if request.param == "redis" else {"store_url": f"file://{tmp_path}/blobs"}
    client = serve(**store).client
    toy(**store)
    job = client.post(
        "/restore", files={"image": ("Été am See.png", picture(size=(90, 60)))}, headers={"Prefer": "wait=20"}
    ).json()
    return client, [job["result"]["url"], job["result"]["url"] + "?format=webp", job["passes"][0]["image"]]


def test_ranges_are_slices_of_the_whole(pictures):
    client, urls = pictures
    for url in urls:
        whole = client.get(url)
        data, size, tag = whole.content, len(whole.content), whole.headers["etag"]
        assert whole.headers["accept-ranges"] == "bytes" and "content-range" not in whole.headers
        pieces = [
            client.get(url, headers={"Range": f"bytes={first}-{first + 99}", "If-Range": tag})
            for first in range(0, size, 100)
        ]
        assert {piece.status_code for piece in pieces} == {206} and b"".join(p.content for p in pieces) == data
        assert pieces[0].headers["content-range"] == f"bytes 0-{min(99, size - 1)}/{size}"
        assert pieces[0].headers["content-length"] == str(min(100, size))
        for name in ("etag", "content-type", "content-disposition", "cache-control", "vary"):
            assert pieces[0].headers[name] == whole.headers[name]
        assert client.get(url, headers={"Range": "bytes=-10"}).content == data[-10:]
        after = client.get(url, headers={"Range": f"bytes={size}-"})
        assert after.status_code == 416 and after.headers["content-range"] == f"bytes */{size}"
        assert after.json()["code"] == "range-not-satisfiable"
        for headers in ({"Range": "bytes=0-1,5-6"}, {"Range": "bytes=0-1", "If-Range": '"other"'}):
            again = client.get(url, headers=headers)
            assert (again.status_code, again.content) == (200, data)
        assert client.get(url, headers={"Range": "bytes=0-1", "If-None-Match": tag}).status_code == 304


def test_head_has_the_headers_of_get_and_ignores_range(pictures):
    client, urls = pictures
    for url in urls:
        get, head = client.get(url), client.head(url, headers={"Range": "bytes=0-1"})
        assert head.status_code == 200 and head.content == b""
        of_this_request = {"date", "x-request-id"}
        assert {k: v for k, v in head.headers.items() if k not in of_this_request} == {
            k: v for k, v in get.headers.items() if k not in of_this_request
        }
        assert client.head(url, headers={"If-None-Match": get.headers["etag"]}).status_code == 304


def test_a_picture_is_private_and_has_the_name_of_the_callers_file(pictures):
    client, urls = pictures
    names = ["Été am See-restored.png", "Été am See-restored.webp", "Été am See-restored-pass-1.png"]
    for url, name in zip(urls, names, strict=True):
        headers = client.get(url).headers
        assert headers["cache-control"] == "private, no-cache" and headers["x-content-type-options"] == "nosniff"
        expected = f"inline; filename=\"{name.replace('É', 'E').replace('é', 'e')}\"; filename*=UTF-8''{quote(name)}"
        assert headers["content-disposition"] == expected


def test_a_store_that_signs_nothing_ignores_prefer_redirect(pictures):
    client, urls = pictures
    for url in urls:
        answer = client.get(url, headers={"Prefer": "redirect"})
        assert answer.status_code == 200 and "preference-applied" not in answer.headers


def test_head_and_ranges_of_a_deleted_picture_are_410(client, job, valkey):
    valkey.do(lambda redis: redis.delete(*redis.keys("undegrade:blob:*")))
    for url in (job["result"]["url"], job["passes"][0]["image"]):
        assert client.head(url).status_code == 410
        assert client.get(url, headers={"Range": "bytes=0-1"}).json()["code"] == "gone"


def test_the_file_name_goes_with_the_prompt_of_a_canceled_job(client, service, picture):
    files = {"image": ("secret.png", picture())}
    job = client.post("/restore", files=files, data={"prompt": "remove rain"}).json()["id"]
    assert client.delete(f"/jobs/{job}").status_code == 200
    spec = service.queued()(lambda queue: queue.record(job)).spec
    assert spec.file_name is None and spec.controls.prompt is None
