"""The blob store over several servers: a blob belongs to the shard of its job, whose Redis has it or counts its bytes.

An object store is one place for all; each shard counts and sweeps the blobs of its own jobs there.
"""

from typing import Literal

from jobs.blob_names import job_of
from jobs.blob_store import ServedStore, open_store
from jobs.claims import Claim
from jobs.shards.numbers import shard_of
from jobs.shards.shard import Shard
from jobs.shards.shards import Shards
from jobs.uploads import UploadRecord, UploadRegistry


class ShardedStore:
    """A ServedStore.  Methods raise ShardAway, a RedisError, where the shard of a blob does not answer."""

    def __init__(self, shards: Shards, url: str) -> None:
        self.shards, self._url = shards, url
        self._stores: dict[Shard, ServedStore] = {}
        self._first = self.part(shards.all[0])

    def part(self, shard: Shard) -> ServedStore:
        """Returns the store of the blobs of one shard."""
        if shard not in self._stores:
            self._stores[shard] = open_store(self._url, shard.redis, self.shards.replication)
        return self._stores[shard]

    def _of(self, name: str) -> ServedStore:
        job = job_of(name)
        return self.part(self.shards.up[0] if job is None else self.shards.of(job))

    @property
    def beside_queue(self) -> bool:
        return self._first.beside_queue

    @property
    def kind(self) -> str:
        return self._first.kind

    @property
    def signs(self) -> bool:
        return self._first.signs

    async def put(self, name: str, data: bytes, ttl_s: int, *, replicated: bool = True) -> None:
        await self._of(name).put(name, data, ttl_s, replicated=replicated)

    async def get(self, name: str) -> bytes:
        return await self._of(name).get(name)

    async def get_range(self, name: str, first: int, end: int) -> bytes:
        return await self._of(name).get_range(name, first, end)

    async def size(self, name: str) -> int:
        return await self._of(name).size(name)

    async def presigned(self, method: Literal["GET", "PUT"], name: str, valid_s: int) -> str:
        return await self._of(name).presigned(method, name, valid_s)

    async def delete(self, *names: str) -> None:
        by_store: dict[int, tuple[ServedStore, list[str]]] = {}
        for name in names:
            store = self._of(name)
            by_store.setdefault(id(store), (store, []))[1].append(name)
        for store, of_store in by_store.values():
            await store.delete(*of_store)

    async def names_of_job(self, job: str) -> list[str]:
        return await self.part(self.shards.of(job)).names_of_job(job)

    async def check_room(self, size: int) -> None:
        await self._first.check_room(size)

    async def disk_room(self) -> tuple[int, int] | None:
        return await self._first.disk_room()

    async def probe(self) -> None:
        """Probe the store of one shard that answers."""
        await self.part(self.shards.up[0]).probe()

    async def sweep(self, now_s: float) -> int:
        """Each shard has a sweep of its own: `part`."""
        return sum([await self.part(shard).sweep(now_s) for shard in self.shards.up])

    async def close(self) -> None:
        for store in self._stores.values():
            await store.close()


class ShardedUploads(UploadRegistry):
    """Open uploads, each on the shard that its id names."""

    def __init__(self, shards: Shards) -> None:
        self.shards = shards

    def _of(self, upload_id: str) -> UploadRegistry:
        shard = self.shards.numbered(shard_of(upload_id)).checked()
        return UploadRegistry(shard.redis, shard.queue.storage, self.shards.replication)

    async def open(self, upload_id: str, record: UploadRecord, size: int, claim: Claim | None) -> None:
        await self._of(upload_id).open(upload_id, record, size, claim)

    async def find(self, upload_id: str) -> UploadRecord | None:
        return await self._of(upload_id).find(upload_id)
