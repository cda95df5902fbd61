"""The client of Redis: checks its URL, hides its password, and waits for a free connection instead of failing."""

import re
from urllib.parse import parse_qsl, urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff

from jobs.errors import RedisUrlError

SCHEMES = {"redis": "redis", "rediss": "rediss", "unix": "unix", "valkey": "redis", "valkeys": "rediss"}
"""Each accepted scheme, and the client's own word for it."""
QUERY_WORDS = frozenset(
    ("db", "username", "password", "protocol", "client_name", "max_connections", "health_check_interval",
     "socket_timeout", "socket_connect_timeout", "socket_keepalive", "ssl_cert_reqs", "ssl_ca_certs", "ssl_ca_path",
     "ssl_certfile", "ssl_keyfile", "ssl_password", "ssl_check_hostname")
)  # fmt: skip
SECRET_WORDS = ("password", "ssl_password")
EXPECTED = "redis://HOST:PORT/DB, rediss:// (TLS), valkey://, valkeys:// or unix:///SOCKET"
MAX_CONNECTIONS = 64
FREE_CONNECTION_S = 10.0
"""How long a command waits until one of the connections is free."""


class _Reason(ValueError):
    """A reason in our own words, which repeat no password."""


def checked_url(url: str) -> str:
    """Returns the URL in the client's own words: `valkey://` becomes `redis://`.

    Raises:
        RedisUrlError: another scheme, an unknown word, or a value out of range.  The message hides the password.
    """
    scheme, separator, _ = url.partition("://")
    if not separator:
        raise RedisUrlError(f"got a Redis URL without a scheme, {shown_url(url)!r}; expected {EXPECTED}")
    if scheme not in SCHEMES:
        raise RedisUrlError(f"got a Redis URL with the scheme {scheme!r}; expected {EXPECTED}")
    own = SCHEMES[scheme] + url[len(scheme) :]
    try:
        parts = urlsplit(own)
        _check_query(parts.query)
        if "@" in parts.path + parts.query:  # the error of a parser could show the password
            raise _Reason("special characters of the password must be written as %XX")
        if scheme != "unix" and not re.fullmatch(r"/?\d*", parts.path):
            raise _Reason(f"got the path {parts.path!r}, expected the number of a database, as /0")
        if scheme == "unix" and not parts.path.strip("/"):
            raise _Reason("got no path of a socket")
        _ = parts.port  # raises where it is no port
        BlockingConnectionPool.from_url(own)
    except (ValueError, TypeError) as error:
        # The client's own words may contain a part of the password
        reason = str(error) if isinstance(error, _Reason) or "@" not in url else "a part of it cannot be read"
        raise RedisUrlError(f"the Redis URL {shown_url(url)} is not valid: {reason}; expected {EXPECTED}") from None
    return own


def _check_query(query: str) -> None:
    words = [name for name, _ in parse_qsl(query, keep_blank_values=True)]
    if unknown := sorted(set(words) - QUERY_WORDS):
        raise _Reason(
            f"it has the unknown word {', '.join(unknown)} after '?', known are {', '.join(sorted(QUERY_WORDS))}"
        )
    if query and not words:
        raise _Reason("the part after '?' has no words")


def shown_url(url: str) -> str:
    """Returns the URL for messages and logs, with *** for its password."""
    shown = re.sub(r"(?P<head>^(?:[^/?#]*://)?[^/?#@:]*:)[^@]*@", r"\g<head>***@", url)
    return re.sub(rf"(?<=[?&])({'|'.join(SECRET_WORDS)})=[^&#]*", r"\1=***", shown)


def open_redis(url: str, *, answer_s: float = 5.0, retries: int = 2) -> "Redis":
    """Returns a client.  Call `aclose` at the end.

    Args:
        answer_s: how long to wait for an answer; callers must not wait long for a dead server.
        retries: of a command that failed because of the connection.

    Raises:
        RedisUrlError: the URL is not valid.
    """
    pool = BlockingConnectionPool.from_url(
        checked_url(url), timeout=FREE_CONNECTION_S, max_connections=MAX_CONNECTIONS, socket_timeout=answer_s,
        socket_connect_timeout=2.0, retry=Retry(ExponentialBackoff(cap=0.2, base=0.02), retries),
    )  # fmt: skip
    return Redis.from_pool(pool)
