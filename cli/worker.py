"""`undegrade worker`: take jobs from Redis and run them on this machine's device."""

import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import structlog
import typer

from cli import event_loop
from cli.console import Exit, complain, say, sentences
from cli.settings import settings
from jobs.spec import LANES, Lane
from models.errors import ControlsError

if TYPE_CHECKING:
    from worker.messages import NotReady
    from worker.supervisor import Supervisor


Bundles = Annotated[
    list[str] | None, typer.Option(help="A bundle's name or folder; repeatable, the first is the default.")
]


def worker(
    bundle: Bundles = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")] = None,
    lanes: Annotated[str, typer.Option(help="Lanes to serve, separated by commas.")] = ",".join(LANES),
    max_batch: Annotated[int | None, typer.Option(min=1, max=256, help="The most images of one step.")] = None,
    redis_url: Annotated[str | None, typer.Option(help="redis://, rediss:// or unix://.")] = None,
    store_url: Annotated[str | None, typer.Option(help="Where pictures are: redis://, file://, s3://.")] = None,
    metrics_port: Annotated[int | None, typer.Option(help="Answer /metrics on this port.")] = None,
) -> None:
    """Take jobs from Redis and run them on this machine's device, until it is told to end.

    SIGTERM and Ctrl-C finish what is in hand; what does not fit into UNDEGRADE_GRACE_S goes back into line.

    Example: undegrade worker --redis-url redis://queue:6379/0 --store-url s3://pictures/undegrade --device cuda
    """
    with sentences():
        told = settings()
        from worker.engine_config import EngineConfig
        from worker.supervisor import Supervisor, WorkerConfig

        config = WorkerConfig(
            redis_url=redis_url or told.redis_url, store_url=store_url or told.store_url,
            lanes=_lanes(lanes), grace_s=told.grace_s, most_megapixels=told.max_megapixels,
            metrics_port=metrics_port or told.metrics_port, metrics_host=told.host,
            engine=EngineConfig(
                bundles=found_bundles(bundle or told.served), device=device or told.device, threads=told.threads,
                max_batch=max_batch or told.max_batch, cuda_graphs=told.cuda_graphs,
            ),
        )  # fmt: skip
        log_as_json()
        failure = event_loop.run(_supervise(lambda: Supervisor(config)))
    if failure is not None:
        complain(failure.sentence)
        raise typer.Exit(Exit.DEVICE if failure.of_device else Exit.MODEL)
    say("drained; nothing is left in hand")


def found_bundles(asked: Sequence[str | None]) -> dict[str, Path]:
    """The folders of the bundles by the names that jobs ask for, in their order.

    Raises:
        ControlsError: two have the same name.
        BundleError: one is not there.
    """
    from models.bundle import find_bundle

    folders = [find_bundle(one) for one in asked]
    found = {folder.name: folder.resolve() for folder in folders}
    if len(found) < len(set(folders)):
        raise ControlsError(f"two bundles have the same name: {', '.join(map(str, folders))}. Rename one's folder.")
    return found


def _lanes(words: str) -> tuple[Lane, ...]:
    asked = [word.strip() for word in words.split(",") if word.strip()]
    for word in asked:
        if word not in LANES:
            raise ControlsError(f"got lane {word!r}, expected some of {', '.join(LANES)}")
    return tuple(lane for lane in LANES if lane in asked) or LANES


async def _supervise(supervisor_of: "Callable[[], Supervisor]") -> "NotReady | None":
    supervisor = supervisor_of()  # made on the loop that its clients will live on
    running = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        running.add_signal_handler(number, supervisor.drain)
    return await supervisor.run()


def log_as_json() -> None:
    """One JSON object a line, on stderr."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
