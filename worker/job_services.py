"""What all jobs of a worker share."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from jobs.blob_store import BlobStore
from jobs.queue import Queue
from jobs.tracing.spans import NO_TRACER, Tracer
from models.photo.codec_pool import CodecPool
from models.photo.marking import Provenance
from worker.messages import Cancel, Task

MAX_RUNNING_S = 6 * 3600.0


class EngineClient(Protocol):
    """The engine child as a job sees it."""

    def send(self, command: Task | Cancel) -> bool: ...


@dataclass(frozen=True, kw_only=True)
class JobServices:
    """What all jobs of a worker share.

    Attributes:
        token: the owner of their leases.
        max_running_s: the seconds after which a job that the engine has begun fails.
        worker: the name of the worker, for traces and logs.
        provenance: how results are marked.
        version_of: the version of a bundle that the engine has.
    """

    queue: Queue
    store: BlobStore
    codec: CodecPool
    engine: EngineClient
    token: str
    max_running_s: float = MAX_RUNNING_S
    tracer: Tracer = NO_TRACER
    worker: str = ""
    provenance: Provenance = field(default_factory=Provenance)
    version_of: Callable[[str], str] = lambda bundle: ""
