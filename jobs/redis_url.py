"""The URL of Redis: checks it, hides its passwords, and says what it means to the client.

A server is named itself (`redis://HOST:PORT/DB`), or by the Sentinels that know which server is the primary of a
service (`redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DB`).
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from redis.asyncio.connection import parse_url

from jobs.errors import RedisUrlError

SCHEMES = {
    "redis": "redis", "rediss": "rediss", "unix": "unix", "valkey": "redis", "valkeys": "rediss",
    "redis+sentinel": "redis+sentinel", "rediss+sentinel": "rediss+sentinel",
    "valkey+sentinel": "redis+sentinel", "valkeys+sentinel": "rediss+sentinel",
}  # fmt: skip
"""Each accepted scheme, and our own word for it."""
TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
TLS_WORDS = frozenset(
    (*TLS_FILES, "ssl_cert_reqs", "ssl_ca_path", "ssl_password", "ssl_check_hostname", "ssl_min_version")
)
QUERY_WORDS = TLS_WORDS | {
    "db", "username", "password", "protocol", "client_name", "max_connections", "health_check_interval",
    "socket_timeout", "socket_connect_timeout", "socket_keepalive",
}  # fmt: skip
SENTINEL_WORDS = frozenset(("sentinel_username", "sentinel_password", "sentinel_ssl"))
SECRET_WORDS = ("password", "ssl_password", "sentinel_password")
_SHOWN = (QUERY_WORDS | SENTINEL_WORDS | {"shard"}) - set(SECRET_WORDS)
"""A misspelled word may have a password."""
YES, NO = ("yes", "true", "1"), ("no", "false", "0")
EXPECTED = (
    "redis://HOST:PORT/DB, rediss:// (TLS), valkey://, valkeys://, unix:///SOCKET or "
    "redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DB (rediss+sentinel:// with TLS)"
)
SENTINEL_PORT = 26379


@dataclass(frozen=True, kw_only=True)
class RedisAddress:
    """Where Redis is.

    Attributes:
        url: in our own words, as `checked_url` returns it.
        server: words for the connections to the server, as redis-py names them, but neither class nor Sentinels.
        service: the name of the primary at its Sentinels; None for a server that is named itself.
        sentinels: host and port of each.
        sentinel: words for the connections to the Sentinels.
    """

    url: str
    tls: bool
    server: Mapping[str, Any]
    service: str | None = None
    sentinels: tuple[tuple[str, int], ...] = ()
    sentinel: Mapping[str, Any] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """The server for people: host and port, the socket, or the service of the Sentinels."""
        if self.service is not None:
            return f"{self.service} of {', '.join(f'{host}:{port}' for host, port in self.sentinels)}"
        return str(self.server.get("path") or f"{self.server.get('host', 'localhost')}:{self.server.get('port', 6379)}")


class _Reason(ValueError):
    """A reason in our own words, which repeat no password."""


def checked_url(url: str) -> str:
    """Returns the URL in our own words: `valkey://` becomes `redis://`.

    Raises:
        RedisUrlError: as `read_url`.
    """
    return read_url(url).url


def read_url(url: str) -> RedisAddress:
    """Returns what a URL means.

    Raises:
        RedisUrlError: another scheme, an unknown word, a value out of range, or a file of certificates that is not
            there.  The message hides the passwords.
    """
    scheme, separator, _ = url.partition("://")
    if not separator:
        raise RedisUrlError(f"got a Redis URL without a scheme, {shown_url(url)!r}; expected {EXPECTED}")
    if scheme not in SCHEMES:
        raise RedisUrlError(f"got a Redis URL with the scheme {scheme!r}; expected {EXPECTED}")
    own = SCHEMES[scheme] + url[len(scheme) :]
    try:
        return _read(own)
    except (ValueError, TypeError) as error:
        # The client's own words may contain a part of the password
        hidden = any(mark in url for mark in ("@", "password="))
        reason = str(error) if isinstance(error, _Reason) or not hidden else "a part of it cannot be read"
        raise RedisUrlError(f"the Redis URL {shown_url(url)} is not valid: {reason}; expected {EXPECTED}") from None


def shown_url(url: str) -> str:
    """Returns the URL for messages and logs, with *** for its passwords."""
    shown = re.sub(r"(?P<head>^(?:[^/?#]*://)?[^/?#@:]*:)[^@]*@", r"\g<head>***@", url)
    return re.sub(r"(?<=[?&])([^&#=]*)=[^&#]*", lambda word: word[0] if word[1] in _SHOWN else f"{word[1]}=***", shown)


def _read(own: str) -> RedisAddress:
    parts = urlsplit(own)
    kind, _, sentinel = parts.scheme.partition("+")
    words = _words(parts.query, sentinel=bool(sentinel), tls=kind == "rediss")
    if parts.fragment:
        raise _Reason("got the part after '#', which means nothing; write a # of the password as %23")
    if "@" in parts.path + parts.query:  # the error of a parser could show the password
        raise _Reason("special characters of the passwords must be written as %XX")
    if sentinel:
        return _read_sentinel(own, kind)
    if kind != "unix" and not re.fullmatch(r"/?\d*", parts.path):
        raise _Reason(f"got the path {parts.path!r}, expected the number of a database, as /0")
    if kind == "unix" and not parts.path.strip("/"):
        raise _Reason("got no path of a socket")
    if "," in parts.netloc.rpartition("@")[2]:
        raise _Reason(f"got several hosts; several Sentinels are named by {kind}+sentinel://")
    _ = parts.port  # raises where it is no port
    return RedisAddress(url=own, tls=kind == "rediss", server=_server_words(own, words))


def _server_words(plain: str, words: Mapping[str, str]) -> dict[str, Any]:
    """Returns the words of a URL that the client itself understands, without its class of connection."""
    found: dict[str, Any] = dict(parse_url(plain))
    found.pop("connection_class", None)
    if found.get("protocol", 2) not in (2, 3):
        raise _Reason("got another protocol, expected protocol=2 or protocol=3")
    if found.get("max_connections", 1) < 1:
        raise _Reason("got max_connections below 1")
    if (wanted := words.get("ssl_cert_reqs", "required")) not in ("required", "optional", "none"):
        raise _Reason(f"got ssl_cert_reqs={wanted}, expected required, optional or none")
    return found


def _words(query: str, *, sentinel: bool, tls: bool) -> dict[str, str]:
    words = dict(parse_qsl(query, keep_blank_values=True))
    known = QUERY_WORDS | (SENTINEL_WORDS if sentinel else frozenset())
    if unknown := sorted(set(words) - known):
        raise _Reason(f"it has the unknown word {', '.join(unknown)} after '?', known are {', '.join(sorted(known))}")
    if query and not words:
        raise _Reason("the part after '?' has no words")
    if not tls and (found := sorted(set(words) & TLS_WORDS)):
        raise _Reason(f"it has {', '.join(found)}, which need TLS: rediss:// or rediss+sentinel://")
    for name in TLS_FILES:
        if name in words and not os.access(words[name], os.R_OK):
            raise _Reason(f"{name} names {words[name]!r}, a file that is not there or cannot be read")
    return words


def _read_sentinel(own: str, kind: str) -> RedisAddress:
    parts = urlsplit(own)
    user, at, hosts = parts.netloc.rpartition("@")
    found = re.fullmatch(r"/([A-Za-z0-9._-]+)(?:/(\d*))?", parts.path)
    if found is None:
        raise _Reason(
            f"got the path {parts.path!r}, expected the name of the service at the Sentinels and a database, as "
            "/mymaster/0"
        )
    service, database = found.groups()
    words = dict(parse_qsl(parts.query, keep_blank_values=True))
    plain_words = {name: text for name, text in words.items() if name not in SENTINEL_WORDS}
    plain = f"{kind}://{user}{at}sentinel/{database or 0}?{urlencode(plain_words, quote_via=quote)}"
    server = {name: word for name, word in _server_words(plain, words).items() if name not in ("host", "port")}
    tls = kind == "rediss"
    asked = words.get("sentinel_ssl", "yes" if tls else "no").lower()
    if asked not in YES + NO:
        raise _Reason(f"got sentinel_ssl={asked}, expected yes or no")
    if asked in YES and not tls:
        raise _Reason("sentinel_ssl=yes needs rediss+sentinel://, whose ssl_ words say how")
    sentinel: dict[str, Any] = {"ssl": True} if asked in YES else {}
    if asked in YES:
        sentinel |= {name: word for name, word in server.items() if name in TLS_WORDS}
    for name in ("username", "password"):
        if given := words.get(f"sentinel_{name}"):
            sentinel[name] = given
    if "username" in sentinel and "password" not in sentinel:
        raise _Reason("it has sentinel_username without sentinel_password")
    return RedisAddress(
        url=own, tls=tls, server=server, service=service, sentinels=tuple(map(_host_and_port, hosts.split(","))),
        sentinel=sentinel,
    )  # fmt: skip


def _host_and_port(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname or parts.path or parts.port == 0:
        raise _Reason(f"got the Sentinel {text!r}, expected HOST:PORT, several with commas and without spaces")
    return parts.hostname, parts.port or SENTINEL_PORT
