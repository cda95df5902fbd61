"""`undegrade queue`: show the queue, pause and resume lanes, purge queued jobs, directly in Redis."""

from typing import Annotated

import typer
from redis.asyncio import Redis

from cli.console import print_json_line, print_message, print_table, stdin_is_terminal
from cli.exit_codes import ExitCode, exit_on_error
from cli.operator_name import operator_name
from cli.operator_tables import lanes_table, table_width
from cli.options import DataFolder, JsonRows, RedisUrl
from cli.redis_access import run_on_redis
from cli.servers import queue_of
from jobs.lane_pauses import known_lane
from jobs.overview import Overview, take_overview
from jobs.purge import MAX_REASON_CHARACTERS, Selection, count, purge
from models.errors import ControlsError

app = typer.Typer(
    add_completion=False, help="Show the queue, pause and resume lanes, purge queued jobs.", no_args_is_help=True
)
LaneName = Annotated[str, typer.Argument(metavar="LANE", help="interactive, standard or bulk.")]


@app.command()
def show(as_json: JsonRows = False, redis_url: RedisUrl = None, data: DataFolder = None) -> None:
    """Show the lanes of each bundle: jobs, the wait of the oldest, the forecast for a new job, and pauses.

    Example: undegrade queue show
    """
    with exit_on_error():
        lanes = [lane.model_dump(mode="json") for lane in run_on_redis(redis_url, data, _overview).lanes]
        if as_json:
            for lane in lanes:
                print_json_line(lane)
        elif lanes:
            print_table(lanes_table(lanes, table_width()))
        else:
            print_message("no bundle has workers or jobs")


async def _overview(client: "Redis") -> Overview:
    return await take_overview(queue_of(client))


@app.command()
def pause(lane: LaneName, redis_url: RedisUrl = None, data: DataFolder = None) -> None:
    """Pause a lane in every bundle: it accepts jobs, and no worker takes one until `undegrade queue resume`.

    Jobs that workers have taken go on.

    Example: undegrade queue pause bulk
    """
    with exit_on_error():
        by = operator_name()
        mark = run_on_redis(redis_url, data, lambda client: queue_of(client).pauses.pause(lane, by))
    print_message(f"lane {lane} is paused" + (f" (by {mark.by}, earlier)" if mark.by != by else ""))


@app.command()
def resume(lane: LaneName, redis_url: RedisUrl = None, data: DataFolder = None) -> None:
    """Let workers take jobs of a paused lane again.

    Example: undegrade queue resume bulk
    """
    with exit_on_error():
        was = run_on_redis(redis_url, data, lambda client: queue_of(client).pauses.resume(lane))
    print_message(f"lane {lane} is open again" if was else f"lane {lane} was not paused")


@app.command("purge")
def purge_jobs(
    lane: Annotated[
        str | None, typer.Argument(metavar="[LANE]", show_default=False, help="Only jobs of this lane.")
    ] = None,
    bundle: Annotated[str | None, typer.Option(help="Only jobs of this bundle.")] = None,
    key: Annotated[str | None, typer.Option(help="Only jobs of the API key with this id.")] = None,
    reason: Annotated[str, typer.Option(help="Reason that the owners of the jobs see.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count the jobs.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    redis_url: RedisUrl = None,
    data: DataFolder = None,
) -> None:
    """Cancel queued jobs and erase their images: those of a lane, a bundle and a key together; give one at least.

    Jobs that workers have taken go on.

    Example: undegrade queue purge bulk --key 5f0c9b1d2e3f --reason "submitted twice"
    """
    with exit_on_error():
        selection = _selection(lane, bundle, key)
        if len(reason) > MAX_REASON_CHARACTERS or not reason.isprintable():
            raise ControlsError(f"got a --reason that is not one line of up to {MAX_REASON_CHARACTERS} characters.")
        found = run_on_redis(redis_url, data, lambda client: count(queue_of(client), selection))
        print_message(f"{found} queued {'job matches' if found == 1 else 'jobs match'}")
        if dry_run or not found:
            return
        _confirm(yes)
        ended = run_on_redis(redis_url, data, lambda client: purge(queue_of(client), selection, reason))
    print_message(f"{ended} of them are canceled and their images erased")


def _selection(lane: str | None, bundle: str | None, key: str | None) -> Selection:
    selection = Selection(lane=known_lane(lane) if lane is not None else None, bundle=bundle, owner=key)
    if selection.empty:
        raise ControlsError("got no selection, expected a LANE, --bundle or --key.")
    return selection


def _confirm(yes: bool) -> None:
    """Ask before jobs are lost.

    Raises:
        ControlsError: nobody can be asked.
        typer.Exit: the answer is not yes.
    """
    if yes:
        return
    if not stdin_is_terminal():
        raise ControlsError("nobody can be asked: stdin is not a terminal. Give --yes to cancel the jobs.")
    if not typer.confirm("Cancel them and erase their images?", err=True):
        print_message("nothing is changed")
        raise typer.Exit(ExitCode.SOME_FAILED)
