"""Jobs as RQ stores them: JSON, one listed function, no callbacks, of bounded size.

RQ's JSON serializer still imports any dotted name that it is given, so a planted job could name `os.system`.  Our
workers never import what a job names: they look the name up here, and what is not listed is refused.
"""

import json
import zlib
from collections.abc import Mapping
from typing import Any, NoReturn

from redis import Redis
from rq.job import Job
from rq.serializers import JSONSerializer

from jobs.errors import RefusedJob

FUNCTION = "undegrade.run"
"""Shown by dashboards.  A name in a list, not a place to import from."""
FUNCTIONS = frozenset({FUNCTION})
MOST_PACKED_BYTES = 64 * 1024
MOST_BYTES = 256 * 1024
CALLBACKS = (b"success_callback_name", b"failure_callback_name", b"stopped_callback_name", b"webhooks")


def pack(job_id: str) -> bytes:
    """The `data` field of a job of ours."""
    return zlib.compress(json.dumps([FUNCTION, None, [job_id], {}]).encode(), 1)


def check(job_id: str, fields: Mapping[bytes, bytes]) -> None:
    """Whether an RQ job is one of ours.

    Raises:
        RefusedJob: it is not; `reason` is one of oversized, not-json, function-not-listed, callback.
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
    if len(data) > MOST_PACKED_BYTES:
        raise RefusedJob("oversized", f"job {job_id} has {len(data)} bytes, at most {MOST_PACKED_BYTES}")
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(data, MOST_BYTES)
        if unpacker.unconsumed_tail:
            raise RefusedJob("oversized", f"job {job_id} unpacks to more than {MOST_BYTES} bytes")
        function, instance, arguments, keywords = json.loads(text)
    except (zlib.error, ValueError, TypeError, RecursionError) as error:
        raise RefusedJob("not-json", f"job {job_id} is not JSON of ours: {type(error).__name__}") from error
    return function, instance, arguments, keywords


class ListedJob(Job):
    """RQ's job for tools and dashboards on our queues: it reads JSON only, and runs nothing that is not listed."""

    def __init__(self, id: str | None = None, connection: Redis | None = None, serializer: object = None) -> None:
        super().__init__(id=id, connection=connection, serializer=JSONSerializer)

    @property
    def func(self) -> NoReturn:
        raise RefusedJob("function-not-listed", f"{self.func_name!r} runs in undegrade's own worker only")
