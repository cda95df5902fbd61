"""What a proxy says about the client counts if the proxy is trusted, and never otherwise."""

import asyncio

import pytest
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from service.forwarded import ForwardedHeaders, TrustedProxies, parse_forwarded

PROXY, STRANGER = "10.0.0.7", "203.0.113.9"
TRUSTED = ("10.0.0.5/8", "2001:db8::/32")
"""The first is a network whose host bits are set, as people write it."""


def seen(headers, peer=PROXY, trusted=TRUSTED):
    """(client, scheme, host) of a request with these headers, as the application sees it."""
    got = {}

    async def app(scope, receive, send):
        got.update(scope)

    proxies = TrustedProxies(trusted)
    stack = ForwardedHeaders(ProxyHeadersMiddleware(app, trusted_hosts=proxies.for_uvicorn), proxies)
    raw = [(name.lower().encode(), value.encode()) for name, value in [("Host", "inner"), *headers]]
    client = (peer, 4711) if peer else None
    asyncio.run(stack({"type": "http", "scheme": "http", "client": client, "headers": raw}, None, None))
    hosts = [value.decode() for name, value in got["headers"] if name == b"host"]
    assert len(hosts) == 1
    return got["client"][0], got["scheme"], hosts[0]


X_HEADERS = [("X-Forwarded-For", STRANGER), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "photos.example")]
FORWARDED = [("Forwarded", f"for={STRANGER};proto=https;host=photos.example")]
TOLD = (STRANGER, "https", "photos.example")


@pytest.mark.parametrize("headers", [X_HEADERS, FORWARDED], ids=["X-Forwarded", "Forwarded"])
def test_a_trusted_proxy_is_believed_and_a_stranger_is_not(headers):
    assert seen(headers) == TOLD
    assert seen(headers, peer="2001:db8::1") == TOLD
    assert seen(headers, peer=STRANGER) == (STRANGER, "http", "inner")
    assert seen(headers, trusted=()) == (PROXY, "http", "inner")
    assert seen(headers, trusted=("*",), peer=STRANGER) == TOLD


@pytest.mark.parametrize("headers", [X_HEADERS, FORWARDED], ids=["X-Forwarded", "Forwarded"])
def test_clients_of_the_unix_socket_are_believed_if_the_setting_says_unix(headers):
    assert seen(headers, peer=None, trusted=("unix",)) == TOLD
    assert seen(headers, peer=None) == ("unix", "http", "inner")
    assert seen(headers, peer=PROXY, trusted=("unix",)) == (PROXY, "http", "inner")


def test_what_a_client_writes_before_the_proxy_does_not_count():
    """Each proxy appends, so the last entry that no trusted proxy is named in is the client."""
    assert seen([("X-Forwarded-For", f"127.0.0.1, {STRANGER}, 10.9.9.9")])[0] == STRANGER
    spoofed = f"for=127.0.0.1;host=evil.example, for={STRANGER};proto=https;host=photos.example, for=10.9.9.9"
    assert seen([("Forwarded", spoofed)]) == TOLD
    assert seen([("Forwarded", "for=127.0.0.1;host=evil.example"), *X_HEADERS[:1]])[2] == "inner", "passed on unread"


@pytest.mark.parametrize("host", ["", "a b", "photos.example/x", "[::1", "a,b c", "p\u00e9", "h:123456"])
def test_a_host_that_is_none_is_ignored(host):
    assert seen([("X-Forwarded-Host", host)])[2] == "inner"


@pytest.mark.parametrize("host", ["photos.example", "photos.example:8443", "[2001:db8::1]:80", "a, photos.example"])
def test_a_host_may_have_a_port_and_the_nearest_proxy_decides(host):
    assert seen([("X-Forwarded-Host", host)])[2] == host.rpartition(",")[2].strip()


@pytest.mark.parametrize(("text", "elements"), [  # the examples of RFC 7239, sections 4, 6 and 7.1
    ('for="_gazonk"', [{"for": "_gazonk"}]),
    ('For="[2001:db8:cafe::17]:4711"', [{"for": "[2001:db8:cafe::17]:4711"}]),
    ("for=192.0.2.60;proto=http;by=203.0.113.43", [{"for": "192.0.2.60", "proto": "http", "by": "203.0.113.43"}]),
    ("for=192.0.2.43, for=198.51.100.17", [{"for": "192.0.2.43"}, {"for": "198.51.100.17"}]),
    ('for=192.0.2.43, for="[2001:db8:cafe::17]"', [{"for": "192.0.2.43"}, {"for": "[2001:db8:cafe::17]"}]),
    ("for=_hidden, for=_SEVKISEK", [{"for": "_hidden"}, {"for": "_SEVKISEK"}]),
    (r'for="a\"b"', [{"for": 'a"b'}]),
    ("", []), ("for", []), ("for=a;for=b", []), ('for="a', []), ("for=a b", []), ("for=a,", []),
])  # fmt: skip
def test_forwarded_is_read_as_its_rfc_says(text, elements):
    assert parse_forwarded(text) == elements
