"""How much memory this process may use: the machine's, within the limits of every control group that it is in.

Control groups nest, and a limit of any group on the way to the root counts.  Version 1 has a file system for memory
alone, version 2 one for everything; a machine may have both.  In a container the root that it sees is its own group,
whose path, as /proc names it, does not exist there: then the files at the root count.

`root` is the folder that holds /proc and /sys, so that tests bring their own.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")
UNLIMITED_BYTES = 1 << 60
"""Version 1 writes a number near 2^63 where there is no limit."""


@dataclass(frozen=True)
class Memory:
    """Bytes that a new process can have, and the limit; `limit` None: only the machine's own memory limits."""

    available_bytes: int
    limit_bytes: int | None


def memory(root: Path = ROOT) -> Memory:
    """Returns the memory that can still be had: free and reclaimable, within all limits."""
    groups = [(limit, used) for folder in _groups(root) if (limit := _limit(folder)) for used in (_used(folder),)]
    available = [max(0, limit - used) for limit, used in groups]
    limit_bytes = min((limit for limit, _ in groups), default=None)
    return Memory(min([_machine_available(root), *available]), limit_bytes)


def oom_kills(root: Path = ROOT) -> int | None:
    """Returns how often the kernel has killed a process for lack of memory, in our groups or on the machine.

    None: nothing here counts them.  Only a change of the number means something.
    """
    counts = [_field(folder / name, "oom_kill") for folder in _groups(root) for name in OOM_FILES]
    counts.append(_field(root / "proc/vmstat", "oom_kill"))
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


OOM_FILES = ("memory.events", "memory.oom_control")


def _groups(root: Path) -> Iterator[Path]:
    """Yields the folders of our memory groups, from our own up to the root of each version."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers == "":
            tops = [root / "sys/fs/cgroup", root / "sys/fs/cgroup/unified"]
        elif "memory" in controllers.split(","):
            tops = [root / "sys/fs/cgroup/memory", root / "sys/fs/cgroup" / controllers]
        else:
            continue
        parts = [part for part in path.split("/") if part not in ("", ".", "..")]
        for top in dict.fromkeys(tops):
            for depth in range(len(parts), -1, -1):
                if (folder := top.joinpath(*parts[:depth])).is_dir():
                    yield folder


def _limit(folder: Path) -> int | None:
    """Returns the limit of a group in bytes, None where it has none.  Swap and `memory.high` are not our concern."""
    known = [_number(folder / name) for name in ("memory.max", "memory.limit_in_bytes")]
    return min((limit for limit in known if limit is not None and limit < UNLIMITED_BYTES), default=None)


def _used(folder: Path) -> int:
    """Returns the bytes that a group holds and cannot give back: without the file cache that the kernel can drop."""
    used = _number(folder / "memory.current")
    inactive = _field(folder / "memory.stat", "inactive_file")
    if used is None:
        used = _number(folder / "memory.usage_in_bytes")
        inactive = _field(folder / "memory.stat", "total_inactive_file")
    return max(0, (used or 0) - (inactive or 0))


def _machine_available(root: Path) -> int:
    fields = dict(line.split(":", 1) for line in _text(root / "proc/meminfo").splitlines() if ":" in line)
    if "MemAvailable" in fields:
        return int(fields["MemAvailable"].split()[0]) * 1024
    return installed_bytes()  # macOS: only the installed memory is known


def installed_bytes() -> int:
    """Returns the memory of the machine, whatever a control group allows."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdigit() else None  # "max" is no number


def _field(path: Path, name: str) -> int | None:
    """Returns a number of a file with lines `name number`."""
    for line in _text(path).splitlines():
        key, _, value = line.partition(" ")
        if key == name and value.strip().isdigit():
            return int(value)
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
