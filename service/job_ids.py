"""Job ids: UUIDv7 as 32 hex digits, so that an id tells when it was given (RFC 9562, 5.7)."""

import re
import secrets
import time
import uuid

OURS = re.compile(r"[0-9a-f]{12}7[0-9a-f]{19}")


def new_id(now_ms: int | None = None) -> str:
    """48 bits of milliseconds since 1970, then 74 random bits."""
    millisecond = time.time_ns() // 10**6 if now_ms is None else now_ms
    number = millisecond << 80 | secrets.randbits(80)
    number = number & ~(0xF << 76) | 7 << 76  # the version
    number = number & ~(0b11 << 62) | 0b10 << 62  # the variant
    return uuid.UUID(int=number).hex


def born_ms(job_id: str) -> int | None:
    """When this id was given; None if it cannot be one of ours."""
    return int(job_id[:12], 16) if OURS.fullmatch(job_id) else None
