"""`undegrade scale-in`: tell Kubernetes which workers are busy, so that it removes idle ones first."""

import asyncio
import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import structlog
import typer
from redis.exceptions import RedisError

from cli import event_loop
from cli.console import print_error
from cli.deletion_costs import DeletionCosts
from cli.exit_codes import ExitCode, exit_on_error
from cli.listening import check_metrics_port
from cli.options import RedisUrl
from cli.probe_server import serve_probes
from cli.server_urls import checked_redis_url
from cli.servers import open_servers, queue_of, refresh
from cli.settings import settings
from jobs.end_tasks import end_tasks
from jobs.json_log import log_as_json
from jobs.record import WorkerInfo

if TYPE_CHECKING:
    from cli.kubernetes_pods import Cluster, Pods
    from worker.probes import Checks

log = structlog.get_logger()
ROUND_S = 60.0
"""Time for one round; each call in it has a limit of its own."""


def scale_in(
    label: Annotated[
        str, typer.Option(metavar="NAME=VALUE", help="Label of the worker pods; others are never changed.")
    ] = "app.kubernetes.io/component=worker",
    namespace: Annotated[str | None, typer.Option(help="Namespace of the workers. Default: that of this pod.")] = None,
    every: Annotated[float, typer.Option(min=1, max=3600, help="Seconds between two looks at the workers.")] = 5.0,
    idle: Annotated[
        float, typer.Option(min=0, max=3600, help="Seconds without a job after which a worker counts as idle.")
    ] = 15.0,
    account: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Folder with token, ca.crt and namespace. Default: the pod's.")
    ] = None,
    redis_url: RedisUrl = None,
    probes_port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, help="Serve /livez, /readyz and /startupz on this port. Default: UNDEGRADE_METRICS_PORT."
        ),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Look at the workers once, and exit.")] = False,
) -> None:
    """Tell Kubernetes which workers are busy, so that a scale-in removes idle ones first.

    Runs in a pod. It reads from Redis how many jobs each worker holds, and sets the annotation
    controller.kubernetes.io/pod-deletion-cost of the worker pods to 100 while they hold jobs, else to 0.

    Example: undegrade scale-in --redis-url redis://queue:6379/0
    """
    with exit_on_error():
        from cli.kubernetes_pods import ACCOUNT, Cluster, read_label  # httpx takes a while to load

        env = settings()
        wanted_port = env.metrics_port if probes_port is None else probes_port
        check_metrics_port(env.host, wanted_port, "--probes-port")
        marker = Marker(
            checked_redis_url(redis_url or env.redis_url), Cluster.read(account or ACCOUNT, os.environ, namespace),
            read_label(label), every_s=every, idle_s=idle,
        )  # fmt: skip
        log_as_json()
        if event_loop.run(marker.run(None if once else (env.host, wanted_port), once=once)):
            return
    print_error(marker.trouble)
    raise typer.Exit(ExitCode.SERVER)


class Marker:
    """Marks the busy pods, round after round.

    Attributes:
        trouble: why the last round failed; "" after a round that worked.
    """

    def __init__(
        self, redis_url: str, cluster: "Cluster", label: tuple[str, str], *, every_s: float, idle_s: float
    ) -> None:
        self.redis_url, self.cluster, self.label, self.every_s = redis_url, cluster, label, every_s
        self.costs = DeletionCosts(idle_s)
        self.trouble = "the first round has not ended"
        self._started, self._stop = False, asyncio.Event()

    async def run(self, address: tuple[str, int | None] | None, *, once: bool = False) -> bool:
        """Work until a signal arrives.  Returns whether the last round worked.

        Args:
            address: host and port of the probes; None for neither.
        """
        from cli.kubernetes_pods import Pods
        from worker.probes import Heartbeat

        heartbeat = Heartbeat()
        beating = asyncio.create_task(heartbeat.run())
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stop.set)
        if address is not None:
            serve_probes(*address, self._probes(heartbeat.reasons))
        try:
            async with open_servers(self.redis_url) as redis, Pods(self.cluster, self.label) as pods:
                while not self._stop.is_set():
                    await self._round(redis, pods)
                    if once:
                        return not self.trouble
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._stop.wait(), self.every_s)
        finally:
            await end_tasks(beating)
        return True

    def _probes(self, dead: Callable[[], list[str]]) -> "Checks":
        def unready() -> list[str]:
            return [self.trouble] if self.trouble else []

        def unstarted() -> list[str]:
            return [] if self._started else [self.trouble]

        return {"/livez": dead, "/readyz": unready, "/startupz": unstarted}

    async def _round(self, redis: Any, pods: "Pods") -> None:  # noqa: ANN401 - of `open_servers`
        """Look at the workers, and write the costs that have changed; a failure is tried again in the next round."""
        from cli.kubernetes_pods import KubernetesError

        try:
            async with asyncio.timeout(ROUND_S):
                await refresh(redis)
                await self._mark(held_jobs(await queue_of(redis).workers.alive()), pods)
        except TimeoutError:
            trouble = f"a round took longer than {ROUND_S:.0f} s"
        except (RedisError, OSError) as error:
            trouble = f"Redis does not answer: {str(error) or type(error).__name__}"
        except KubernetesError as error:
            trouble = str(error)
        else:
            trouble, self._started = "", True
        if trouble and trouble != self.trouble:
            log.error("marks.failed", why=trouble)
        elif not trouble and self.trouble:
            log.info("marks.resumed")
        self.trouble = trouble

    async def _mark(self, held: Mapping[str, int], pods: "Pods") -> None:
        from cli.kubernetes_pods import Patched

        for pod, cost in self.costs.changes(held, time.monotonic()).items():
            outcome = await pods.set_cost(pod, cost)
            self.costs.written(pod, cost)
            if outcome is Patched.WRITTEN:
                log.info("pod.marked", pod=pod, cost=cost)
            else:  # a worker of another place, which uses the same Redis
                log.warning("pod.left", pod=pod, why=outcome.value)


def held_jobs(workers: Sequence[WorkerInfo]) -> dict[str, int]:
    """Returns how many jobs each host holds; a worker has an entry for each of its bundles."""
    held: Counter[str] = Counter()
    for worker in workers:
        held[worker.host] += worker.in_hand
    return dict(held)
