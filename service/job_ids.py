"""Job ids: UUIDv7 as 32 hex digits, so that an id contains its creation time (RFC 9562, 5.7).

On a shard other than 0 they are UUIDv8, which contain its number as well (jobs/shards/numbers.py).
"""

import re
import secrets
import time
import uuid

from jobs.shards.numbers import numbered

JOB_ID = re.compile(r"[0-9a-f]{12}[78][0-9a-f]{19}")


def new_job_id(now_ms: int | None = None, shard: int = 0) -> str:
    """Return 48 bits of milliseconds since 1970, then 74 random bits; on a shard its number, then 62 random bits."""
    millisecond = time.time_ns() // 10**6 if now_ms is None else now_ms
    number = millisecond << 80 | secrets.randbits(80)
    number = number & ~(0xF << 76) | 7 << 76  # the version
    number = number & ~(0b11 << 62) | 0b10 << 62  # the variant
    return numbered(uuid.UUID(int=number).hex, shard)


def created_ms(job_id: str) -> int | None:
    """Return the creation time of an id, or None if the id does not have our format."""
    return int(job_id[:12], 16) if JOB_ID.fullmatch(job_id) else None
