"""`undegrade shards`: list, drain and resume the Redis servers of a service that has several."""

import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from redis.exceptions import RedisError
from rich.table import Table

from cli.console import print_json_line, print_message, print_table
from cli.exit_codes import exit_on_error
from cli.operator_name import operator_name
from cli.operator_tables import duration
from cli.options import JsonRows, RedisUrl
from cli.redis_access import run_with_redis
from jobs.errors import UnknownShard
from jobs.record import OperatorMark
from jobs.redis_health import public_url
from models.errors import ControlsError

if TYPE_CHECKING:
    from jobs.shards.shards import Shards

T = TypeVar("T")
app = typer.Typer(
    add_completion=False, help="List, drain and resume the Redis servers of a service that has several.",
    no_args_is_help=True,
)  # fmt: skip
Number = Annotated[
    int, typer.Argument(metavar="NUMBER", min=0, help="Number of the shard, from `undegrade shards list`.")
]


def _run(redis_url: str | None, action: "Callable[[Shards], Awaitable[T]]") -> T:
    """Run an action on the shards.

    Raises:
        ControlsError: the service has one plain server.
    """

    async def act(client: Any) -> T:  # noqa: ANN401 - of cli.servers
        if not hasattr(client, "shards"):
            raise ControlsError(
                "got one Redis URL, expected several, or a file: UNDEGRADE_REDIS_URL='redis://a:6379/0 redis://b:6379/0'."
            )
        with suppress(RedisError, OSError):  # it is chosen where all servers answer
            await client.home()
        return await action(client.shards)

    return run_with_redis(redis_url, act)


@app.command("list")
def list_all(as_json: JsonRows = False, redis_url: RedisUrl = None) -> None:
    """List the shards: whether each answers, its work, and whether it takes new jobs.

    Example: undegrade shards list --redis-url 'redis://a:6379/0 redis://b:6379/0'
    """

    async def read(shards: "Shards") -> list[dict[str, Any]]:
        return [
            {
                "shard": shard.number, "url": public_url(shard.url), "trouble": shard.trouble,
                "queued": sum(shard.load.queued.values()), "device_seconds": round(shard.load.device_s, 1),
                "keeps_keys": shard.role.startswith("home"),
                "drain": shard.drain.model_dump(mode="json") if shard.drain else None,
            }
            for shard in shards.all
        ]  # fmt: skip

    with exit_on_error():
        rows = _run(redis_url, read)
        if as_json:
            for row in rows:
                print_json_line(row)
            return
        table = Table("shard", "server", "state", "queued", "work", "keys")
        for row in rows:
            known = row["trouble"] is None
            state = row["trouble"] or (f"drained by {row['drain']['by']}" if row["drain"] else "takes jobs")
            work = duration(row["device_seconds"]) if known else "-"
            keys = "home" if row["keeps_keys"] else "copy"
            table.add_row(str(row["shard"]), row["url"], state, str(row["queued"]) if known else "-", work, keys)
        print_table(table)


@app.command()
def drain(number: Number, redis_url: RedisUrl = None) -> None:
    """Keep new jobs away from a shard, until `undegrade shards resume`. What is queued or runs there goes on.

    Example: undegrade shards drain 1
    """
    with exit_on_error():
        mark = OperatorMark(since_ms=time.time_ns() // 10**6, by=operator_name())

        async def act(shards: "Shards") -> int:
            shard = _numbered(shards, number)
            if not any(other.takes_jobs for other in shards.all if other is not shard):
                raise ControlsError("no other shard takes new jobs: the service would refuse all. Resume one first.")
            await shard.set_drain(mark)
            return sum(shard.load.queued.values())

        queued = _run(redis_url, act)
    print_message(f"shard {number} gets no new jobs; it has {queued} queued ones, which workers finish")


@app.command()
def resume(number: Number, redis_url: RedisUrl = None) -> None:
    """Let new jobs go to a drained shard again.

    Example: undegrade shards resume 1
    """
    with exit_on_error():

        async def act(shards: "Shards") -> bool:
            shard = _numbered(shards, number)
            was = shard.drain is not None
            await shard.set_drain(None)
            return was

        was = _run(redis_url, act)
    print_message(f"shard {number} takes new jobs again" if was else f"shard {number} was not drained")


def _numbered(shards: "Shards", number: int) -> Any:  # noqa: ANN401 - a Shard
    try:
        return shards.numbered(number).checked()
    except UnknownShard as error:
        raise ControlsError(f"{error}.") from None
