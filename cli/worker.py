"""`undegrade worker`: take jobs from Redis and run them on this machine's device."""

import asyncio
import resource
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from cli import event_loop
from cli.bundle_loading import find_bundles
from cli.console import print_error, print_message
from cli.exit_codes import ExitCode, exit_on_error
from cli.listening import check_metrics_port
from cli.options import Device, MetricsPort, RedisUrl, ServedBundles, StoreUrl
from cli.provenance import chosen_provenance
from cli.server_urls import checked_redis_url, checked_store_url
from cli.settings import settings
from cli.tracing import process_tracer
from jobs.json_log import log_as_json
from jobs.spec import LANES, Lane
from models.errors import ControlsError

if TYPE_CHECKING:
    from worker.messages import NotReady
    from worker.supervisor import Supervisor


NEEDED_FILES = 256
"""The supervisor, its connections and the pipes of its children use about 60, and loading a bundle opens more."""


def worker(
    bundle: ServedBundles = None,
    device: Device = None,
    lanes: Annotated[str, typer.Option(help="Lanes to serve, separated by commas.")] = ",".join(LANES),
    max_batch: Annotated[
        int | None,
        typer.Option(
            min=1, max=256, help="Maximum number of images or tiles per denoising step. Default: 8 on CUDA, 1 on a CPU."
        ),
    ] = None,
    redis_url: RedisUrl = None,
    store_url: StoreUrl = None,
    metrics_port: MetricsPort = None,
) -> None:
    """Take jobs from Redis and run them on this machine's device, until stopped.

    After SIGTERM or Ctrl-C, it finishes the jobs that take at most UNDEGRADE_GRACE_S seconds, and requeues the others.

    Example: undegrade worker --redis-url redis://queue:6379/0 --store-url s3://images/undegrade --device cuda
    """
    with exit_on_error():
        env = settings()
        wanted_port = env.metrics_port if metrics_port is None else metrics_port
        check_metrics_port(env.host, wanted_port)
        from worker.engine_config import EngineConfig
        from worker.errors import WorkerError
        from worker.recycling import RecycleLimits
        from worker.supervisor import Supervisor, WorkerConfig

        config = WorkerConfig(
            redis_url=checked_redis_url(redis_url or env.redis_url),
            store_url=checked_store_url(store_url or env.store_url),
            lanes=_parse_lanes(lanes), grace_s=env.grace_s, max_megapixels=env.max_megapixels,
            metrics_port=wanted_port, metrics_host=env.host, decode_s=env.decode_s,
            max_running_s=env.max_running_s, provenance=chosen_provenance(), replication=env.replication,
            recycle=RecycleLimits(max_jobs=env.max_jobs, max_rss_gib=env.max_rss_gib),
            engine=EngineConfig(
                bundles=find_bundles(bundle or env.bundle_names), device=device or env.device, threads=env.threads,
                max_batch=max_batch or env.max_batch, cuda_graphs=env.cuda_graphs,
                compile=env.compile,
                device_memory_gib=env.device_memory_gib,
            ),
        )  # fmt: skip
        _allow_open_files()
        tracer = process_tracer("undegrade-worker")
        log_as_json()
        try:
            failure = event_loop.run(_run_until_signal(lambda: Supervisor(config, tracer)))
        except WorkerError as error:
            print_error(str(error))
            raise typer.Exit(ExitCode.SERVER) from None
        finally:
            tracer.close()
    if failure is not None:
        print_error(failure.sentence)
        raise typer.Exit(ExitCode.DEVICE if failure.of_device else ExitCode.MODEL)
    print_message("stopped; no job is left on this worker")


def _parse_lanes(text: str) -> tuple[Lane, ...]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in LANES:
            raise ControlsError(f"got lane {name!r}, expected one or more of {', '.join(LANES)}")
    return tuple(lane for lane in LANES if lane in names) or LANES


def _allow_open_files() -> None:
    """Raise the limit of open files to what a worker needs.

    Raises:
        ControlsError: the limit is too low, and may not be raised.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= NEEDED_FILES:
        return
    if hard != resource.RLIM_INFINITY and hard < NEEDED_FILES:
        raise ControlsError(
            f"got a limit of {hard} open files, expected at least {NEEDED_FILES}: connections and child processes need "
            f"them. Raise it with `ulimit -n {NEEDED_FILES}`."
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (NEEDED_FILES, hard))


async def _run_until_signal(make_supervisor: "Callable[[], Supervisor]") -> "NotReady | None":
    supervisor = make_supervisor()  # on the loop that its Redis clients will use
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, supervisor.drain)
    return await supervisor.run()
