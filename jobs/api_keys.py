"""API keys: made, listed and revoked by the operator, verified at every request.

A key reads `ud_<id>_<secret>`.  Redis keeps the id and the secret's digest, so nobody who reads Redis can use a key,
and one that is lost is revoked and made anew.

Everything raises redis.exceptions.RedisError when Redis is away.
"""

import hashlib
import hmac
import json
import re
import secrets
import time
from typing import Any

from pydantic import BaseModel, ConfigDict
from redis.asyncio import Redis

from jobs import redis_keys

PRESENTED = re.compile(r"ud_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")
SECRET_BYTES = 32
USE_NOTED_MS = 60_000
"""A key in use is noted once in this time: `last_used_ms` is for people, and need not cost a write a request."""

REFRESH = """
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then redis.call('HSET', KEYS[1], ARGV[1], ARGV[3]) end
"""
"""Replaces what was read and nothing else: a key that has been revoked meanwhile must stay so."""


class ApiKey(BaseModel):
    """A key as Redis keeps it; `sha256` is the digest of the whole secret.  Times in milliseconds since 1970."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    name: str
    sha256: str
    created_ms: int
    last_used_ms: int | None = None

    def dump(self) -> str:
        return self.model_dump_json(exclude={"id"})


async def create(redis: "Redis", name: str) -> tuple[str, str]:
    """A new key: its id, and the secret, which is shown this once and kept nowhere."""
    key_id = secrets.token_hex(6)
    secret = f"ud_{key_id}_{secrets.token_urlsafe(SECRET_BYTES)}"
    key = ApiKey(id=key_id, name=name, sha256=_digest(secret), created_ms=_now_ms())
    if not await _client(redis).hsetnx(redis_keys.API_KEYS, key_id, key.dump()):
        return await create(redis, name)  # 48 bits of id: once in many million keys, but then it would replace one
    return key_id, secret


async def verify(redis: "Redis", presented: str) -> ApiKey | None:
    """The key that this is the secret of, or None; one look-up by the id in it, one comparison in constant time.

    How long it takes tells whether there is such an id, which is no secret, and nothing of the secret.
    """
    parts = PRESENTED.fullmatch(presented)
    stored = await _client(redis).hget(redis_keys.API_KEYS, parts[1]) if parts else None
    if parts is None or stored is None:
        return None
    key = _read(parts[1], stored)
    if not hmac.compare_digest(key.sha256, _digest(presented)):
        return None
    return await _noted(redis, key, stored)


async def list_keys(redis: "Redis") -> list[ApiKey]:
    """Every key, oldest first."""
    rows = await _client(redis).hgetall(redis_keys.API_KEYS)
    return sorted((_read(key_id.decode(), stored) for key_id, stored in rows.items()), key=lambda key: key.created_ms)


async def revoke(redis: "Redis", key_id: str) -> bool:
    """End a key at once; False where there is none."""
    return bool(await _client(redis).hdel(redis_keys.API_KEYS, key_id))


async def any_keys(redis: "Redis") -> bool:
    """Whether there are keys at all."""
    return bool(await _client(redis).exists(redis_keys.API_KEYS))


async def _noted(redis: "Redis", key: ApiKey, stored: bytes) -> ApiKey:
    now_ms = _now_ms()
    if key.last_used_ms is not None and now_ms - key.last_used_ms < USE_NOTED_MS:
        return key
    used = key.model_copy(update={"last_used_ms": now_ms})
    await _client(redis).eval(REFRESH, 1, redis_keys.API_KEYS, key.id, stored, used.dump())
    return used


def _client(redis: "Redis") -> Any:  # noqa: ANN401 - its annotations are of sync and async clients at once
    return redis


def _digest(secret: str) -> str:
    # Plain SHA-256 and no slow, salted hash: those make guessing dear where people choose the secret.  This one is 256
    # random bits; nobody guesses it, no table holds it, and a slow hash would only slow down every request.
    return hashlib.sha256(secret.encode()).hexdigest()


def _read(key_id: str, stored: bytes) -> ApiKey:
    return ApiKey(id=key_id, **json.loads(stored))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
