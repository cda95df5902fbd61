"""The worker's connection to Redis, and the check at the start that Redis accepts it.

A worker waits for a Redis that is away.  A wrong password does not become right by waiting, so it ends the worker.
"""

import asyncio
import ssl

import structlog
from redis import Redis as BlockingRedis
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, RedisError, ResponseError

from jobs.errors import RedisUrlError
from jobs.redis_client import open_blocking_redis, open_redis
from worker.errors import RedisRefused

log = structlog.get_logger()
SOCKET_TIMEOUT_S = 10
CHECK_S = 5.0
BLOCKING_TIMEOUT_S = 3
"""Threads are waited for when the process ends."""


def connect(url: str) -> Redis:
    """Returns a client.  It does not repeat commands by itself.

    A client that sends a lease again whose reply was lost would leave nobody who knows of the jobs of the first.
    `RedisRetry` and the jobs repeat what may be repeated.

    Raises:
        RedisRefused: the URL is not one of Redis.
    """
    try:
        return open_redis(url, answer_s=SOCKET_TIMEOUT_S, retries=0)
    except RedisUrlError as error:
        raise RedisRefused(f"{error}. Write special characters of the password as %XX.") from None


def connect_blocking(url: str) -> BlockingRedis:
    """Returns a client for threads, which gives up soon."""
    return open_blocking_redis(url, answer_s=BLOCKING_TIMEOUT_S)


_REFUSALS = (AuthenticationError, ResponseError, ssl.SSLCertVerificationError)


async def check_access(client: Redis) -> None:
    """Check that Redis accepts this worker.  A Redis that does not answer is not an error here.

    Raises:
        RedisRefused: Redis answers with a refusal.
    """
    try:
        async with asyncio.timeout(CHECK_S):
            await client.ping()
    except (RedisError, OSError) as error:
        refusal = _refusal(error)
        if refusal is None:
            log.warning("redis.away", during="start", error=str(error))
            return
        if isinstance(refusal, ssl.SSLCertVerificationError):
            raise RedisRefused(
                f"the certificate of Redis is not valid: {refusal.verify_message}. Give the file of its authority in "
                "the Redis URL, as ?ssl_ca_certs=/etc/redis/ca.pem."
            ) from None
        words = "it asks for a password" if "HELLO" in str(refusal) else str(refusal).rstrip(".")
        raise RedisRefused(
            f"Redis refuses this worker: {words}. Check user, password and database in the Redis URL."
        ) from None


def _refusal(error: BaseException | None) -> BaseException | None:
    """Returns the refusal in a chain of errors: the client reports one at its connection as a lost connection."""
    while error is not None and not isinstance(error, _REFUSALS):
        error = error.__cause__ or error.__context__
    return error
