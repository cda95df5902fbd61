"""The records of API keys on several servers: one shard, the home, has them, and the others have copies.

The lease script of each shard reads the weight of a key there, and a request is authenticated where the home is away.
Records are written at the home only, and copied; nothing merges two versions.  Which shard is the home is noted on the
shards themselves, with a number that grows with each new home: an empty server that is added never becomes it, and a
former home that comes back gets a copy.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import structlog
from redis.exceptions import RedisError

from jobs import redis_keys
from jobs.errors import ShardAway
from jobs.shards.shard import Shard
from jobs.shards.shards import Shards

T = TypeVar("T")
log = structlog.get_logger()
RECORDS = (redis_keys.API_KEYS, redis_keys.WEBHOOK_SECRETS, redis_keys.DISABLED_WEBHOOKS)
"""The hashes of which each shard has a copy."""
COPY_S = 2.0
"""A change is copied within this time, by whichever process looks first."""
HOME, COPY = "home", "copy"


class KeyRecords:
    """Looks to jobs.api_keys and jobs.webhook_secrets like a Redis: reads and writes the home.

    Where the home is away, it reads a copy, and every write raises ShardAway.  Before there is a home, all shards must
    have answered once, so that an empty one is not taken for a service without keys.
    """

    def __init__(self, shards: Shards) -> None:
        self.shards = shards

    async def home(self) -> Shard:
        """Returns the home, and chooses one where there has never been any.

        Raises:
            ShardAway: it does not answer, or is not known while others do not answer.
        """
        if not self._known:
            await self._choose()
        return max(self._known, key=_epoch).checked()

    @property
    def _known(self) -> list[Shard]:
        return [shard for shard in self.shards.all if shard.role.startswith(HOME)]

    async def _choose(self) -> None:
        """Make a shard the home: one with a copy, else one with keys, else the first."""
        unseen = [shard for shard in self.shards.all if not shard.seen]
        if unseen:
            raise ShardAway(f"nobody knows which shard has the API keys while {unseen[0]} has not answered")
        counts = {shard: int(await shard.checked().redis.hlen(redis_keys.API_KEYS)) for shard in self.shards.all}
        best = max(self.shards.all, key=lambda shard: (shard.role.startswith(COPY), counts[shard] > 0, -shard.number))
        epoch = max(map(_epoch, self.shards.all)) + 1
        await best.redis.set(redis_keys.SHARD_ROLE, f"{HOME} {epoch}")
        best.role = f"{HOME} {epoch}"
        if not self.shards.quiet:
            log.info("home.chosen", shard=best.number, epoch=epoch)

    async def _read(self, work: Callable[[Any], Awaitable[T]]) -> T:
        try:
            shard = await self.home()
            try:
                return await work(shard.redis)
            except (RedisError, OSError) as error:
                shard.failed(error)
                raise
        except (RedisError, OSError):
            for copy in self.shards.all:
                if copy.trouble is None and (copy.role.startswith(COPY) or await _has_keys(copy)):
                    return await work(copy.redis)
            raise

    async def hget(self, name: str, field: str) -> bytes | None:
        return await self._read(lambda redis: redis.hget(name, field))

    async def hgetall(self, name: str) -> dict[bytes, bytes]:
        return await self._read(lambda redis: redis.hgetall(name))

    async def hkeys(self, name: str) -> list[bytes]:
        return await self._read(lambda redis: redis.hkeys(name))

    async def hexists(self, name: str, field: str) -> bool:
        return await self._read(lambda redis: redis.hexists(name, field))

    async def exists(self, name: str) -> int:
        return await self._read(lambda redis: redis.exists(name))

    async def hset(self, name: str, field: str, value: str) -> int:
        return int(await (await self.home()).redis.hset(name, field, value))

    async def hsetnx(self, name: str, field: str, value: str) -> int:
        return int(await (await self.home()).redis.hsetnx(name, field, value))

    async def hdel(self, name: str, *fields: str) -> int:
        return int(await (await self.home()).redis.hdel(name, *fields))

    async def eval(self, script: str, count: int, *words: Any) -> Any:  # noqa: ANN401 - as Lua answers
        """Runs a script of jobs.api_keys or jobs.webhook_secrets, which replaces a record."""
        return await (await self.home()).redis.eval(script, count, *words)

    async def keep_copies(self) -> None:
        """Copy the records until canceled."""
        while True:
            await asyncio.sleep(COPY_S)
            try:
                await self.copy()
            except (RedisError, OSError) as error:
                log.warning("copies.failed", error=type(error).__name__, detail=str(error))

    async def copy(self) -> None:
        """Bring the copies of all shards that answer to what the home has.

        Raises:
            ShardAway: the home does not answer.
        """
        home = await self.home()
        records = {name: await home.redis.hgetall(name) for name in RECORDS}
        others = [shard for shard in self.shards.all if shard is not home and shard.trouble is None]
        role = f"{COPY} {_epoch(home)}"
        await asyncio.gather(*(_bring_to(shard, records, role) for shard in others))


async def _has_keys(shard: Shard) -> bool:
    """Whether it is the server of a service that had one: an empty one must not open the service to everybody."""
    return not shard.role and bool(await shard.redis.exists(redis_keys.API_KEYS))


async def _bring_to(shard: Shard, records: dict[str, dict[bytes, bytes]], role: str) -> None:
    try:
        for name, wanted in records.items():
            known = await shard.redis.hgetall(name)
            if known == wanted:
                continue
            gone = [field for field in known if field not in wanted]
            new = {field: value for field, value in wanted.items() if known.get(field) != value}
            async with shard.redis.pipeline(transaction=True) as pipeline:
                if gone:
                    pipeline.hdel(name, *gone)
                if new:
                    pipeline.hset(name, mapping=new)
                await pipeline.execute()
        if shard.role != role:
            await shard.redis.set(redis_keys.SHARD_ROLE, role)
            shard.role = role
    except (RedisError, OSError) as error:
        shard.failed(error)


def _epoch(shard: Shard) -> int:
    number = shard.role.partition(" ")[2]
    return int(number) if number.isdigit() else 0
