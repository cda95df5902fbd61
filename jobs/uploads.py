"""Uploads that clients write straight into the store: who opened each, and the room that is kept for it.

An upload counts as stored from its opening on, with the bytes of its image or of the largest one.  The sweep of the
store ends it, as any other blob.
"""

from typing import Any

from pydantic import ValidationError
from redis.asyncio import Redis

from jobs import redis_keys
from jobs.claims import Claim, taken
from jobs.lua_scripts import LuaScripts
from jobs.record import TolerantModel
from jobs.replication import NO_REPLICATION, Replication
from jobs.storage_limits import StorageLimits, store_full

UPLOAD_TTL_S = 3600
"""How long an upload can be used."""


class UploadRecord(TolerantModel):
    """An open upload: the id of its API key, the name of the client's file, and when it was opened (since 1970)."""

    owner: str | None = None
    file_name: str | None = None
    opened_s: float


class UploadRegistry:
    """The open uploads, in Redis."""

    def __init__(
        self, redis: "Redis", storage: StorageLimits | None, replication: Replication = NO_REPLICATION
    ) -> None:  # fmt: skip
        self.redis: Any = redis  # redis-py annotates for str and bytes clients at once; ours answers in bytes
        self.storage = storage
        self._scripts = LuaScripts(redis, replication)

    async def open(self, upload_id: str, record: UploadRecord, size: int, claim: Claim | None) -> None:
        """Keep the room of an upload and note whose it is.

        Raises:
            StoreFull: there is no room, and nothing has been kept.
            ClaimTaken: the same or another request has taken the claim.
            NotReplicated: the upload is open, but a failover could lose that, and its image would stay for ever.
        """
        answer = await self._scripts.run_replicated(
            "open_upload", id=upload_id, name=upload_blob(upload_id), record=record.model_dump_json(), size=size,
            ttl_s=UPLOAD_TTL_S, expires_s=record.opened_s + UPLOAD_TTL_S, owner=record.owner,
            room=self.storage.room(size) if self.storage else None, claim=claim.arguments() if claim else None,
        )  # fmt: skip
        if claim and answer and answer[0] == b"claimed":
            raise taken(claim.digest, answer[1].decode())
        if answer:
            raise store_full(answer)

    async def find(self, upload_id: str) -> UploadRecord | None:
        """Returns an open upload, None where there is none of this id."""
        text = await self.redis.get(redis_keys.UPLOAD + upload_id)
        try:
            return UploadRecord.model_validate_json(text) if text else None
        except ValidationError:
            return None


def upload_blob(upload_id: str) -> str:
    """Returns the name of an upload's blob.  Its id has the form of a job's, so the store counts its bytes."""
    return f"{upload_id}/upload"
