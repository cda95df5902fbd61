"""How Redis is set up, and what is wrong with that for a queue that must lose no job.

A managed Redis may refuse CONFIG and INFO: what cannot be read is None, and is listed as not readable.  Nothing here is
a secret: the URL has neither user nor password.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, ResponseError

from jobs import redis_keys
from jobs.record import TolerantModel

SETTINGS = ("appendonly", "appendfsync", "save", "maxmemory-policy", "maxmemory")
SECTIONS = ("server", "memory", "persistence", "replication", "cluster")
MIN_VERSION = 7


class RedisProblem(TolerantModel):
    """What is wrong and what to do.  An `error` loses jobs or stops the service, a `warning` may do so one day."""

    severity: Literal["error", "warning"]
    problem: str
    remedy: str


class RedisHealth(TolerantModel):
    """The settings and the state of a Redis server.  None: the server did not tell.

    Attributes:
        save: when it writes snapshots, as in its own configuration; "" means never.
        last_aof_write, last_snapshot: whether the last one worked, "ok" or "err".
        not_readable: names of the settings that the server did not tell.
    """

    url: str
    version: str | None = None
    role: str | None = None
    cluster: bool | None = None
    appendonly: bool | None = None
    appendfsync: str | None = None
    save: str | None = None
    maxmemory_policy: str | None = None
    maxmemory_bytes: int | None = None
    used_memory_bytes: int | None = None
    last_aof_write: str | None = None
    last_snapshot: str | None = None
    not_readable: tuple[str, ...] = ()
    problems: tuple[RedisProblem, ...] = ()


def public_url(url: str) -> str:
    """Returns a URL without user, password and query, which may hold secrets."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


async def read_health(redis: "Redis", url: str) -> RedisHealth:
    """Returns how the server at this URL is set up.

    Raises:
        redis.exceptions.RedisError: it does not answer.
    """
    client: Any = redis  # redis-py annotates for str and bytes clients at once
    await client.ping()
    settings = {name: await _setting(client, name) for name in SETTINGS}
    info: dict[str, Any] = {}
    for section in SECTIONS:
        info |= await _info(client, section)
    found = _health(public_url(url), settings, info)
    return found.model_copy(update={"problems": tuple(problems(found))})


async def _setting(client: Any, name: str) -> str | None:  # noqa: ANN401 - the client answers in bytes
    try:
        answer = await client.config_get(name)
    except (ResponseError, NoPermissionError):  # refused, or renamed away
        return None
    return next((_text(value) for key, value in answer.items() if _text(key) == name), None)


async def _info(client: Any, section: str) -> dict[str, Any]:  # noqa: ANN401
    try:
        answer = await client.info(section)
    except (ResponseError, NoPermissionError):
        return {}
    return dict(answer)


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _health(url: str, settings: Mapping[str, str | None], info: Mapping[str, Any]) -> RedisHealth:
    def told(name: str) -> str | None:
        return None if info.get(name) is None else _text(info[name])

    def number(text: str | None) -> int | None:
        return int(text) if text and text.isdigit() else None

    aof = settings["appendonly"] or {"1": "yes", "0": "no"}.get(told("aof_enabled") or "")
    known: dict[str, Any] = {
        "version": told("valkey_version") or told("redis_version"), "role": told("role"),
        "cluster": None if told("cluster_enabled") is None else told("cluster_enabled") == "1",
        "appendonly": None if aof is None else aof == "yes",
        "appendfsync": settings["appendfsync"], "save": settings["save"],
        "maxmemory_policy": settings["maxmemory-policy"] or told("maxmemory_policy"),
        "maxmemory_bytes": number(settings["maxmemory"] or told("maxmemory")),
        "used_memory_bytes": number(told("used_memory")),
        "last_aof_write": told("aof_last_write_status"), "last_snapshot": told("rdb_last_bgsave_status"),
    }  # fmt: skip
    return RedisHealth(url=url, not_readable=tuple(name for name, value in known.items() if value is None), **known)


def problems(health: RedisHealth) -> Iterator[RedisProblem]:
    """Yields what is wrong with a server, the worst first."""
    for severity in ("error", "warning"):
        for is_so, found, problem, remedy in _rules(health):
            if is_so and found == severity:
                yield RedisProblem(severity=found, problem=problem, remedy=remedy)


_Rule = tuple[bool, Literal["error", "warning"], str, str]


def _rules(health: RedisHealth) -> list[_Rule]:
    return [*_rules_of_the_server(health), *_rules_of_memory(health), *_rules_of_the_disk(health)]


def _rules_of_the_server(health: RedisHealth) -> list[_Rule]:
    major = int(found[0]) if (found := re.match(r"\d+", health.version or "")) else MIN_VERSION
    return [
        (
            major < MIN_VERSION, "error", f"Redis is of version {health.version}, expected {MIN_VERSION} or later",
            "use Redis 7 or Valkey: our scripts need it",
        ),
        (
            health.role == "slave", "error", "this server is a replica, which accepts no writes",
            "give the URL of the primary",
        ),
        (
            health.cluster is True, "error", "this server is part of a cluster",
            "use a server without cluster mode: the scripts use Redis keys of several slots",
        ),
    ]  # fmt: skip


def _rules_of_memory(health: RedisHealth) -> list[_Rule]:
    policy, limit, used = health.maxmemory_policy, health.maxmemory_bytes, health.used_memory_bytes
    percent = round(100 * used / limit) if limit and used is not None else 0
    stop = redis_keys.MEMORY_PERCENT_FOR_SUBMISSIONS
    return [
        (
            policy not in (None, "noeviction"), "error",
            f"maxmemory-policy is {policy}: when memory is short, Redis deletes jobs",
            "set it to noeviction: CONFIG SET maxmemory-policy noeviction, and in the configuration file",
        ),
        (
            percent >= stop, "error", f"{percent} % of maxmemory are in use, and new jobs stop at {stop} %",
            "raise maxmemory, keep images elsewhere (--store-url), or shorten UNDEGRADE_KEEP_S",
        ),
        (
            limit == 0, "warning", "maxmemory is not set: Redis may take all memory of its machine, and is then killed",
            "set maxmemory to what the machine can spare; new jobs then stop in time",
        ),
    ]  # fmt: skip


def _rules_of_the_disk(health: RedisHealth) -> list[_Rule]:
    off = health.appendonly is False
    lost = "all jobs" if health.save == "" else "the jobs since the last snapshot"
    return [
        (
            off, "error", f"appendonly is no: a restart of Redis loses {lost}",
            "set it to yes: CONFIG SET appendonly yes, and in the configuration file",
        ),
        (
            health.last_aof_write not in (None, "ok"), "error", "the last write of the append-only file failed",
            "look at the disk of Redis: it may be full; Redis refuses writes until it works again",
        ),
        (
            health.last_snapshot not in (None, "ok"), "error", "the last snapshot (RDB) failed",
            "look at the disk and the memory of Redis; it may refuse writes until a snapshot works",
        ),
        (
            not off and health.appendfsync == "no", "warning",
            "appendfsync is no: a power failure loses the jobs of about 30 s",
            "set it to everysec",
        ),
    ]  # fmt: skip
