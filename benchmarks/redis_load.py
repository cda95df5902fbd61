"""What a Redis has done between two moments, as it says itself (INFO): CPU time, commands and bytes."""

from dataclasses import dataclass
from typing import Any


async def main_thread_us(redis: Any) -> float:  # noqa: ANN401 - redis-py annotates for sync and async clients at once
    """Returns the CPU time of the main thread since its start, in microseconds.

    Threads that free memory in the background are left out.
    """
    info = await redis.info("cpu")
    return 1e6 * float(info["used_cpu_user_main_thread"] + info["used_cpu_sys_main_thread"])


@dataclass(frozen=True, kw_only=True)
class Load:
    """Of one Redis, or the sum of several.

    Attributes:
        cpu_s: of the main thread.
        calls: of each command that clients sent, scripts by `evalsha`; commands inside scripts count, too.
        microseconds: of each command, by a clock: on a busy machine they are more than the CPU time.
        in_bytes: from clients.
        out_bytes: to clients.
    """

    cpu_s: float
    calls: dict[str, int]
    microseconds: dict[str, int]
    in_bytes: int
    out_bytes: int

    def __sub__(self, earlier: "Load") -> "Load":
        return Load(
            cpu_s=self.cpu_s - earlier.cpu_s, in_bytes=self.in_bytes - earlier.in_bytes,
            out_bytes=self.out_bytes - earlier.out_bytes,
            calls={name: number - earlier.calls.get(name, 0) for name, number in self.calls.items()},
            microseconds={name: us - earlier.microseconds.get(name, 0) for name, us in self.microseconds.items()},
        )  # fmt: skip

    def __add__(self, other: "Load") -> "Load":
        names = self.calls.keys() | other.calls.keys()
        return Load(
            cpu_s=self.cpu_s + other.cpu_s, in_bytes=self.in_bytes + other.in_bytes,
            out_bytes=self.out_bytes + other.out_bytes,
            calls={name: self.calls.get(name, 0) + other.calls.get(name, 0) for name in names},
            microseconds={name: self.microseconds.get(name, 0) + other.microseconds.get(name, 0) for name in names},
        )  # fmt: skip


NO_LOAD = Load(cpu_s=0.0, calls={}, microseconds={}, in_bytes=0, out_bytes=0)


async def load_of(redis: Any) -> Load:  # noqa: ANN401
    """Returns what a Redis has done since its start."""
    stats, traffic = await redis.info("commandstats"), await redis.info("stats")
    commands = {name.removeprefix("cmdstat_"): entry for name, entry in stats.items()}
    return Load(
        cpu_s=await main_thread_us(redis) / 1e6,
        calls={name: int(entry["calls"]) for name, entry in commands.items()},
        microseconds={name: int(entry["usec"]) for name, entry in commands.items()},
        in_bytes=int(traffic["total_net_input_bytes"]),
        out_bytes=int(traffic["total_net_output_bytes"]),
    )
