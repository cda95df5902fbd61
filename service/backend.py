"""What an API process keeps its jobs in: one Redis server with a blob store, or several (jobs/shards)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from jobs.blob_store import ServedStore, open_store
from jobs.end_tasks import end_tasks, run_together
from jobs.queue import Queue
from jobs.redis_client import open_redis
from jobs.shards.queue import open_sharded
from jobs.shards.shard import Shard
from jobs.shards.shards import Shards
from jobs.shards.store import ShardedStore, ShardedUploads
from jobs.shards.urls import is_sharded
from jobs.storage_limits import StorageLimits
from jobs.uploads import UploadRegistry
from service.eraser import Eraser
from service.housekeeping import Housekeeping
from service.settings import ServiceSettings


@dataclass(frozen=True, kw_only=True)
class Backend:
    """The queue, the store and the open uploads.

    Attributes:
        keys: the Redis of API keys.
        shards: None for one plain server.
    """

    queue: Queue
    store: ServedStore
    uploads: UploadRegistry
    keys: Any
    shards: Shards | None = None

    async def keep_house(self, eraser: Eraser) -> None:
        """End late jobs and delete what is over, on every server, until canceled."""
        shards, store = self.shards, self.store
        if shards is None:
            await Housekeeping(self.queue, store, eraser).run()
            return
        assert isinstance(store, ShardedStore), "it is made with the shards"

        async def keep(shard: Shard) -> None:
            await Housekeeping(shard.queue, store.part(shard), eraser).run()

        await shards.for_each(keep)


@asynccontextmanager
async def open_backend(settings: ServiceSettings) -> AsyncIterator[Backend]:
    """Open the servers of the settings, which need not answer yet."""
    if is_sharded(settings.redis_url):
        async with _open_shards(settings) as backend:
            yield backend
        return
    redis = open_redis(settings.redis_url)
    store = open_store(settings.store_url, redis, settings.replication)
    storage = _limits(settings, store)
    queue = Queue(redis, storage, settings.replication)
    uploads = UploadRegistry(redis, storage, settings.replication)
    try:
        yield Backend(queue=queue, store=store, uploads=uploads, keys=redis)
    finally:
        await store.close()
        await redis.aclose()


@asynccontextmanager
async def _open_shards(settings: ServiceSettings) -> AsyncIterator[Backend]:
    shards = Shards(settings.redis_url, bundle=settings.bundle, replication=settings.replication)
    store = ShardedStore(shards, settings.store_url)
    shards.limit(_limits(settings, store))
    queue = await open_sharded(shards)
    watching = asyncio.create_task(run_together(shards.watch(), queue.records.keep_copies()))
    try:
        yield Backend(queue=queue, store=store, uploads=ShardedUploads(shards), keys=queue.keys, shards=shards)
    finally:
        await end_tasks(watching)
        await store.close()
        await shards.close()


def _limits(settings: ServiceSettings, store: ServedStore) -> StorageLimits:
    return StorageLimits(
        max_bytes=settings.max_stored_bytes, max_owner_bytes=settings.max_stored_bytes_per_key,
        in_redis=store.beside_queue,
    )  # fmt: skip
