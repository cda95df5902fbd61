"""The programs that upload into the store itself, with an S3 server."""

import json
from pathlib import Path

import pytest
from faulty_proxy import start_proxy
from PIL import Image
from s3_servers import CREDENTIALS, moto_server

pytestmark = pytest.mark.slow  # an S3 server


@pytest.fixture(scope="module")
def endpoint():
    with moto_server() as url:
        yield url


@pytest.fixture
def service(endpoint, serve, toy, monkeypatch):
    """A service and a worker whose store is S3."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    made = serve(store_url=f"s3://pictures/recipes?region=us-east-1&endpoint={endpoint}")
    toy(store_url=made.settings.store_url)
    return made


@pytest.fixture
def photo(tmp_path, picture):
    path = tmp_path / "photo.png"
    path.write_bytes(picture())
    return path


def uploads_in(valkey):
    return len(valkey.do(lambda redis: redis.keys("undegrade:upload:*")))


@pytest.mark.parametrize("name", ["upload.sh", "phone.mjs"])
def test_a_program_uploads_into_the_store(service, run, valkey, photo, tmp_path, name):
    code, shown, errors = run(name, photo, tmp_path / "out.png", service.url)
    assert code == 0, errors
    with Image.open(tmp_path / "out.png") as image:
        assert image.getpixel((0, 0)) == (255, 0, 0)
    assert uploads_in(valkey) == 1 and shown.strip() == str(tmp_path / "out.png")


def test_a_store_without_uploads_is_named(serve, run, photo, tmp_path):
    code, _, errors = run("upload.sh", photo, tmp_path / "out.png", serve().url)
    assert code == 1 and "uploads-unavailable" in errors


def test_a_phone_that_is_stopped_while_it_waits_for_the_job_does_not_upload_again(
    service, start, run, valkey, photo, tmp_path, eventually
):  # fmt: skip
    notes = Path(f"{photo}.state.json")
    proxy, server = start_proxy(service.url)
    try:
        proxy.hurt(["ok", "ok", "stall"])  # limits, uploads; the answer of POST /restore never arrives
        app = start("phone.mjs", photo, tmp_path / "out.png", proxy.url)
        eventually(lambda: service.client.get("/jobs").json()["jobs"])
        app.kill()
        state = json.loads(notes.read_text())
        assert state["stored"] and "job" not in state
        code, _, errors = run("phone.mjs", photo, tmp_path / "out.png", service.url)
        assert code == 0, errors
        assert len(service.client.get("/jobs").json()["jobs"]) == 1 and uploads_in(valkey) == 1
    finally:
        proxy.released.set()
        server.shutdown()
        server.server_close()
