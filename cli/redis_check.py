"""The check of `doctor` on Redis: is it there, and does its configuration lose no job?"""

import asyncio
import os

from redis.exceptions import RedisError

from cli.embedded_redis import running_server
from cli.redis_access import serve_folder
from cli.server_urls import checked_redis_url
from cli.settings import settings
from jobs.redis_client import open_redis
from jobs.redis_health import RedisHealth, public_url, read_health
from jobs.shards.urls import is_sharded, read_shards


class RedisUnhealthy(Exception):
    """What is wrong, and what to do about it."""


def check_redis(url: str | None) -> tuple[str, bool]:
    """Returns the details of the Redis that the service would use, and whether they contain a warning.

    Raises:
        RedisUnhealthy: it does not answer, or jobs may be lost.
        ControlsError: the URL is not valid.
    """
    own = settings().redis_url if os.environ.get("UNDEGRADE_REDIS_URL") else running_server(serve_folder())
    wanted = url or own
    if wanted is None:
        return "not checked: UNDEGRADE_REDIS_URL is not set, and `undegrade serve` does not run", False
    checked = checked_redis_url(wanted)
    if not is_sharded(checked):
        return _judged(asyncio.run(_read(checked)))
    found = []
    for number, one in read_shards(checked).items():
        try:
            details, warned = _judged(asyncio.run(_read(one)))
        except RedisUnhealthy as error:
            raise RedisUnhealthy(f"shard {number}: {error}") from error
        found.append((f"shard {number}: {details}", warned))
    return "\n".join(details for details, _ in found), any(warned for _, warned in found)


def _judged(health: RedisHealth) -> tuple[str, bool]:
    errors = [f"{entry.problem}: {entry.remedy}" for entry in health.problems if entry.severity == "error"]
    warnings = [f"{entry.problem}: {entry.remedy}" for entry in health.problems if entry.severity == "warning"]
    if errors:
        raise RedisUnhealthy(". ".join([*errors, *warnings, described(health)]) + ".")
    return ". ".join([*warnings, described(health)]), bool(warnings)


async def _read(url: str) -> RedisHealth:
    try:
        async with open_redis(url) as client:
            return await read_health(client, url)
    except (RedisError, OSError) as error:
        cause = str(error).rstrip(".") or type(error).__name__
        raise RedisUnhealthy(
            f"cannot reach Redis at {public_url(url)}: {cause}. Start it, or give --redis-url."
        ) from None


def described(health: RedisHealth) -> str:
    """Returns one line about a server."""
    values = {
        "appendonly": None if health.appendonly is None else "yes" if health.appendonly else "no",
        "appendfsync": health.appendfsync,
        "save": None if health.save is None else health.save or "never",
        "maxmemory-policy": health.maxmemory_policy,
        "last AOF write": health.last_aof_write,
        "last snapshot": health.last_snapshot,
        "memory": _memory(health),
    }
    shown = ", ".join(f"{name} {value if value is not None else 'not readable'}" for name, value in values.items())
    return f"{health.url}, version {health.version or 'not readable'}, {shown}"


def _memory(health: RedisHealth) -> str | None:
    used, limit = health.used_memory_bytes, health.maxmemory_bytes
    if used is None:
        return None
    return f"{used >> 20} MiB of {f'{limit >> 20} MiB' if limit else 'no limit'}"
