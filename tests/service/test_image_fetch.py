"""`image_url` with a real TLS server; the guard itself has tests of its own in tests/service/outgoing."""

import asyncio
import threading
from contextlib import contextmanager

import pytest
from url_servers import PUBLIC, LoopbackNetwork, TlsServer, answering, resolving

from service.outgoing.client import OutgoingClient
from service.outgoing.host_rules import HostRules


@contextmanager
def running(script):
    """Run a TLS server named receiver.test in a thread."""
    server, loop = TlsServer(script), asyncio.new_event_loop()
    stop, ready = asyncio.Event(), threading.Event()

    async def main():
        async with server.running():
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()))
    thread.start()
    assert ready.wait(10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        loop.close()


def allow(service, server, hosts=("receiver.test",), addresses=(PUBLIC,)):
    """Let the service fetch from the server: receiver.test has a public address, which leads to this machine."""
    network = LoopbackNetwork()
    service.app.state.images.client = OutgoingClient(
        HostRules(hosts=hosts, ports=(server.port,)), resolve=resolving(list(addresses)), tls=server.trusting,
        network=network,
    )  # fmt: skip
    return network


def url_at(server, path="/photos/Holiday%202019.png?sig=secret"):
    return f"https://receiver.test:{server.port}{path}"


@pytest.mark.parametrize("form", ["json", "multipart", "query"])
@pytest.mark.parametrize("route", ["/restore", "/detect"])
def test_an_image_is_fetched_from_its_url(service, worker, picture, form, route):
    data = picture("jpeg", size=(40, 30))
    with running(answering(body=data, headers=["Content-Type: text/html"])) as server:
        network, url = allow(service, server), url_at(server)
        request = {
            "json": {"json": {"image_url": url, "lane": "bulk"}},
            "multipart": {"files": {"image_url": (None, url), "lane": (None, "bulk")}},
            "query": {"params": {"image_url": url, "lane": "bulk"}},
        }[form]
        answer = service.client.post(route, headers={"Prefer": "wait=20"}, **request)
    assert answer.status_code == 200, answer.text
    assert network.dialed == [PUBLIC] and server.names == ["receiver.test"]
    (leased,) = worker.leased
    assert leased.spec.source.bytes == len(data) and leased.spec.source.format == "jpeg" and leased.spec.lane == "bulk"
    assert leased.spec.file_name == "Holiday 2019"


def test_urls_are_off_by_default(client, service):
    answer = client.post("/restore", json={"image_url": "https://photos.example/a.png"})
    assert answer.status_code == 403 and answer.json()["code"] == "image-url-off"
    assert "UNDEGRADE_IMAGE_URL_HOSTS" in answer.json()["hint"]
    assert client.get("/limits").json()["image_url"] is False
    assert service.queued()(lambda queue: queue.backlog("toy")).total == 0


def test_the_setting_allows_hosts(serve):
    client = serve(image_url_hosts=("photos.example",)).client
    assert client.get("/limits").json()["image_url"] is True
    for url in ("https://other.example/a.png", "http://photos.example/a.png", "https://me@photos.example/a.png"):
        answer = client.post("/restore", json={"image_url": url})
        assert answer.status_code == 422 and answer.json()["code"] == "url-not-allowed", url


@pytest.mark.parametrize(("script", "status", "code"), [
    (answering(body=b"no image"), 415, "not-an-image"),
    (answering(body=b"GIF89a" + bytes(50)), 415, "unsupported-format"),
    (answering(body=b""), 415, "not-an-image"), (answering(404), 424, "url-bad-answer"),
    (answering(302, headers=["Location: https://elsewhere.example/"]), 424, "url-redirects"),
    (answering(body=bytes(200_000)), 413, "url-too-large"),
])  # fmt: skip
def test_what_is_fetched_is_checked_as_an_upload_is(serve, script, status, code):
    service = serve(max_bytes=100_000)
    with running(script) as server:
        allow(service, server)
        answer = service.client.post("/restore", json={"image_url": url_at(server)})
    assert (answer.status_code, answer.json()["code"]) == (status, code) and answer.json()["hint"]
    assert "secret" not in answer.text and PUBLIC not in answer.text
    assert service.queued()(lambda queue: queue.backlog("toy")).total == 0


def test_too_many_pixels_at_a_url_are_413(serve, picture):
    service = serve(max_megapixels=0.001)
    with running(answering(body=picture(size=(40, 30)))) as server:
        allow(service, server)
        answer = service.client.post("/restore", json={"image_url": url_at(server)})
    assert answer.json()["code"] == "too-many-pixels"


def test_a_private_address_is_not_dialed(service):
    with running(answering()) as server:
        network = allow(service, server, addresses=("10.0.0.7",))
        answer = service.client.post("/restore", json={"image_url": url_at(server)})
    assert answer.json()["code"] == "url-not-allowed" and network.dialed == [] and server.heads == []


def test_a_repeated_request_does_not_fetch_again(service, picture):
    headers = {"Idempotency-Key": "k"}
    with running(answering(body=picture())) as server:
        allow(service, server)
        body = {"image_url": url_at(server), "strength": 0.5}
        first = service.client.post("/restore", json=body, headers=headers)
        again = service.client.post("/restore", json=body, headers=headers)
        other = service.client.post("/restore", json={**body, "image_url": url_at(server, "/b")}, headers=headers)
    assert first.status_code == again.status_code == 202 and first.json()["id"] == again.json()["id"]
    assert len(server.heads) == 1 and other.json()["code"] == "idempotency-key-reused"


@pytest.mark.parametrize("body", [{"image_url": ""}, {"image_url": 5}, {"image_url": None}, {"image_url": "x" * 5000}])
def test_a_value_that_is_no_url_is_refused_with_its_field(client, body):
    answer = client.post("/restore", json=body)
    assert answer.status_code == 422 and answer.json()["errors"][0]["field"] == "image_url"


@pytest.mark.parametrize("second", ["image_url", "image_base64", "upload"])
def test_an_image_is_given_once(client, picture, second):
    answer = client.post("/restore", files={"image": picture()}, data={second: "https://a.example/"})
    assert answer.status_code == 422 and answer.json()["errors"][0]["field"] == second
    assert "send the image once" in answer.json()["detail"]
