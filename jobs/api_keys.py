"""API keys: operators create, list, change and revoke them; the service verifies one with each request.

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

from pydantic import ConfigDict
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from jobs import redis_keys
from jobs.stored_model import StoredModel

KEY_PATTERN = re.compile(r"ud_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")
SECRET_BYTES = 32
LAST_USED_RESOLUTION_MS = 60_000
"""`last_used_ms` is written at most once in this time."""
MAX_WEIGHT = redis_keys.MAX_WEIGHT

REPLACE_IF_UNCHANGED = """
local hash, id, read, replacement = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
if redis.call('HGET', hash, id) ~= read then return 0 end
redis.call('HSET', hash, id, replacement)
return 1
"""
"""A key that was revoked between the read and the write must stay revoked, and no change may undo another."""


Scope = Literal["restore", "read", "admin"]
"""What a key may do: send images and cancel or delete its jobs; look at its jobs and results; or everything, and watch
and steer workers and lanes."""
SCOPES: tuple[Scope, ...] = get_args(Scope)
DEFAULT_SCOPES: tuple[Scope, ...] = ("restore", "read")
_RESTRICTED = "restricted"
"""The word in `scope` that no version knows, so that earlier ones refuse keys that they would let do too much."""


class ApiKey(StoredModel):
    """A key as Redis keeps it.  `sha256` is the digest of the whole key; times are milliseconds since 1970.

    `scopes` is empty in records of earlier versions, where `scope` is the only one: "restore" meant what "restore" and
    "read" mean together.  Words are any text, because a later version may know more: one that is unknown here allows
    nothing.  Unknown fields stay when the record is written again.

    Attributes:
        weight: 1 to MAX_WEIGHT; the key's share of a lane beside other keys (scripts/fair_share.lua).
        quotas: by name, the texts of jobs.quotas; a quota that is missing is that of the settings.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    id: str
    name: str
    sha256: str
    created_ms: int
    last_used_ms: int | None = None
    scope: str = "restore"
    scopes: tuple[str, ...] = ()
    expires_ms: int | None = None
    weight: int = 1
    quotas: dict[str, str] = {}  # noqa: RUF012 - pydantic copies it

    @property
    def rights(self) -> frozenset[str]:
        """The scopes that the key has, those included which follow from others."""
        words = self.scopes or (DEFAULT_SCOPES if self.scope == "restore" else (self.scope,))
        return frozenset(SCOPES if "admin" in words else words)

    @property
    def shown_scopes(self) -> tuple[str, ...]:
        """The scopes in a fixed order; "admin" stands for all."""
        known = ("admin",) if "admin" in self.rights else tuple(scope for scope in SCOPES if scope in self.rights)
        return (*known, *sorted(self.rights - set(SCOPES)))

    def expired(self, now_ms: int | None = None) -> bool:
        """Return whether the key has expired."""
        return self.expires_ms is not None and (_now_ms() if now_ms is None else now_ms) >= self.expires_ms

    def dump(self) -> str:
        """Return the record, without defaults: earlier versions, which may run beside this one, refuse new fields."""
        record = self.model_dump(exclude={"id"})
        unused = [name for name in _OPTIONAL if record[name] == type(self).model_fields[name].default]
        return json.dumps({name: value for name, value in record.items() if name not in unused})


_OPTIONAL = ("scope", "scopes", "expires_ms", "weight", "quotas")


async def create(
    redis: "Redis", name: str, *scopes: Scope, expires_ms: int | None = None, weight: int = 1,
    quotas: dict[str, str] | None = None,
) -> tuple[str, str]:  # fmt: skip
    """Create a key; without scopes, it may restore and read.

    Returns its id and the key itself, which is kept nowhere and cannot be shown again.
    """
    key_id = secrets.token_hex(6)
    secret = f"ud_{key_id}_{secrets.token_urlsafe(SECRET_BYTES)}"
    key = ApiKey(id=key_id, name=name, sha256=_digest(secret), created_ms=_now_ms())
    record = changed(key, scopes=scopes or DEFAULT_SCOPES, expires_ms=expires_ms, weight=weight, quotas=quotas or {})
    if await _client(redis).hsetnx(redis_keys.API_KEYS, key_id, record.dump()):
        return key_id, secret
    # The id is taken: 48 bits make that rare, but it would replace a key
    return await create(redis, name, *scopes, expires_ms=expires_ms, weight=weight, quotas=quotas)


