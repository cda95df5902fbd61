"""`undegrade keys create|list|revoke`: who may use the API."""

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

from cli.console import Exit, complain, print_table, say, sentences
from cli.embedded_redis import ServerError, default_folder, reached
from cli.settings import settings
from jobs import api_keys

T = TypeVar("T")
app = typer.Typer(help="API keys: create, list, revoke.", no_args_is_help=True)
Url = Annotated[str | None, typer.Option("--redis-url", help="redis://, rediss:// or unix://.")]
Data = Annotated[Path | None, typer.Option("--data", help="The folder of `serve`'s own Redis; it need not run.")]


def with_redis(url: str | None, action: "Callable[[Redis], Awaitable[T]]") -> T:
    """Do something with Redis, once; exit 5 where it is away."""

    async def run() -> T:
        async with Redis.from_url(url or settings().redis_url) as client:
            return await action(client)

    try:
        return asyncio.run(run())
    except (RedisError, OSError) as error:
        complain(f"cannot reach Redis at {url or settings().redis_url}: {error}. Give --redis-url or --data.")
        raise typer.Exit(Exit.SERVER) from None


def _at(url: str | None, data: Path | None, action: "Callable[[Redis], Awaitable[T]]") -> T:
    """Do something with the Redis that is meant: a URL's, a folder's, or that of `serve` where no URL is set."""
    folder = data or (None if url or os.environ.get("UNDEGRADE_REDIS_URL") else _served())
    if folder is None:
        return with_redis(url, action)
    try:
        with reached(folder) as socket:
            return with_redis(socket, action)
    except ServerError as error:
        complain(str(error))
        raise typer.Exit(Exit.SERVER) from None


def _served() -> Path | None:
    """The data folder of `serve`, where there has been one."""
    told = settings()
    folder = Path(told.data) if told.data else default_folder(told.port)
    return folder if folder.is_dir() else None


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose key it is, for the list.")],
    redis_url: Url = None,
    data: Data = None,
) -> None:
    """Make a key and print it, once: only its hash is kept.

    Without --redis-url and UNDEGRADE_REDIS_URL it is for `undegrade serve` on this machine, running or not.

    Example: undegrade keys create website
    """
    with sentences():
        key_id, secret = _at(redis_url, data, lambda client: api_keys.create(client, name))
    sys.stdout.write(secret + "\n")
    say(f"key {key_id} for {name}; send it as `Authorization: Bearer KEY`. It is not shown again.")


@app.command("list")
def list_all(redis_url: Url = None, data: Data = None) -> None:
    """Every key's id, name and age; never the key."""
    with sentences():
        found = _at(redis_url, data, api_keys.list_keys)
        table = Table("id", "name", "created")
        for entry in found:
            made = datetime.fromtimestamp(entry.created_ms / 1000, UTC)
            table.add_row(entry.id, entry.name, f"{made:%Y-%m-%d %H:%M}")
        if found:
            print_table(table)
        else:
            say("no keys: whoever reaches the API may use it")


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="As `keys list` shows it.")], redis_url: Url = None, data: Data = None
) -> None:
    """Refuse a key from now on."""
    with sentences():
        if not _at(redis_url, data, lambda client: api_keys.revoke(client, key_id)):
            complain(f"there is no key {key_id}; `undegrade keys list` shows them")
            raise typer.Exit(Exit.USAGE)
    say(f"key {key_id} is revoked")
