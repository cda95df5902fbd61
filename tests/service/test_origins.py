"""Web pages of strangers: DNS rebinding, cross-origin writes, and CORS."""

import pytest

from service.origins import host_name

PAGE = "http://page.example"


@pytest.mark.parametrize(("host", "name"), [
    ("localhost:8000", "localhost"), ("LOCALHOST.", "localhost"), ("[::1]:80", "::1"), ("[0:0:0:0:0:0:0:1]", "::1"),
    ("127.0.0.1", "127.0.0.1"), ("a.b:1", "a.b"), ("localhost.evil.example", "localhost.evil.example"),
])  # fmt: skip
def test_a_host_header_is_reduced_to_its_name(host, name):
    assert host_name(host) == name


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8000", "10.0.0.1"])
@pytest.mark.parametrize("path", ["/jobs", "/limits", "/docs", "/openapi.json", "/livez"])
def test_an_unknown_host_is_421_while_no_key_is_needed(client, host, path):
    answer = client.get(path, headers={"Host": host})
    assert answer.status_code == 421 and answer.json()["code"] == "unknown-host"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1", "[::1]:8000", "photos.example"])
def test_known_hosts_are_answered(serve, host):
    assert serve(allowed_hosts=("photos.example",)).client.get("/jobs", headers={"Host": host}).status_code == 200


def test_with_keys_any_host_is_answered(serve):
    assert serve(auth="on").client.get("/jobs", headers={"Host": "photos.example"}).status_code == 401


@pytest.mark.parametrize("headers", [
    {"Origin": PAGE}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
    {"Origin": "http://127.0.0.1:1", "Sec-Fetch-Site": "same-origin"},
])  # fmt: skip
@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT"])
def test_a_write_of_another_origin_is_403(client, headers, method):
    answer = client.request(method, "/restore", headers=headers)
    assert answer.status_code == 403 and answer.json()["code"] == "cross-origin"
    assert "access-control-allow-origin" not in answer.headers


def test_a_write_of_the_same_origin_or_of_a_program_is_accepted(service, picture):
    for headers in ({}, {"Origin": service.url, "Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}):
        assert service.client.post("/restore", files={"image": picture()}, headers=headers).status_code == 202


PREFLIGHT = {"Origin": PAGE, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}


@pytest.mark.parametrize(("allowed", "shown"), [(PAGE, PAGE), ("*", "*")])
def test_an_allowed_origin_may_read_and_write(serve, picture, allowed, shown):
    client = serve(allowed_origins=(allowed,)).client
    preflight = client.options("/restore", headers=PREFLIGHT)
    assert preflight.status_code == 204 and preflight.headers["access-control-allow-origin"] == shown
    assert "POST" in preflight.headers["access-control-allow-methods"]
    assert "X-API-Key" in preflight.headers["access-control-allow-headers"]
    answer = client.post("/restore", files={"image": picture()}, headers={"Origin": PAGE})
    assert answer.status_code == 202 and answer.headers["access-control-allow-origin"] == shown
    assert "Location" in answer.headers["access-control-expose-headers"] and "Origin" in answer.headers["vary"]
    assert not any("credentials" in name for name in (*preflight.headers, *answer.headers))


def test_a_page_may_send_and_read_all_our_headers(serve):
    """The preflight lists what the documents of the API name; a browser hides every header that is not exposed."""
    client = serve(allowed_origins=(PAGE,)).client
    document = client.get("/openapi.json").json()
    operations = [route for methods in document["paths"].values() for route in methods.values()]
    sent = {
        entry["name"].lower()
        for route in operations
        for entry in route.get("parameters", ())
        if entry["in"] == "header"
    }
    schemes = document["components"]["securitySchemes"].values()
    sent |= {scheme.get("name", "authorization").lower() for scheme in schemes} | {
        "idempotency-key",
        "range",
        "if-range",
    }
    allowed = client.options("/restore", headers=PREFLIGHT).headers["access-control-allow-headers"].lower().split(", ")
    assert sent - set(allowed) == set()
    answered = {
        name.lower() for route in operations for entry in route["responses"].values() for name in entry["headers"]
    }
    answered |= {"idempotency-replayed", "content-range", "accept-ranges"}
    exposed = (
        client.get("/limits", headers={"Origin": PAGE}).headers["access-control-expose-headers"].lower().split(", ")
    )
    safelisted = {"cache-control", "vary"}  # a browser shows them, or acts on them, in any case
    assert answered - safelisted - set(exposed) == set()


def test_a_strangers_preflight_is_403(client):
    assert client.options("/restore", headers=PREFLIGHT).status_code == 403
