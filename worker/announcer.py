"""Announces a worker in our own registry and in RQ's."""

import asyncio
import socket
import time
from collections.abc import Sequence

from redis import Redis as BlockingRedis

from jobs.record import WorkerInfo
from jobs.spec import Lane, queue_name
from jobs.worker_registry import WorkerRegistry
from worker.engine_link import EngineLink
from worker.held_jobs import HeldJobs
from worker.rq_worker import UndegradeWorker


class Announcer:
    """The entries of the worker `name`, one for each bundle, while its engine is ready."""

    def __init__(
        self, *, name: str, bundles: Sequence[str], lanes: tuple[Lane, ...], registry: WorkerRegistry, redis_url: str,
        link: EngineLink, held: HeldJobs,
    ) -> None:  # fmt: skip
        self.name, self.bundles, self.lanes, self.redis_url = name, bundles, lanes, redis_url
        self.registry, self.link, self.held = registry, link, held
        self._started_ms = int(time.time() * 1000)
        self._rq: UndegradeWorker | None = None

    async def announce(self) -> None:
        """Say that the worker is alive; does nothing while the engine is not ready."""
        ready = self.link.ready
        if ready is None:
            return
        await self.registry.announce(
            *(
                WorkerInfo(
                    name=self.name, host=socket.gethostname(), bundle=bundle.name, family=bundle.family,
                    bundle_version=bundle.version, license=bundle.license, device=ready.device, lanes=self.lanes,
                    degradations=bundle.degradations, max_batch=bundle.max_batch, budget_mp=bundle.budget_mp,
                    ready=True, in_hand=sum(run.spec.bundle == bundle.name for run in self.held),
                    started_ms=self._started_ms,
                )
                for bundle in ready.bundles
            )
        )  # fmt: skip
        await asyncio.to_thread(self._announce_to_rq, bool(self.held))

    async def withdraw(self) -> None:
        """Remove the worker from both registries."""
        await self.registry.withdraw(self.name, self.bundles)
        if self._rq is not None:
            await asyncio.to_thread(self._rq.unregister)

    def _announce_to_rq(self, busy: bool) -> None:
        if self._rq is None:
            queues = [queue_name(bundle, lane) for bundle in self.bundles for lane in self.lanes]
            rq = UndegradeWorker(queues, self.name, BlockingRedis.from_url(self.redis_url, socket_timeout=10))
            rq.register()
            self._rq = rq
        self._rq.heartbeat_as(busy)
