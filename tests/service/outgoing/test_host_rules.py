"""Which URLs are allowed by their form; the tricks are those of published lists of SSRF payloads."""

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.outgoing.host_rules import HostRules, check_host_entry
from service.outgoing.refusals import UrlNotAllowed

ANY = HostRules(hosts=("*",))
NAMED = HostRules(hosts=("example.com", "*.cdn.example", "http://app.internal:3000", "https://[fd12::1]:8443"))

TRICKS = [
    "http://example.com/", "ftp://example.com/", "file:///etc/passwd", "gopher://example.com/", "//example.com/",
    "example.com", "", "https://", "https:///path", "https:example.com", "javascript:alert(1)",
    "https://user@example.com/", "https://user:pw@example.com/", "https://example.com@127.0.0.1/",
    "https://example.com:443@10.0.0.1/", "https://example.com%40127.0.0.1/", "https://@example.com/",
    "https://example.com/#x", "https://example.com#@127.0.0.1/", "https://127.0.0.1#.example.com/",
    "https://example.com\\@127.0.0.1/", "https://example.com\\.cdn.example/", "https:\\\\127.0.0.1/",
    "https://127.0.0.1/", "https://127.1/", "https://127.0.1/", "https://2130706433/", "https://0x7f000001/",
    "https://0x7f.0.0.1/", "https://0177.0.0.1/", "https://00000177.0.0.1/", "https://017700000001/", "https://0/",
    "https://127.0.0.1./", "https://1.1.1.1./", "https://256.256.256.256/", "https://1.1.1/", "https://1.1.1.1.1/",
    "https://425.510.425.510/", "https://0x7f.1/", "https://0xa9fea9fe/", "https://169.254.169.254/latest/meta-data/",
    "https://[::]/", "https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://[::ffff:7f00:1]/",
    "https://[0:0:0:0:0:ffff:127.0.0.1]/", "https://[64:ff9b::7f00:1]/", "https://[64:ff9b::8.8.8.8]/",
    "https://[2002:7f00:1::]/", "https://[fe80::1%25eth0]/", "https://[fe80::1%eth0]/", "https://[::1%25]/",
    "https://[2606:4700:4700::1111", "https://::1/", "https://[1.1.1.1]/", "https://[]/",
    "https://example.com./", "https://example.com../", "https://.example.com/", "https://example..com/",
    "https://ex_ample.com/", "https://-example.com/", "https://example-.com/", "https://" + "a" * 64 + ".com/",
    "https://" + "a." * 130 + "com/", "https://exam\tple.com/", "https://exam\nple.com/", "https://example.com /",
    " https://example.com/", "https://example.com/\r\nHost: x", "https://example.com/ x", "https://example.com/\x00",
    "https://ⓔⓧⓐⓜⓟⓛⓔ.com/", "https://example。com/", "https://ｅxample.com/", "https://exämple.com/", "https://①②⑦.⓪.⓪.①/",
    "https://%65xample.com/", "https://127.0.0.1%2f.example.com/", "https://example.com/ä", "https://example.com:/",
    "https://example.com:0/", "https://example.com:80/", "https://example.com:6379/", "https://example.com:99999/",
    "https://example.com:443:443/", "https://example.com:+443/", "https://example.com:４４３/", "https://example.com:443x/",
    "https://example.com/" + "a" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("url", TRICKS)
def test_tricks_are_refused_with_a_reason(url):
    with pytest.raises(UrlNotAllowed) as refusal:
        ANY.destination(url)
    assert len(refusal.value.detail) > 20 and "pw" not in refusal.value.detail


@pytest.mark.parametrize(("url", "host", "target", "authority"), [
    ("https://example.com", "example.com", "/", "example.com"),
    ("https://example.com?a=b", "example.com", "/?a=b", "example.com"),
    ("HTTPS://EXAMPLE.com:443/A?b=%20c", "example.com", "/A?b=%20c", "example.com"),
    ("https://xn--exmple-cua.com/x@y", "xn--exmple-cua.com", "/x@y", "xn--exmple-cua.com"),
    ("https://1.1.1.1/dns", "1.1.1.1", "/dns", "1.1.1.1"),
    ("https://[2606:4700:4700:0::1111]/", "2606:4700:4700::1111", "/", "[2606:4700:4700::1111]"),
])  # fmt: skip
def test_ordinary_urls_are_taken_apart(url, host, target, authority):
    destination = ANY.destination(url)
    assert (destination.host, destination.target, destination.authority) == (host, target, authority)
    assert destination.port == 443 and not destination.inside


@given(st.text(max_size=40) | st.from_regex(r"https://[^/?#]{0,30}([/?#].{0,10})?", fullmatch=True))
def test_whatever_is_allowed_means_the_same_to_the_standard_library(url):
    try:
        destination = ANY.destination(url)
    except UrlNotAllowed:
        return
    parts = urlsplit(url)
    assert (parts.scheme, parts.username, parts.fragment) == ("https", None, "")
    assert parts.hostname == destination.host or ":" in destination.host
    assert (parts.port or 443) == destination.port == 443


@pytest.mark.parametrize(("url", "allowed"), [
    ("https://example.com/", True), ("https://a.example.com/", False), ("https://cdn.example/", False),
    ("https://a.cdn.example/", True), ("https://a.b.cdn.example/", True), ("https://xcdn.example/", False),
    ("https://notexample.com/", False), ("https://example.com.evil.test/", False), ("http://example.com/", False),
    ("http://app.internal:3000/hook", True), ("https://app.internal:3000/", False), ("http://app.internal/", False),
    ("http://app.internal:3001/", False), ("https://[fd12:0::1]:8443/x", True), ("https://[fd12::1]/", False),
])  # fmt: skip
def test_only_listed_hosts_and_origins_are_allowed(url, allowed):
    if allowed:
        assert NAMED.destination(url).inside == (":3000" in url or ":8443" in url)
    else:
        with pytest.raises(UrlNotAllowed):
            NAMED.destination(url)


def test_without_a_list_no_url_is_allowed():
    with pytest.raises(UrlNotAllowed, match="no URLs"):
        HostRules().destination("https://example.com/")


def test_further_ports_are_a_setting():
    assert HostRules(hosts=("*",), ports=(443, 8443)).destination("https://example.com:8443/").port == 8443


@pytest.mark.parametrize("entry", [
    "*", "example.com", "*.example.com", "http://app.internal:3000", "https://hooks.internal", "http://[::1]:8080",
    "http://localhost:9000", "http://127.0.0.1:9000", "1.1.1.1", "xn--exmple-cua.com",
])  # fmt: skip
def test_entries_of_the_list(entry):
    check_host_entry(entry)


@pytest.mark.parametrize("entry", [
    "", "*.", "*example.com", "a.*.com", "example.com/", "example.com:443", "https://", "http://a b", "http://a/path",
    "ftp://example.com", "10.0.0.1", "127.1", "http://127.1:80", "http://169.254.169.254", "https://u@h", "exämple.com",
])  # fmt: skip
def test_other_entries_of_the_list_are_refused(entry):
    with pytest.raises(ValueError, match="got "):
        check_host_entry(entry)
