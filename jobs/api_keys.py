"""API keys: operators create, list and revoke them; the service verifies one with each request.

A key has the form `ud_<id>_<secret>`.  Redis keeps only the id and a digest of the key, so read access to Redis gives
no usable key.  A lost key cannot be recovered: revoke it and create another.

Each function raises redis.exceptions.RedisError when Redis is away.
"""

import contextlib
import hashlib
import hmac
import json
import re
import secrets
import time
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from jobs import redis_keys

KEY_PATTERN = re.compile(r"ud_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")
SECRET_BYTES = 32
LAST_USED_RESOLUTION_MS = 60_000
"""`last_used_ms` is written at most once in this time, so that most requests need no write."""

REPLACE_IF_UNCHANGED = """
local hash, id, read, replacement = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
if redis.call('HGET', hash, id) == read then redis.call('HSET', hash, id, replacement) end
"""
"""A key that was revoked between the read and the write must stay revoked."""


Scope = Literal["restore", "admin"]
"""What a key may do: send images and see its own jobs, or also watch and steer workers and lanes."""
SCOPES: tuple[str, ...] = get_args(Scope)


class ApiKey(BaseModel):
    """A key as Redis keeps it.  `sha256` is the digest of the whole key; times are milliseconds since 1970.

    `scope` is any text, because a later version may know more scopes: one that is unknown here allows nothing.  A key
    without a scope, as earlier versions made them, may restore.  Unknown fields stay when the record is written again.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    id: str
    name: str
    sha256: str
    created_ms: int
    last_used_ms: int | None = None
    scope: str = "restore"

    def dump(self) -> str:
        # Without the default: earlier versions, which may run beside this one, refuse unknown fields
        return self.model_dump_json(exclude={"id"} | ({"scope"} if self.scope == "restore" else set()))


async def create(redis: "Redis", name: str, scope: Scope = "restore") -> tuple[str, str]:
    """Create a key.  Returns its id and the key itself, which is kept nowhere and cannot be shown again."""
    key_id = secrets.token_hex(6)
    secret = f"ud_{key_id}_{secrets.token_urlsafe(SECRET_BYTES)}"
    key = ApiKey(id=key_id, name=name, sha256=_digest(secret), created_ms=_now_ms(), scope=scope)
    if not await _client(redis).hsetnx(redis_keys.API_KEYS, key_id, key.dump()):
        return await create(redis, name, scope)  # the id is taken: 48 bits make that rare, but it would replace a key
    return key_id, secret


async def verify(redis: "Redis", presented: str) -> ApiKey | None:
    """Returns the API key that matches this secret, or None.

    The digests are compared in constant time.  The duration of a call tells whether the id exists, which is not secret.
    """
    parts = KEY_PATTERN.fullmatch(presented)
    stored = await _client(redis).hget(redis_keys.API_KEYS, parts[1]) if parts else None
    if parts is None or stored is None:
        return None
    key = _read(parts[1], stored)
    if not hmac.compare_digest(key.sha256, _digest(presented)):
        return None
    return await _with_last_use(redis, key, stored)


async def list_keys(redis: "Redis") -> list[ApiKey]:
    """Returns all keys, oldest first."""
    rows = await _client(redis).hgetall(redis_keys.API_KEYS)
    return sorted((_read(key_id.decode(), stored) for key_id, stored in rows.items()), key=lambda key: key.created_ms)


async def revoke(redis: "Redis", key_id: str) -> bool:
    """Revoke a key at once.  Returns False where there is none."""
    return bool(await _client(redis).hdel(redis_keys.API_KEYS, key_id))


async def any_keys(redis: "Redis") -> bool:
    """Returns whether there is any key."""
    return bool(await _client(redis).exists(redis_keys.API_KEYS))


async def _with_last_use(redis: "Redis", key: ApiKey, stored: bytes) -> ApiKey:
    now_ms = _now_ms()
    if key.last_used_ms is not None and now_ms - key.last_used_ms < LAST_USED_RESOLUTION_MS:
        return key
    used = key.model_copy(update={"last_used_ms": now_ms})
    with contextlib.suppress(OutOfMemoryError):  # a key stays valid when Redis is full
        await _client(redis).eval(REPLACE_IF_UNCHANGED, 1, redis_keys.API_KEYS, key.id, stored, used.dump())
    return used


def _client(redis: "Redis") -> Any:  # noqa: ANN401 - redis-py annotates for sync and async clients at once
    return redis


def _digest(secret: str) -> str:
    # Plain SHA-256: slow and salted hashes protect passwords that people choose.  This secret has 256 random bits: it
    # cannot be guessed or tabulated, and a slow hash would only delay each request.
    return hashlib.sha256(secret.encode()).hexdigest()


def _read(key_id: str, stored: bytes) -> ApiKey:
    return ApiKey(id=key_id, **json.loads(stored))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
