"""`undegrade keys`: the API keys of the service."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from redis.asyncio import Redis
from redis.exceptions import RedisError
from rich.table import Table

from cli.console import print_error, print_message, print_table
from cli.embedded_redis import EmbeddedRedisError, server_on
from cli.exit_codes import ExitCode, exit_on_error
from cli.options import RedisUrl
from cli.private_files import default_folder
from cli.server_urls import checked_redis_url
from cli.settings import settings
from jobs import api_keys
from jobs.redis_client import open_redis, shown_url
from models.errors import ControlsError

T = TypeVar("T")
app = typer.Typer(add_completion=False, help="Create, list and revoke API keys.", no_args_is_help=True)
DataFolder = Annotated[
    Path | None,
    typer.Option("--data", help="Data folder of `serve`'s own Redis server, running or not. Default: UNDEGRADE_DATA."),
]


def run_with_redis(url: str | None, action: "Callable[[Redis], Awaitable[T]]") -> T:
    """Run an action with a Redis client; None takes the URL of the settings.

    Raises:
        typer.Exit: Redis cannot be reached; the message is printed.
        ControlsError: the URL is not valid.
    """
    checked = checked_redis_url(url or settings().redis_url)

    async def run() -> T:
        async with open_redis(checked) as client:
            return await action(client)

    try:
        return asyncio.run(run())
    except (RedisError, OSError) as error:
        cause = str(error).rstrip(".") or type(error).__name__
        print_error(f"cannot reach Redis at {shown_url(checked)}: {cause}. Give --redis-url or --data.")
        raise typer.Exit(ExitCode.SERVER) from None


def _run(url: str | None, data: Path | None, action: "Callable[[Redis], Awaitable[T]]") -> T:
    """Run an action on the Redis of a URL or a data folder; without either, on that of `serve` on this machine."""
    folder = data or (None if url or os.environ.get("UNDEGRADE_REDIS_URL") else _serve_folder())
    if folder is None:
        return run_with_redis(url, action)
    try:
        with server_on(folder) as socket_url:
            return run_with_redis(socket_url, action)
    except EmbeddedRedisError as error:
        print_error(str(error))
        raise typer.Exit(ExitCode.SERVER) from None


def _serve_folder() -> Path | None:
    """Returns the data folder of `serve`, or None if `serve` has never run."""
    env = settings()
    folder = Path(env.data) if env.data else default_folder(env.port)
    return folder if folder.is_dir() else None


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the key's owner, shown by `keys list`.")],
    redis_url: RedisUrl = None,
    data: DataFolder = None,
) -> None:
    """Create a key and print it.

    The key is shown only once: the server stores a hash of it.

    Without --redis-url and UNDEGRADE_REDIS_URL, the key is for `undegrade serve` on this machine, running or not.

    Example: undegrade keys create website
    """
    with exit_on_error():
        if not name.strip() or not name.isprintable():
            raise ControlsError("got a NAME that is empty or has control characters, expected visible characters")
        key_id, secret = _run(redis_url, data, lambda client: api_keys.create(client, name))
    sys.stdout.write(secret + "\n")
    print_message(f"key {key_id} for {name}. Send it as `Authorization: Bearer KEY`. It is not shown again.")


@app.command("list")
def list_all(redis_url: RedisUrl = None, data: DataFolder = None) -> None:
    """List the id, name and creation time of every key."""
    with exit_on_error():
        keys = _run(redis_url, data, api_keys.list_keys)
        table = Table("id", "name", "created")
        for key in keys:
            created = datetime.fromtimestamp(key.created_ms / 1000, UTC)
            table.add_row(key.id, key.name, f"{created:%Y-%m-%d %H:%M}")
        if keys:
            print_table(table)
        else:
            print_message("no keys: the API accepts requests without a key, unless UNDEGRADE_AUTH=on")


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="Id of the key, from `undegrade keys list`.")],
    redis_url: RedisUrl = None,
    data: DataFolder = None,
) -> None:
    """Revoke a key, with immediate effect."""
    with exit_on_error():
        if not _run(redis_url, data, lambda client: api_keys.revoke(client, key_id)):
            print_error(f"no key has the id {key_id}. `undegrade keys list` shows all ids.")
            raise typer.Exit(ExitCode.USAGE)
    print_message(f"key {key_id} is revoked")
