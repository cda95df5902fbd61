"""How many bytes the store may hold, and the error when there is no room."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jobs import redis_keys
from jobs.errors import StoreFull


@dataclass(frozen=True, kw_only=True)
class StorageLimits:
    """How many bytes the store may hold of all jobs, and of the jobs of one API key.

    Attributes:
        in_redis: the store is Redis itself, so a new input also needs room in Redis' memory.
        elsewhere: bytes on other shards, which count as well.
        owner_elsewhere: the same of the API key.
    """

    max_bytes: int
    max_owner_bytes: int
    in_redis: bool
    elsewhere: int = 0
    owner_elsewhere: int = 0

    def room(self, size: int) -> dict[str, object]:
        """Returns `room` of scripts/admission.lua for an input of `size` bytes."""
        return {
            "bytes": size, "max_bytes": self.max_bytes, "max_owner_bytes": self.max_owner_bytes,
            "in_redis": self.in_redis, **({"elsewhere": self.elsewhere} if self.elsewhere else {}),
            **({"owner_elsewhere": self.owner_elsewhere} if self.owner_elsewhere else {}),
        }  # fmt: skip


def store_full(refused: Sequence[Any]) -> StoreFull:
    """Returns the error for an answer of scripts/admission.lua."""
    what, used, limit = refused[0].decode(), int(refused[1]), int(refused[2])
    return StoreFull(
        {
            "store": f"{used // 10**6} MB of images are stored, the limit is {limit // 10**6} MB",
            "owner": f"this API key has {used // 10**6} MB of images stored, its limit is {limit // 10**6} MB",
            "memory": f"the memory of Redis is full: {used >> 20} of {limit >> 20} MiB are in use, "
            f"and new jobs stop at {redis_keys.MEMORY_PERCENT_FOR_SUBMISSIONS} %",
        }[what]
    )
