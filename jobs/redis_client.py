"""Opens Redis from its URL, for every process: a server, or the primary that Sentinels name.

Commands wait for a free connection instead of failing.  No connection waits for ever: a server that hangs, or a host
that is gone, is an error after seconds, and the next connection asks the Sentinels again.
"""

import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from redis import BlockingConnectionPool as ThreadPool
from redis import Connection as ThreadConnection
from redis import Redis as BlockingRedis
from redis import SSLConnection as ThreadSSLConnection
from redis import UnixDomainSocketConnection as ThreadSocketConnection
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelManagedConnection, SentinelManagedSSLConnection
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.exceptions import ConnectionError as RedisAway
from redis.exceptions import ReadOnlyError, ResponseError
from redis.retry import Retry as ThreadRetry
from redis.sentinel import Sentinel as ThreadSentinel

from jobs.redis_url import RedisAddress, read_url
from jobs.sentinel_pool import SENTINEL_S, SentinelPool

if TYPE_CHECKING:
    _Base = Connection
else:
    _Base = object

MAX_CONNECTIONS = 64
FREE_CONNECTION_S = 10.0
"""How long a command waits until one of the connections is free."""
CONNECT_S = 5.0
KEEPALIVE = {
    number: seconds
    for name, seconds in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
    if (number := getattr(socket, name, None)) is not None
} | ({socket.TCP_USER_TIMEOUT: 15_000} if hasattr(socket, "TCP_USER_TIMEOUT") else {})
"""A host that is gone ends its connections after 15 to 25 s, also those on which nothing is sent."""


class _OurConnection(_Base):
    """Leaves a server that has become a replica, and lives with one that refuses CLIENT SETNAME."""

    async def read_response(self, *words: Any, **named: Any) -> Any:  # noqa: ANN401 - as the client answers
        try:
            return await super().read_response(*words, **named)
        except ReadOnlyError:  # behind a name that follows a failover: a new connection finds the new primary
            await self.disconnect(nowait=True)
            raise RedisAway("this server is a replica, which accepts no writes") from None

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        name, self.client_name = self.client_name, None
        try:
            await super().on_connect_check_health(check_health)
        finally:
            self.client_name = name
        if name:  # only for people who look at CLIENT LIST
            await self.send_command("CLIENT", "SETNAME", name, check_health=False)
            with suppress(ResponseError):
                await self.read_response()


class _Plain(_OurConnection, Connection):
    pass


class _Tls(_OurConnection, SSLConnection):
    pass


class _Local(_OurConnection, UnixDomainSocketConnection):
    pass


class _Managed(_OurConnection, SentinelManagedConnection):
    pass


class _ManagedTls(_OurConnection, SentinelManagedSSLConnection):
    pass


def open_redis(url: str, *, answer_s: float = 5.0, retries: int = 2) -> "Redis":
    """Returns a client.  Call `aclose` at the end.

    Args:
        answer_s: how long to wait for an answer; callers must not wait long for a dead server.
        retries: of a command whose connection was lost.  One that was not answered in time is not repeated: the server
            hangs, and the caller has waited enough.

    Raises:
        RedisUrlError: the URL is not valid.
    """
    address = read_url(url)
    retry = Retry(ExponentialBackoff(cap=0.2, base=0.02), retries, supported_errors=(RedisAway,))
    words: dict[str, Any] = {
        "timeout": FREE_CONNECTION_S, "max_connections": MAX_CONNECTIONS, "socket_timeout": answer_s, "retry": retry,
        **_words(address),
    }  # fmt: skip
    if address.service is None:
        kind = _Local if "path" in address.server else _Tls if address.tls else _Plain
        return Redis.from_pool(BlockingConnectionPool(connection_class=kind, **words))
    asked = {**_sentinel_words(address), "retry": Retry(NoBackoff(), 0)}
    sentinel = Sentinel(address.sentinels, sentinel_kwargs=asked)  # type: ignore[no-untyped-call]
    managed = _ManagedTls if address.tls else _Managed
    pool = SentinelPool(address.service, sentinel, connection_class=managed, **words)  # type: ignore[no-untyped-call]
    return Redis.from_pool(pool)


def open_blocking_redis(url: str, *, answer_s: float) -> BlockingRedis:
    """Returns a client for threads, which repeats nothing.

    Raises:
        RedisUrlError: the URL is not valid.
    """
    address = read_url(url)
    words: dict[str, Any] = {
        "timeout": answer_s, "max_connections": MAX_CONNECTIONS, "socket_timeout": answer_s,
        "retry": ThreadRetry(NoBackoff(), 0), **_words(address),
    }  # fmt: skip
    words.pop("client_name", None)  # RQ names the connection itself
    if address.service is None:
        kind: type[Any] = (
            ThreadSocketConnection if "path" in address.server else ThreadSSLConnection if address.tls else
            ThreadConnection
        )  # fmt: skip
        return BlockingRedis.from_pool(ThreadPool(connection_class=kind, **words))  # type: ignore[no-untyped-call]
    asked = {**_sentinel_words(address), "retry": ThreadRetry(NoBackoff(), 0)}
    sentinel = ThreadSentinel(address.sentinels, sentinel_kwargs=asked)  # type: ignore[no-untyped-call]
    del words["timeout"]
    return sentinel.master_for(address.service, ssl=address.tls, **words)  # type: ignore[no-untyped-call, no-any-return]


def _words(address: RedisAddress) -> dict[str, Any]:
    """Returns what every connection to the server takes; the URL has the last word."""
    if "path" in address.server:
        return {"socket_connect_timeout": CONNECT_S, **address.server}
    found = {
        "socket_connect_timeout": CONNECT_S, "socket_keepalive": True, "socket_keepalive_options": KEEPALIVE,
        **address.server,
    }  # fmt: skip
    if not found["socket_keepalive"]:
        del found["socket_keepalive_options"]
    return found


def _sentinel_words(address: RedisAddress) -> dict[str, Any]:
    return {"socket_timeout": SENTINEL_S, "socket_connect_timeout": SENTINEL_S, **address.sentinel}
