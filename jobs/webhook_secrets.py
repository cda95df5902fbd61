"""The secrets that sign webhooks, one for each API key, and the webhook URLs that a receiver has disabled.

Redis keeps a secret as it is, unlike an API key: signing needs it.  Who can read Redis can forge webhooks, and can read
the images of all jobs as well (docs/decisions/0035).

Each function raises redis.exceptions.RedisError when Redis is away.
"""

import base64
import hashlib
import secrets
import time
from typing import Any

from pydantic import ConfigDict
from redis.asyncio import Redis

from jobs import redis_keys
from jobs.hooks import NO_OWNER
from jobs.stored_model import StoredModel

SECRET_BYTES = 32
OVERLAP_S = 24 * 3600
"""After a rotation, webhooks carry the signatures of the old and the new secret for so long."""
DISABLED_S = 30 * 24 * 3600
"""A URL that answered 410 gets no webhooks for so long."""

REPLACE_IF_UNCHANGED = """
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
"""


class Secrets(StoredModel):
    """The secret of an API key, and the one before it, which signs as well until `old_until_ms`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    current: str
    old: str | None = None
    old_until_ms: int = 0

    def valid(self, now_ms: int) -> tuple[str, ...]:
        """Returns the secrets that sign now, the current one first."""
        return (self.current, self.old) if self.old and now_ms < self.old_until_ms else (self.current,)


class DisabledUrl(StoredModel):
    """A URL whose receiver answered 410.  Only its origin is kept: its path may be a credential."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    origin: str
    since_ms: int


async def secrets_of(redis: "Redis", owner: str) -> Secrets:
    """Returns the secrets of an API key, and makes the first one where there is none."""
    client = _client(redis)
    stored = await client.hget(redis_keys.WEBHOOK_SECRETS, owner)
    if stored is None:
        await client.hsetnx(redis_keys.WEBHOOK_SECRETS, owner, Secrets(current=_new_secret()).model_dump_json())
        stored = await client.hget(redis_keys.WEBHOOK_SECRETS, owner)
    return Secrets.model_validate_json(stored)


async def rotate(redis: "Redis", owner: str, now_ms: int) -> Secrets:
    """Make a new secret; the present one signs as well for OVERLAP_S.  One that is older signs no more."""
    while True:
        stored = await _client(redis).hget(redis_keys.WEBHOOK_SECRETS, owner)
        before = Secrets.model_validate_json(stored).current if stored else None
        after = Secrets(current=_new_secret(), old=before, old_until_ms=now_ms + OVERLAP_S * 1000 if before else 0)
        replaced = await _client(redis).eval(
            REPLACE_IF_UNCHANGED, 1, redis_keys.WEBHOOK_SECRETS, owner, stored or b"", after.model_dump_json()
        )
        if replaced:
            return after


async def owner_exists(redis: "Redis", owner: str) -> bool:
    """Returns whether there is such an API key; NO_OWNER, for a service without keys, always exists."""
    return owner == NO_OWNER or bool(await _client(redis).hexists(redis_keys.API_KEYS, owner))


async def forget_revoked(redis: "Redis") -> int:
    """Remove the secrets of API keys that were revoked.  Returns how many."""
    owners = [owner.decode() for owner in await _client(redis).hkeys(redis_keys.WEBHOOK_SECRETS)]
    gone = [owner for owner in owners if not await owner_exists(redis, owner)]
    return int(await _client(redis).hdel(redis_keys.WEBHOOK_SECRETS, *gone)) if gone else 0


async def is_disabled(redis: "Redis", owner: str, url: str) -> bool:
    """Returns whether this URL's receiver has answered 410 to a webhook of this key."""
    return await _read_disabled(redis, disabled_field(owner, url)) is not None


async def disabled_urls(redis: "Redis", owner: str) -> list[DisabledUrl]:
    """Returns the disabled URLs of an API key, oldest first."""
    fields = [field.decode() for field in await _client(redis).hkeys(redis_keys.DISABLED_WEBHOOKS)]
    found = [await _read_disabled(redis, field) for field in fields if field.startswith(f"{owner} ")]
    return sorted((url for url in found if url), key=lambda url: url.since_ms)


async def enable(redis: "Redis", owner: str, url: str) -> bool:
    """Send webhooks to a URL again.  Returns False where it was not disabled."""
    return bool(await _client(redis).hdel(redis_keys.DISABLED_WEBHOOKS, disabled_field(owner, url)))


def disabled_field(owner: str, url: str) -> str:
    """Returns the field of a URL in the hash of disabled ones."""
    return f"{owner} {hashlib.sha256(url.encode()).hexdigest()}"


async def _read_disabled(redis: "Redis", field: str) -> DisabledUrl | None:
    stored = await _client(redis).hget(redis_keys.DISABLED_WEBHOOKS, field)
    if stored is None:
        return None
    disabled = DisabledUrl.model_validate_json(stored)
    if time.time() * 1000 > disabled.since_ms + DISABLED_S * 1000:
        await _client(redis).hdel(redis_keys.DISABLED_WEBHOOKS, field)
        return None
    return disabled


def _new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def _client(redis: "Redis") -> Any:  # noqa: ANN401 - redis-py annotates for sync and async clients at once
    return redis