def changed(key: ApiKey, **changes: Any) -> ApiKey:  # noqa: ANN401 - the fields of the record
    """Return a key with other fields, and with the `scope` from which earlier versions see no more than it allows."""
    key = key.model_copy(update=changes)
    rights = key.rights
    if key.expires_ms is not None or not (rights == set(DEFAULT_SCOPES) or "admin" in rights):
        return key.model_copy(update={"scope": _RESTRICTED, "scopes": key.shown_scopes})
    return key.model_copy(update={"scope": "admin" if "admin" in rights else "restore", "scopes": ()})


async def update(redis: "Redis", key_id: str, **changes: Any) -> ApiKey | None:  # noqa: ANN401 - as `changed`
    """Change the name, scopes, expires_ms, weight or quotas of a key.  Returns it, or None where there is none."""
    while (stored := await _client(redis).hget(redis_keys.API_KEYS, key_id)) is not None:
        key = changed(_read(key_id, stored), **changes)
        if await _replace(redis, key, stored):
            return key
    return None


async def verify(redis: "Redis", presented: str) -> ApiKey | None:
    """Returns the API key that matches this secret, or None.  The key may have expired.

    The digests are compared in constant time.  The duration of a call tells whether the id exists, which is not secret.
    """
    parts = KEY_PATTERN.fullmatch(presented)
    stored = await _client(redis).hget(redis_keys.API_KEYS, parts[1]) if parts else None
    if parts is None or stored is None:
        return None
    key = _read(parts[1], stored)
    return key if hmac.compare_digest(key.sha256, _digest(presented)) else None


async def list_keys(redis: "Redis") -> list[ApiKey]:
    """Returns all keys, oldest first, those that have expired too."""
    rows = await _client(redis).hgetall(redis_keys.API_KEYS)
    return sorted((_read(key_id.decode(), stored) for key_id, stored in rows.items()), key=lambda key: key.created_ms)


async def find(redis: "Redis", key_id: str) -> ApiKey | None:
    """Returns the key with this id, or None."""
    stored = await _client(redis).hget(redis_keys.API_KEYS, key_id)
    return None if stored is None else _read(key_id, stored)


async def revoke(redis: "Redis", key_id: str) -> bool:
    """Revoke a key at once.  Returns False where there is none."""
    return bool(await _client(redis).hdel(redis_keys.API_KEYS, key_id))


async def any_keys(redis: "Redis") -> bool:
    """Returns whether there is any key."""
    return bool(await _client(redis).exists(redis_keys.API_KEYS))


def is_use_noted(key: ApiKey, now_ms: int | None = None) -> bool:
    """Returns whether `last_used_ms` is recent enough."""
    now_ms = _now_ms() if now_ms is None else now_ms
    return key.last_used_ms is not None and now_ms - key.last_used_ms < LAST_USED_RESOLUTION_MS


async def note_use(redis: "Redis", key_id: str) -> None:
    """Write that a key is used now, unless that was written lately.  A request need not wait for it."""
    stored = await _client(redis).hget(redis_keys.API_KEYS, key_id)
    if stored is None:
        return
    key = _read(key_id, stored)
    if not is_use_noted(key):
        with contextlib.suppress(OutOfMemoryError):  # a key stays valid when Redis is full
            await _replace(redis, key.model_copy(update={"last_used_ms": _now_ms()}), stored)


async def _replace(redis: "Redis", key: ApiKey, stored: bytes) -> bool:
    return bool(await _client(redis).eval(REPLACE_IF_UNCHANGED, 1, redis_keys.API_KEYS, key.id, stored, key.dump()))


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
