"""The restored image, and the image after each pass."""

import hashlib
import io

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
