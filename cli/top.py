"""`undegrade top`: a live view of the queue, the workers and the devices."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Annotated
from urllib.parse import urlsplit

import typer
from redis.asyncio import Redis
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from cli.console import print_error, print_json_line, stdout, visible
from cli.exit_codes import ExitCode, exit_on_error
from cli.operator_tables import Row, devices, devices_table, lanes_table, table_width, workers_table
from cli.options import DataFolder, RedisUrl
from cli.redis_access import watch_redis
from cli.settings import settings
from cli.top_source import ApiSource, RedisSource, Snapshot, Source, SourceAway
from models.errors import ControlsError

HEADINGS = 8
"""Lines of the view that are neither lanes nor workers nor devices."""
FEWEST_ROWS = 3


def top(
    url: Annotated[str | None, typer.Option(help="URL of the API. Default: UNDEGRADE_URL, or else Redis.")] = None,
    key: Annotated[
        str | None, typer.Option(help="API key, an admin key. Default: UNDEGRADE_API_KEY, which `ps` does not show.")
    ] = None,
    interval_s: Annotated[float, typer.Option("--interval", min=0.2, max=3600, help="Seconds between two looks.")] = 2,
    once: Annotated[bool, typer.Option("--once", help="Print one look and exit, as into a pipe.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one look as a JSON object and exit.")] = False,
    redis_url: RedisUrl = None,
    data: DataFolder = None,
) -> None:
    """Watch the queue by lane, the workers and the devices, until Ctrl-C.

    It reads the API at --url, or else Redis as `undegrade queue show` does.

    Example: undegrade top --url http://127.0.0.1:8000
    """
    with exit_on_error():
        env = settings()
        api = url or (None if redis_url or data else env.url)
        if api is not None and not _is_http(api):
            raise ControlsError(
                f"got the URL {visible(_without_user(api))}, expected http://HOST:PORT or https://HOST."
            )
        live = stdout.is_terminal and not once and not as_json

        async def watch(source: Source) -> None:
            await (_watch(source, interval_s) if live else _print_once(source, as_json))

        try:
            if api is not None:
                asyncio.run(_with_api(api, key or env.api_key, watch))
            else:
                watch_redis(redis_url, data, lambda client: watch(RedisSource(client, _place(client))))
        except SourceAway as error:
            print_error(f"{str(error).rstrip('.')}.")
            raise typer.Exit(ExitCode.SERVER) from None
        except KeyboardInterrupt:  # the only way to end a live view
            raise typer.Exit(ExitCode.OK) from None


def _is_http(url: str) -> bool:
    with suppress(ValueError):  # a port that is no number
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    return False


def _without_user(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def _place(client: "Redis") -> str:
    if hasattr(client, "shards"):
        return f"{len(client.shards.all)} shards"
    words, service = client.connection_pool.connection_kwargs, getattr(client.connection_pool, "service_name", None)
    if service is not None:
        return f"{service}, by Sentinel"
    return str(words["path"]) if "path" in words else f"{words.get('host', 'localhost')}:{words.get('port', 6379)}"


async def _with_api(url: str, key: str | None, watch: Callable[[Source], Awaitable[None]]) -> None:
    async with ApiSource(url, key) as source:
        await watch(source)


async def _print_once(source: Source, as_json: bool) -> None:
    snapshot = await source.read()
    if as_json:
        print_json_line({"lanes": snapshot.lanes, "workers": snapshot.workers, "devices": devices(snapshot.workers)})
    else:
        stdout.print(view(snapshot, source.place, table_width()))


async def _watch(source: Source, interval_s: float) -> None:
    """Draw one look after another.  A source that is away for a while is said so, below the last look.

    Raises:
        SourceAway: at the first look, or where waiting cannot help.
    """
    snapshot, away = await source.read(), ""
    with Live(console=stdout, screen=True, auto_refresh=False) as live:
        while True:
            live.update(view(snapshot, source.place, stdout.width, stdout.height, away), refresh=True)
            await asyncio.sleep(interval_s)
            try:
                snapshot, away = await source.read(), ""
            except SourceAway as error:
                if error.final:
                    raise
                away = str(error)


def view(snapshot: Snapshot, place: str, width: int, height: int | None = None, away: str = "") -> RenderableType:
    """Returns the whole view for a terminal of this size; without a height, all rows are shown."""
    lanes, workers, on = list(snapshot.lanes), list(snapshot.workers), devices(snapshot.workers)
    queued, running = (sum(lane[name] for lane in lanes) for name in ("queued", "running"))
    takers = len({worker["name"] for worker in workers if worker["state"] in ("idle", "busy")})
    now = time.strftime("%H:%M:%S")
    head = f"{now}  {queued} queued, {running} running, workers that take jobs: {takers}  ({place})"
    room = None if height is None else max(FEWEST_ROWS, height - HEADINGS - len(lanes) - min(len(on), FEWEST_ROWS))
    parts: list[RenderableType] = [Text(visible(head), style="bold", no_wrap=True, overflow="ellipsis")]
    if away:
        parts.append(Text(visible(f"{away}; trying again"), style="red"))
    parts += ["", lanes_table(lanes, width) if lanes else Text("no bundle has workers or jobs")]
    parts += ["", *_some(workers, room, "worker", lambda rows: workers_table(rows, width))]
    if on:
        fewest = None if room is None else FEWEST_ROWS
        parts += ["", *_some(on, fewest, "device", lambda rows: devices_table(rows, width))]
    return Group(*parts)


def _some(
    rows: list[Row], room: int | None, what: str, table: Callable[[list[Row]], RenderableType]
) -> list[RenderableType]:
    """Returns a table of the rows that there is room for, and how many are missing."""
    if not rows:
        return [Text(f"no {what} is alive", style="red")]
    shown = rows if room is None else rows[:room]
    left = len(rows) - len(shown)
    return [table(shown), *([Text(f"and {left} more {what}s")] if left else [])]
