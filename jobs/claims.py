"""Claims: what a client's `Idempotency-Key` stands for in Redis, so that a repeated request makes nothing twice.

A claim is taken by the script that makes the thing (`claims.lua`), in the same step.  So a process that dies before has
claimed nothing, one that dies after has claimed it, and of two processes with the same request one makes the thing.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from jobs import redis_keys
from jobs.errors import ClaimTaken


@dataclass(frozen=True)
class Claim:
    """The claim of one request.

    Attributes:
        name: its Redis key, which contains neither the client's key nor the id of its API key.
        digest: of the canonical request, in hex; another request with the same name is an error of the client.
    """

    name: str
    digest: str

    def arguments(self) -> dict[str, object]:
        """Returns what `claims.lua` takes."""
        return {"name": self.name, "digest": self.digest, "ttl_s": redis_keys.CLAIM_TTL_S}


def claim_of(owner: str | None, key: str, digest: str) -> Claim:
    """Returns the claim of a request: `key` is the client's, and belongs to the API key `owner` alone."""
    scope = hashlib.sha256(f"{owner or ''}\0{key}".encode()).hexdigest()
    return Claim(redis_keys.CLAIM + scope, digest)


async def holder(redis: "Redis", name: str) -> tuple[str, str] | None:
    """Returns the digest of the request that has taken a claim, and the id of what it has made; None: nobody has."""
    client: Any = redis
    known: bytes | None = await client.get(name)
    return _read(known.decode()) if known else None


def _read(known: str) -> tuple[str, str]:
    digest, _, made = known.partition(" ")
    return digest, made


def taken(digest: str, known: str) -> ClaimTaken:
    """Returns the error for a script's answer that the claim is taken: `known` is what it holds."""
    first, made = _read(known)
    return ClaimTaken(made if first == digest else None)
