"""Which Redis a command of operators works on: that of a URL, or the embedded one of `serve`."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import typer
from redis.asyncio import Redis
from redis.exceptions import RedisError

from cli.console import print_error, print_warning
from cli.embedded_redis import EmbeddedRedisError, running_server, server_on
from cli.exit_codes import ExitCode
from cli.private_files import default_folder
from cli.server_urls import checked_redis_url
from cli.servers import copy_records, open_servers, refresh, troubles
from cli.settings import settings
from jobs.shards.urls import shown_urls
from models.errors import ControlsError

T = TypeVar("T")


def run_with_redis(url: str | None, action: "Callable[[Redis], Awaitable[T]]") -> T:
    """Run an action with a Redis client; None takes the URL of the settings.

    Raises:
        typer.Exit: Redis cannot be reached; the message is printed.
        ControlsError: the URL is not valid.
    """
    checked = checked_redis_url(url or settings().redis_url)

    async def run() -> T:
        async with open_servers(checked) as client:
            await refresh(client)
            for problem in troubles(client):
                print_warning(problem)
            answer = await action(client)
            await copy_records(client)
            return answer

    try:
        return asyncio.run(run())
    except (RedisError, OSError) as error:
        cause = str(error).rstrip(".") or type(error).__name__
        print_error(f"cannot reach Redis at {shown_urls(checked)}: {cause}. Give --redis-url or --data.")
        raise typer.Exit(ExitCode.SERVER) from None


def run_on_redis(url: str | None, data: Path | None, action: "Callable[[Redis], Awaitable[T]]") -> T:
    """Run an action on the Redis of a URL or a data folder; without either, on that of `serve` on this machine.

    `serve` need not have run: its data folder is made, so that its first key can be created before its first start.

    Raises:
        typer.Exit: Redis cannot be reached or used; the message is printed.
        ControlsError: the URL or the folder cannot be used.
    """
    if data is None and (url or os.environ.get("UNDEGRADE_REDIS_URL")):
        return run_with_redis(url, action)
    folder = data or serve_folder()
    try:
        with server_on(folder) as socket_url:
            return run_with_redis(socket_url, action)
    except EmbeddedRedisError as error:
        print_error(str(error))
        raise typer.Exit(ExitCode.SERVER) from None


def redis_place(url: str | None, data: Path | None) -> str:
    """Returns the place on which `run_on_redis` works, for messages: never with a password."""
    if data is None and (url or os.environ.get("UNDEGRADE_REDIS_URL")):
        return f"Redis at {shown_urls(checked_redis_url(url or settings().redis_url))}"
    return f"the data folder {data or serve_folder()}"


def watch_redis(url: str | None, data: Path | None, action: "Callable[[Redis], Awaitable[T]]") -> T:
    """Run an action that may take long: as `run_on_redis`, but without starting a server, which would keep `serve` out.

    Raises:
        typer.Exit: as `run_on_redis`.
        ControlsError: also where `serve` does not run.
    """
    if data is None and (url or os.environ.get("UNDEGRADE_REDIS_URL")):
        return run_with_redis(url, action)
    folder = data or serve_folder()
    running = running_server(folder)
    if running is None:
        raise ControlsError(f"no `undegrade serve` runs with the data folder {folder}. Start it, or give --redis-url.")
    return run_with_redis(running, action)


def serve_folder() -> Path:
    """Returns the data folder of `serve`; there may be none yet."""
    env = settings()
    return Path(env.data) if env.data else default_folder(env.port)
