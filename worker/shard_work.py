"""What a worker does on one Redis server: it leases jobs, renews and commits them, and announces itself there.

A worker has one of these for each server.  They share the engine, the held jobs and their room, and nothing that waits
for a server: one that is away delays the work of no other.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from jobs.blob_store import BlobStore, open_store
from jobs.queue import Queue
from jobs.record import Failure
from jobs.replication import Replication
from jobs.spec import Lane
from jobs.tracing.spans import Tracer
from models.photo.codec_pool import CodecPool
from models.photo.marking import Provenance
from worker import redis_client
from worker.announcer import Announcer
from worker.background_tasks import BackgroundTasks
from worker.committer import Committer
from worker.engine_keeper import EngineKeeper
from worker.engine_link import EngineLink
from worker.held_jobs import HeldJobs
from worker.job_run import JobRun
from worker.job_services import JobServices
from worker.lease_loop import LeaseLoop
from worker.lease_renewal import LeaseRenewal
from worker.lease_turns import LeaseTurns
from worker.metrics import WorkerMetrics
from worker.pace import Pace
from worker.recycling import Recycling
from worker.redis_retry import RedisRetry
from worker.releases import release
from worker.upkeep import Upkeep


@dataclass(frozen=True, kw_only=True)
class SharedParts:
    """What the work on all servers shares; the attributes are those of the supervisor and of its settings."""

    name: str
    host: str
    token: str
    bundles: tuple[str, ...]
    lanes: tuple[Lane, ...]
    ahead: int
    store_url: str
    max_running_s: float
    provenance: Provenance
    replication: Replication
    tracer: Tracer
    link: EngineLink
    keeper: EngineKeeper
    held: HeldJobs
    codec: CodecPool
    metrics: WorkerMetrics
    retry: RedisRetry
    background: BackgroundTasks
    pace: Pace
    turns: LeaseTurns
    on_drain: Callable[[], None]
    recycling: Recycling


class ShardWork:
    """The work on the server of `redis`, whose URL is `url`."""

    def __init__(self, shared: SharedParts, url: str, redis: "Redis") -> None:
        self.shared, self.redis = shared, redis
        self.queue = Queue(redis, replication=shared.replication)
        self.store: BlobStore = open_store(shared.store_url, redis, shared.replication)
        token, held, metrics, retry = shared.token, shared.held, shared.metrics, shared.retry
        self.committer = Committer(self.queue, token, held, metrics, retry)
        self.renewal = LeaseRenewal(self.queue, token, held, metrics, retry)
        self.announcer = Announcer(
            name=shared.name, bundles=shared.bundles, lanes=shared.lanes, registry=self.queue.workers,
            redis_url=url, link=shared.link, held=held, keeper=shared.keeper, pace=shared.pace, metrics=metrics,
            drained=lambda: self.leasing.drained,
        )  # fmt: skip
        self.upkeep = Upkeep(self.queue, self.store, self.announcer, retry)
        self.services = JobServices(
            queue=self.queue, store=self.store, codec=shared.codec, engine=shared.link, token=token,
            max_running_s=shared.max_running_s, tracer=shared.tracer, worker=shared.name,
            provenance=shared.provenance, version_of=shared.link.version_of,
        )  # fmt: skip
        self.leasing = LeaseLoop(
            worker=shared.name, bundles=shared.bundles, lanes=shared.lanes, ahead=shared.ahead,
            services=self.services, link=shared.link, keeper=shared.keeper, held=held, committer=self.committer,
            metrics=metrics, retry=retry, background=shared.background, host=shared.host, on_drain=shared.on_drain,
            turns=shared.turns, recycling=shared.recycling,
        )  # fmt: skip

    def loops(self) -> list[Coroutine[Any, Any, None]]:
        """Returns the loops that run as long as the worker, or the server, is there."""
        return [self.renewal.run(), self.committer.run(), self.upkeep.run()]

    @property
    def runs(self) -> list[JobRun]:
        """The held jobs of this server."""
        return [run for run in self.shared.held if run.services.queue is self.queue]

    @property
    def busy(self) -> bool:
        return bool(self.runs) or self.committer.busy

    async def announce(self) -> None:
        """Announce the worker soon."""
        await self.shared.retry("announce", self.announcer.announce, until_drain=True)

    async def release(self, runs: Sequence[JobRun], *, died: bool = False, failure: Failure | None = None) -> None:
        """Put those of these jobs back that are of this server."""
        own = [run for run in runs if run.services.queue is self.queue]
        await release(self.queue, self.shared.token, own, died=died, failure=failure)

    async def give_back(self, runs: Sequence[JobRun], patience_s: float) -> bool:
        """Put the last jobs back, and those of a reply that never came.  Returns whether the server has answered."""
        with contextlib.suppress(RedisError, OSError):
            async with asyncio.timeout(patience_s):
                await self.release(runs)
                await self.queue.release_unheld(self.shared.token, ())
                return True
        return False

    async def close(self, patience_s: float, *, withdraw: bool) -> None:
        """Close the connections.  `withdraw`: first remove the worker's entry, which ends by itself otherwise."""
        if withdraw:
            with contextlib.suppress(RedisError, OSError):
                async with asyncio.timeout(patience_s):
                    await self.announcer.withdraw()
        await self.store.close()
        with contextlib.suppress(RedisError, OSError):
            await self.redis.aclose()


async def check_access(works: Sequence[ShardWork]) -> None:
    """Check that each server accepts this worker.  One that does not answer is not an error.

    Raises:
        RedisRefused: one answers with a refusal.
    """
    await asyncio.gather(*(redis_client.check_access(work.redis) for work in works))
