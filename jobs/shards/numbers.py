"""The number of a shard inside an id: of a job, a batch or an upload.

Ids are UUIDs as 32 hex digits.  Those of shard 0 are of version 7, as in a service with one server.  Those of other
shards are of version 8, which RFC 9562 (5.8) leaves to applications: the 12 bits after the version are the number.  So
all ids have one length and one order, that of their creation.
"""

import hashlib
import re
from collections.abc import Iterable

MAX_NUMBER = 0xFFF
NUMBERED = re.compile(r"[0-9a-f]{12}8[0-9a-f]{3}[89ab][0-9a-f]{15}")
VERSION_7, VERSION_8 = "7", "8"


def shard_of(an_id: str) -> int:
    """Returns the number of the shard that an id names.  An id without a number lives on shard 0."""
    return int(an_id[13:16], 16) if NUMBERED.fullmatch(an_id) else 0


def numbered(uuid_7: str, shard: int) -> str:
    """Returns an id of this shard, made of a UUIDv7 as 32 hex digits; for shard 0 the same one.

    Raises:
        ValueError: no such number is possible.
    """
    if not 0 <= shard <= MAX_NUMBER:
        raise ValueError(f"got the shard {shard}, expected a number from 0 to {MAX_NUMBER}")
    return uuid_7 if shard == 0 else f"{uuid_7[:12]}{VERSION_8}{shard:03x}{uuid_7[16:]}"


def ranked(subject: str, numbers: Iterable[int]) -> list[int]:
    """Returns shards in an order that depends on the subject alone (rendezvous hashing).

    A new shard comes first for its share of the subjects, and changes nothing for the others.
    """
    return sorted(numbers, key=lambda number: hashlib.sha256(f"{number} {subject}".encode()).digest(), reverse=True)
