"""Tables of lanes, workers and devices, as `top`, `workers list` and `queue show` print them.

A row is the JSON of service.system_view.WorkerBody or jobs.overview.LaneView: the same over HTTP and from Redis.  A
narrow terminal gets fewer columns, never a broken row.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from cli.console import stdout, visible

Row = Mapping[str, Any]
STATE_STYLES = {
    "busy": "green", "idle": "cyan", "draining": "yellow", "drained": "yellow", "stopping": "yellow",
    "not-ready": "red",
}  # fmt: skip
NOTHING = "-"
PIPED_COLUMNS = 220


@dataclass(frozen=True)
class Column:
    """A column that is shown in a terminal of at least `from_width` columns."""

    header: str
    text: Callable[[Row], str]
    from_width: int = 0
    right: bool = False
    style: Callable[[Row], str] = lambda row: ""


def lanes_table(lanes: Sequence[Row], width: int) -> Table:
    """Returns the queue by bundle and lane."""
    return _table(LANE_COLUMNS, lanes, width)


def workers_table(workers: Sequence[Row], width: int) -> Table:
    """Returns the workers, one row for each bundle of each worker."""
    return _table(WORKER_COLUMNS, workers, width)


def devices_table(rows: Sequence[Row], width: int) -> Table:
    """Returns the rows of `devices` as a table."""
    return _table(DEVICE_COLUMNS, rows, width)


def devices(workers: Sequence[Row]) -> list[Row]:
    """Returns a row for each device, with what its workers do and hold together.

    A device is its host and its name, as cuda:0, whatever workers use it.
    """
    found: dict[tuple[str, str], dict[str, Row]] = {}
    for worker in workers:
        if worker["device"]:
            found.setdefault((worker["host"], worker["device"]), {})[worker["name"]] = worker
    return [
        {
            "host": host, "device": device, "name": first["device_name"], "driver": first["driver"],
            "workers": len(by_name), "device_bytes": first["device_bytes"],
            "memory_bytes": sum(worker["memory_bytes"] or 0 for worker in by_name.values()),
            "steps_per_s": sum(worker["steps_per_s"] for worker in by_name.values()),
        }
        for (host, device), by_name in sorted(found.items())
        for first in [next(iter(by_name.values()))]
    ]  # fmt: skip


def _table(columns: Sequence[Column], rows: Sequence[Row], width: int) -> Table:
    shown = [
        column for column in columns if width >= column.from_width and (column.header or any(map(column.text, rows)))
    ]
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in shown:
        table.add_column(column.header, justify="right" if column.right else "left", no_wrap=True, overflow="ellipsis")
    for row in rows:
        table.add_row(*(Text(visible(column.text(row)), style=column.style(row)) for column in shown))
    return table


def table_width() -> int:
    """Returns the columns for a table on stdout.  A pipe has no width, and gets all columns."""
    if not stdout.is_terminal:
        stdout.width = max(stdout.width, PIPED_COLUMNS)
    return stdout.width


def duration(seconds: float | None) -> str:
    """Returns seconds for people: 4.2 s, 3 min, 2.5 h, 3 d."""
    if seconds is None:
        return NOTHING
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    for unit, length_s in (("min", 60), ("h", 3600), ("d", 86_400)):
        value = seconds / length_s
        if value < 100 or unit == "d":
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return NOTHING


def size(count: int | None) -> str:
    """Returns bytes for people, in GiB or MiB."""
    if not count:
        return NOTHING
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def _memory(row: Row) -> str:
    held, total = row["memory_bytes"], row["device_bytes"]
    if not held or not total:
        return size(held)
    return f"{size(held)} ({held / total:.0%})"


def _lane_state(row: Row) -> str:
    if not row["paused"]:
        return ""
    since_s = time.time() - (row["paused_since_ms"] or 0) / 1000
    by = f" by {row['paused_by']}" if row["paused_by"] else ""
    return f"paused {duration(max(0.0, since_s))}{by}"


def _worker_note(row: Row) -> str:
    if row["drain"]:
        return f"by {row['drain']['by']}" if row["drain"]["by"] else ""
    return str(row["reason"])


LANE_COLUMNS = (
    Column("bundle", lambda row: row["bundle"], from_width=50),
    Column("lane", lambda row: row["lane"]),
    Column("queued", lambda row: str(row["queued"]), right=True),
    Column("running", lambda row: str(row["running"]), right=True),
    Column("oldest", lambda row: duration(row["oldest_s"]), right=True),
    Column("new job in", lambda row: duration(row["eta_s"]), right=True, from_width=60),
    Column("", _lane_state, style=lambda row: "yellow"),
)
WORKER_COLUMNS = (
    Column("worker", lambda row: row["name"]),
    Column("state", lambda row: row["state"], style=lambda row: STATE_STYLES.get(row["state"], "")),
    Column("bundle", lambda row: f"{row['bundle']} {row['bundle_version']}".strip(), from_width=80),
    Column("device", lambda row: row["device"] or NOTHING, from_width=100),
    Column("jobs", lambda row: str(row["in_hand"]), right=True),
    Column("ended", lambda row: str(row["jobs_ended"]), right=True, from_width=90),
    Column("steps/s", lambda row: f"{row['steps_per_s']:.1f}", right=True, from_width=60),
    Column("memory", lambda row: size(row["memory_bytes"]), right=True, from_width=70),
    Column("", _worker_note, from_width=100, style=lambda row: "yellow"),
)
DEVICE_COLUMNS = (
    Column("host", lambda row: row["host"]),
    Column("device", lambda row: row["device"]),
    Column("name", lambda row: row["name"] or NOTHING, from_width=80),
    Column("driver", lambda row: row["driver"] or NOTHING, from_width=100),
    Column("workers", lambda row: str(row["workers"]), right=True, from_width=60),
    Column("steps/s", lambda row: f"{row['steps_per_s']:.1f}", right=True),
    Column("memory held", _memory, right=True),
    Column("of", lambda row: size(row["device_bytes"]), right=True, from_width=70),
)
