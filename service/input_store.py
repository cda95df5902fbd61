"""Stores the input of a job before the job is queued, where the script that queues it cannot take the input along."""

from contextlib import suppress

from redis.exceptions import RedisError

from jobs.blob_store import Blob, BlobStore
from jobs.object_store import check_disk
from jobs.queue import Queue
from jobs.spec import JobSpec
from jobs.tracing.spans import child_span
from service.settings import ServiceSettings


class InputStore:
    """Every method raises redis.exceptions.RedisError when Redis is away, jobs.errors.StoreError for the store."""

    def __init__(self, settings: ServiceSettings, queue: Queue, store: BlobStore) -> None:
        self.settings, self.queue, self.store = settings, queue, store

    async def check_room(self, size: int) -> None:
        """Raise jobs.errors.StoreFull where the disks have no room for an input of `size` bytes."""
        await self.store.check_room(size)
        if self.settings.embedded_redis_folder is not None:
            # The server compacts its file by writing all that it holds once more, beside it
            live = await self.queue.stored_bytes() if self.store.beside_queue else 0
            await check_disk(self.settings.embedded_redis_folder, size, kept=live)

    async def store_before(self, spec: JobSpec, blob: Blob) -> None:
        """Store the input of a job that is to be queued.

        Raises:
            jobs.errors.StoreFull: nothing has been stored.
        """
        with child_span("store"):
            await self.queue.reserve(spec)
            try:
                await self.store.put(blob.name, blob.data, blob.ttl_s)
            except Exception:
                with suppress(RedisError):  # otherwise the room comes back when the reservation ends
                    await self.queue.unreserve(spec.id)
                raise

    async def take_back(self, spec: JobSpec, blob: Blob) -> None:
        """Delete the input of a job that was not queued."""
        await self.store.delete(blob.name)
        await self.queue.unreserve(spec.id)
