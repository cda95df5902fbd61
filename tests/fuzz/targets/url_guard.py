"""The guard of URLs of callers: what it allows is the same URL for a second parser, and no address of our network."""

from contextlib import suppress
from ipaddress import ip_address
from urllib.parse import urlsplit

from service.outgoing.host_rules import HostRules, check_host_entry
from service.outgoing.refusals import UrlNotAllowed

RULES = HostRules(hosts=("*", "http://app.internal:3000"), ports=(443, 8443))


def seeds() -> list[bytes]:
    return [
        b"https://example.com/hook?a=1", b"https://user@example.com/", b"https://[2606:4700::1111]:8443/x",
        b"https://127.0.0.1/", b"https://0x7f.1/", b"https://[::ffff:10.0.0.1]/", b"http://app.internal:3000/in",
        b"https://93.184.215.14/", b"https://example.com\\@10.0.0.1/", b"https://xn--bcher-kva.example/%zz#f",
    ]  # fmt: skip


def run(data: bytes) -> None:
    url = data.decode("utf-8", "surrogateescape")
    with suppress(ValueError):
        check_host_entry(url)
    try:
        found = RULES.destination(url)
    except UrlNotAllowed:
        return
    second = urlsplit(url)
    assert second.hostname is not None and found.port == (second.port or {"https": 443, "http": 80}[found.scheme])
    assert _host(second.hostname) == found.host, "two parsers see two hosts"
    assert found.inside or found.scheme == "https"
    assert not any(letter in found.authority + found.target for letter in "\r\n\0 "), "a header could be added"
    found.target.encode("ascii")
    if not found.inside and found.host.replace(".", "").replace(":", "").isalnum():
        address = _address(found.host)
        assert address is None or address.is_global, "an address of a private network"


def _host(text: str) -> str:
    return str(_address(text) or text)


def _address(text: str):
    try:
        return ip_address(text)
    except ValueError:
        return None
