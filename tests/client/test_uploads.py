"""Large images go straight into the store where the server offers that, and to the server where it does not."""

import pytest
from faulty_proxy import start_proxy
from s3_servers import CREDENTIALS, moto_server

from undegrade_client import ImageTooLarge


@pytest.fixture(scope="module")
def s3_url():
    with moto_server() as url:
        yield url


@pytest.fixture
def s3(serve, toy, s3_url, monkeypatch):
    """A service and a worker with a store in S3."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    store = f"s3://pictures/client?region=us-east-1&endpoint={s3_url}"
    service = serve(store_url=store, max_bytes=100_000)
    toy(store_url=store)
    return service


@pytest.fixture
def watched():
    """Starts a proxy that notes the requests to a service."""
    made = []

    def start(service):
        made.append(start_proxy(service.url))
        return made[-1][0]

    yield start
    for _, server in made:
        server.shutdown()
        server.server_close()


def test_a_large_image_goes_into_the_store_and_a_small_one_to_the_server(connect, s3, picture, watched):
    proxy = watched(s3)
    client = connect(proxy.url, large_bytes=70)
    data = picture("png", (24, 16))
    assert len(data) >= 70
    result = client.restore(data, only=["noise"], strength=0.5, color_fix=True)
    assert result.job.raw["params"]["only"] == ["noise"] and result.job.raw["params"]["color_fix"] is True
    assert result.image.getpixel((0, 0)) == (255, 0, 0)
    assert any(line.startswith("POST /uploads") for line in proxy.seen)
    proxy.hurt([])
    connect(proxy.url).restore(data)
    assert not any("/uploads" in line for line in proxy.seen)


@pytest.mark.parametrize("fault", ["lost", "503"])
def test_an_upload_whose_answer_is_lost_is_opened_once(connect_blocking, s3, picture, watched, clock, fault):
    proxy = watched(s3)
    proxy.hurt([fault, "ok", fault])
    connect_blocking(proxy.url, large_bytes=70, clock=clock).restore(picture())
    assert len(s3.client.get("/jobs").json()["jobs"]) == 1


def test_a_store_that_only_the_server_reaches_gets_the_image_from_the_server(
    connect_blocking, s3, picture, watched, clock, monkeypatch
):
    proxy = watched(s3)
    client = connect_blocking(proxy.url, large_bytes=70, clock=clock)
    put = client._driver._send

    def refused(request):
        return put(request if request.method != "PUT" else type(request)("PUT", "http://127.0.0.1:9/x", body=b"x"))

    monkeypatch.setattr(client._driver, "_send", refused)
    assert client.restore(picture()).image.getpixel((0, 0)) == (255, 0, 0)
    assert sum(clock.slept) <= 60
    proxy.hurt([])
    client.restore(picture(), seed=1)
    assert not any("/uploads" in line for line in proxy.seen)  # it is not tried again


def test_a_server_without_uploads_is_asked_once(connect, service, worker, picture, watched):
    proxy = watched(service)
    client = connect(proxy.url, large_bytes=10)
    client.restore(picture())
    client.restore(picture())
    assert [line for line in proxy.seen if "/uploads" in line] == ["POST /uploads ok"]


def test_an_image_that_is_too_large_is_refused_before_it_travels(connect_blocking, s3, watched):
    proxy = watched(s3)
    with pytest.raises(ImageTooLarge):
        connect_blocking(proxy.url, large_bytes=70).restore(b"x" * 100_001)
    assert proxy.seen == ["POST /uploads ok"]
