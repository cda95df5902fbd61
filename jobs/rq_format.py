"""Jobs as RQ stores them: JSON, one listed function, no callbacks, of bounded size.

RQ's JSON serializer still imports any dotted name that it reads, so a foreign job could name `os.system`.  Our workers
never import the name in a job: they compare it with the list here, and refuse every other name.
"""

import json
import time
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn

from redis import Redis
from rq.job import Job
from rq.serializers import JSONSerializer

from jobs.errors import RefusedJob

FUNCTION = "undegrade.run"
"""The name that dashboards show.  Nothing is imported from it."""
FUNCTIONS = frozenset({FUNCTION})
MAX_PACKED_BYTES = 64 * 1024
MAX_BYTES = 256 * 1024
CALLBACKS = (b"success_callback_name", b"failure_callback_name", b"stopped_callback_name", b"webhooks")


def iso_now() -> str:
    """Returns the time as RQ writes it."""
    return datetime.fromtimestamp(time.time(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def pack(job_id: str) -> bytes:
    """Returns the `data` field of one of our jobs."""
    return zlib.compress(json.dumps([FUNCTION, None, [job_id], {}]).encode(), 1)


def check(job_id: str, fields: Mapping[bytes, bytes]) -> None:
    """Check that an RQ job is one of ours.

    Raises:
        RefusedJob: it is not.
    """
    if any(fields.get(name) for name in CALLBACKS):
        raise RefusedJob("callback", f"job {job_id} names a callback")
    function, instance, arguments, keywords = _unpacked(job_id, fields.get(b"data", b""))
    if (
        not isinstance(function, str)
        or function not in FUNCTIONS
        or instance is not None
        or arguments != [job_id]
        or keywords != {}
    ):
        raise RefusedJob("function-not-listed", f"job {job_id} asks for {str(function)[:80]!r}")


def _unpacked(job_id: str, data: bytes) -> tuple[Any, Any, Any, Any]:
    if len(data) > MAX_PACKED_BYTES:
        raise RefusedJob("oversized", f"got {len(data)} bytes for job {job_id}, expected at most {MAX_PACKED_BYTES}")
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(data, MAX_BYTES)
        if unpacker.unconsumed_tail:
            raise RefusedJob("oversized", f"job {job_id} unpacks to more than {MAX_BYTES} bytes")
        function, instance, arguments, keywords = json.loads(text)
    except (zlib.error, ValueError, TypeError, RecursionError) as error:
        raise RefusedJob("not-json", f"job {job_id} does not hold our JSON: {type(error).__name__}") from error
    return function, instance, arguments, keywords


class ListedJob(Job):
    """RQ's job as tools and dashboards read it from our queues: it reads JSON only, and never gives its function."""

    def __init__(self, id: str | None = None, connection: Redis | None = None, serializer: object = None) -> None:
        super().__init__(id=id, connection=connection, serializer=JSONSerializer)

    @property
    def func(self) -> NoReturn:
        raise RefusedJob("function-not-listed", f"{self.func_name!r} runs in undegrade's own worker only")
