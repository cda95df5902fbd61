"""Announces a worker in our own registry and in RQ's."""

import asyncio
import socket
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version

from jobs.record import WorkerInfo
from jobs.spec import Lane, queue_name
from jobs.worker_registry import WorkerRegistry
from worker.engine_keeper import EngineKeeper
from worker.engine_link import EngineLink
from worker.held_jobs import HeldJobs
from worker.messages import Loaded
from worker.metrics import WorkerMetrics
from worker.pace import Pace
from worker.redis_client import connect_blocking
from worker.rq_worker import UndegradeWorker

LOADING = "the engine loads its bundles"
NOT_LOADED = {"family": "", "bundle_version": "", "max_batch": 1}
"""What nobody knows of a bundle that was never loaded."""


class Announcer:
    """The entries of the worker `name`, one for each bundle; `keeper` knows why its engine is not ready.

    `drained`: whether an operator drains the worker, as its last try to lease has told.
    """

    def __init__(
        self, *, name: str, bundles: Sequence[str], lanes: tuple[Lane, ...], registry: WorkerRegistry, redis_url: str,
        link: EngineLink, held: HeldJobs, keeper: EngineKeeper, pace: Pace, metrics: WorkerMetrics,
        drained: Callable[[], bool],
    ) -> None:  # fmt: skip
        self.name, self.bundles, self.lanes, self.redis_url = name, bundles, lanes, redis_url
        self.registry, self.link, self.held, self.keeper = registry, link, held, keeper
        self.pace, self.metrics, self.drained = pace, metrics, drained
        self._loaded: dict[str, Loaded] = {}
        self._device: dict[str, object] = {"device": ""}
        self._version = version("undegrade")
        self._started_ms = int(time.time() * 1000)
        self._rq: UndegradeWorker | None = None

    async def announce(self) -> None:
        """Say that the worker is alive, whether its engine is ready, and why not."""
        ready = self.link.ready
        if ready is not None:
            self._loaded = {bundle.name: bundle for bundle in ready.bundles}
            self._device = {
                "device": ready.device, "device_name": ready.device_name, "driver": ready.driver,
                "device_bytes": ready.device_bytes,
            }  # fmt: skip
        await self.registry.announce(*(self._info(bundle, ready is not None) for bundle in self.bundles))
        if ready is not None:
            await asyncio.to_thread(self._announce_to_rq)

    def _info(self, bundle: str, ready: bool) -> WorkerInfo:
        loaded = self._loaded.get(bundle)
        known = {} if loaded is None else {
            "family": loaded.family, "bundle_version": loaded.version, "license": loaded.license,
            "degradations": loaded.degradations, "max_batch": loaded.max_batch, "budget_mp": loaded.budget_mp,
            "sha256": loaded.sha256, "credit": loaded.credit, "prompts": loaded.prompts,
        }  # fmt: skip
        return WorkerInfo.model_validate(
            {
                "name": self.name, "host": socket.gethostname(), "bundle": bundle, **self._device,
                "lanes": self.lanes, "ready": ready, "reason": "" if ready else self.keeper.trouble or LOADING,
                "cannot_load": self.keeper.cannot_load is not None,
                "in_hand": sum(run.spec.bundle == bundle for run in self.held), "started_ms": self._started_ms,
                "stopping": self.keeper.draining.is_set(), "drained": self.drained() and not self.held,
                "version": self._version, "memory_bytes": self.pace.memory_bytes or self.link.memory_bytes(),
                "steps_per_s": self.pace.steps_per_s(), "jobs_ended": self.metrics.jobs_ended,
                **NOT_LOADED, **known,
            }
        )  # fmt: skip

    async def withdraw(self) -> None:
        """Remove the worker from both registries."""
        await self.registry.withdraw(self.name, self.bundles)
        if self._rq is not None:
            await asyncio.to_thread(self._rq.unregister)

    def _announce_to_rq(self) -> None:
        if self._rq is None:
            queues = [queue_name(bundle, lane) for bundle in self.bundles for lane in self.lanes]
            rq = UndegradeWorker(queues, self.name, connect_blocking(self.redis_url))
            rq.register()
            self._rq = rq
        self._rq.heartbeat_as("busy" if self.held else "suspended" if self.drained() else "idle")
