"""`undegrade workers`: list, drain and resume the workers of a queue, directly in Redis."""

import asyncio
import time
from typing import Annotated

import typer
from redis.asyncio import Redis

from cli.console import print_json_line, print_message, print_table
from cli.exit_codes import ExitCode, exit_on_error
from cli.operator_name import operator_name
from cli.operator_tables import table_width, workers_table
from cli.options import DataFolder, JsonRows, RedisUrl
from cli.redis_access import run_on_redis
from cli.servers import queue_of
from jobs.record import WorkerInfo
from service.system_view import worker_bodies

app = typer.Typer(add_completion=False, help="List, drain and resume workers.", no_args_is_help=True)
POLL_S = 0.5
WorkerName = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of a worker, from `undegrade workers list`, or of a host.")
]


@app.command("list")
def list_all(as_json: JsonRows = False, redis_url: RedisUrl = None, data: DataFolder = None) -> None:
    """List the workers with their state, one row for each bundle of each worker.

    Example: undegrade workers list
    """
    with exit_on_error():
        workers, drains = run_on_redis(redis_url, data, _workers)
        rows = [body.model_dump(mode="json") for body in worker_bodies(workers)]
        here = {name for worker in workers for name in (worker.name, worker.host)}
        if as_json:
            for row in rows:
                print_json_line(row)
            return
        if rows:
            print_table(workers_table(rows, table_width()))
        else:
            print_message("no worker is alive")
        for name in sorted(drains - here):
            print_message(f"{name} is drained; no worker of it is alive")


async def _workers(client: "Redis") -> tuple[list[WorkerInfo], set[str]]:
    registry = queue_of(client).workers
    return await registry.alive(), set(await registry.drains())


@app.command()
def drain(
    name: WorkerName,
    wait_s: Annotated[
        float | None,
        typer.Option(
            "--wait", min=0, max=10**6, help="Wait up to this many seconds until the workers hold no job. Default: 0."
        ),
    ] = None,
    redis_url: RedisUrl = None,
    data: DataFolder = None,
) -> None:
    """Let a worker finish the jobs that it holds and take no more, until `undegrade workers resume`.

    With the name of a host, all of its workers, also those that start later. The drain of a single worker ends with
    its process.

    Example: undegrade workers drain gpu-7 --wait 600
    """
    with exit_on_error():
        by = operator_name()

        async def act(client: "Redis") -> list[WorkerInfo]:
            registry = queue_of(client).workers
            workers = await registry.drain(name, by)
            until_s = time.monotonic() + (wait_s or 0)
            while any(worker.state == "draining" for worker in workers) and time.monotonic() < until_s:
                await asyncio.sleep(POLL_S)
                workers = [worker for worker in await registry.alive() if name in (worker.name, worker.host)]
            return workers

        workers = run_on_redis(redis_url, data, act)
        _print_states(name, workers)
    if wait_s is not None and any(worker.state == "draining" for worker in workers):
        print_message(f"after {wait_s:g} s there still are jobs; the drain goes on")
        raise typer.Exit(ExitCode.SOME_FAILED)


@app.command()
def resume(name: WorkerName, redis_url: RedisUrl = None, data: DataFolder = None) -> None:
    """Let a drained worker, or all workers of a host, take jobs again.

    Example: undegrade workers resume gpu-7
    """
    with exit_on_error():
        workers = run_on_redis(redis_url, data, lambda client: queue_of(client).workers.resume(name))
        _print_states(name, workers)
        for worker in workers:
            if worker.drain is not None:
                other = worker.name if name == worker.host else worker.host
                print_message(f"{worker.name} is still drained, as {other}; resume that, too")


def _print_states(name: str, workers: list[WorkerInfo]) -> None:
    if not workers:
        print_message(f"{name}: no worker of it is alive now")
    for worker in workers:
        print_message(f"{worker.name} ({worker.bundle}): {worker.state}")
