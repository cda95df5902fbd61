"""What several servers know together: workers, pauses, counters, and a bundle's line."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from jobs.backlog import Backlog
from jobs.counters import Counters
from jobs.errors import UnknownName
from jobs.forecast import LineSnapshot
from jobs.lane_pauses import LanePauses, known_lane
from jobs.record import OperatorMark, WorkerInfo
from jobs.shards.shard import Shard
from jobs.shards.shards import Shards
from jobs.spec import LANES, Lane
from jobs.worker_registry import WorkerRegistry


class ShardedWorkers(WorkerRegistry):
    """The workers of all shards.  A worker leases from all, so it is announced on each, and counts once."""

    def __init__(self, shards: Shards) -> None:
        self.shards = shards

    async def announce(self, *infos: WorkerInfo) -> None:
        await self.shards.tell(lambda shard: shard.queue.workers.announce(*infos))

    async def withdraw(self, name: str, bundles: Sequence[str]) -> None:
        await self.shards.tell(lambda shard: shard.queue.workers.withdraw(name, bundles))

    async def alive(self) -> list[WorkerInfo]:
        """Returns the workers that are alive; of one with several entries the one that says most against it.

        A worker drains where a shard knows the order; it is drained only where every shard says so.
        """
        found: dict[tuple[str, str], WorkerInfo] = {}
        for _, infos in await self.shards.ask(lambda shard: shard.queue.workers.alive()):
            for info in infos:
                before = found.get((info.name, info.bundle))
                found[info.name, info.bundle] = info if before is None else _together(before, info)
        return [info for _, info in sorted(found.items())]

    async def drains(self) -> dict[str, OperatorMark]:
        marks: dict[str, OperatorMark] = {}
        for _, known in await self.shards.ask(lambda shard: shard.queue.workers.drains()):
            marks |= known
        return marks

    async def drain(self, name: str, by: str) -> list[WorkerInfo]:
        await self._order(lambda shard: shard.queue.workers.drain(name, by))
        return _of(name, await self.alive())

    async def resume(self, name: str) -> list[WorkerInfo]:
        await self._order(lambda shard: shard.queue.workers.resume(name))
        return _of(name, await self.alive())

    async def _order(self, order: Callable[[Shard], Awaitable[object]]) -> None:
        """Give an order on each shard.

        Raises:
            UnknownName: no shard knows the name.
            ShardAway: one does not answer; the others have the order.
        """

        async def tried(shard: Shard) -> UnknownName | None:
            try:
                await order(shard)
            except UnknownName as error:
                return error
            return None

        unknown = await self.shards.tell(tried)
        if unknown and all(unknown):
            raise next(error for error in unknown if error)


def _together(one: WorkerInfo, other: WorkerInfo) -> WorkerInfo:
    drain = one.drain or other.drain
    return one.model_copy(update={"drain": drain, "drained": one.drained and other.drained})


def _of(name: str, workers: Sequence[WorkerInfo]) -> list[WorkerInfo]:
    return [worker for worker in workers if name in (worker.name, worker.host)]


class ShardedPauses(LanePauses):
    """A lane is paused on every shard."""

    def __init__(self, shards: Shards) -> None:
        self.shards = shards

    async def paused(self) -> dict[Lane, OperatorMark]:
        marks: dict[Lane, OperatorMark] = {}
        for _, known in await self.shards.ask(lambda shard: shard.queue.pauses.paused()):
            marks |= {lane: mark for lane, mark in known.items() if lane not in marks}
        return {lane: marks[lane] for lane in LANES if lane in marks}

    async def pause(self, lane: str, by: str) -> OperatorMark:
        known = known_lane(lane)
        marks = await self.shards.tell(lambda shard: shard.queue.pauses.pause(known, by))
        return min(marks, key=lambda mark: mark.since_ms)

    async def resume(self, lane: str) -> bool:
        known = known_lane(lane)
        return any(await self.shards.tell(lambda shard: shard.queue.pauses.resume(known)))


class ShardedCounters(Counters):
    """The sums of the counters.  Of a shard that is away counts what it said last: a counter must not go down."""

    def __init__(self, shards: Shards) -> None:
        self.shards = shards
        self._last: dict[int, Mapping[str, int]] = {}

    async def add(self, name: str, count: int = 1) -> None:
        await self.shards.up[0].queue.counters.add(name, count)

    async def read(self) -> Mapping[str, int]:
        for shard, counters in await self.shards.ask(lambda shard: shard.queue.counters.read()):
            self._last[shard.number] = counters
        sums: dict[str, int] = {}
        for counters in self._last.values():
            for name, value in counters.items():
                sums[name] = sums.get(name, 0) + value
        return sums


def merged_line(lines: Sequence[LineSnapshot]) -> LineSnapshot:
    """Returns the jobs of a bundle on all shards.  It has no place of a job: that is within its own shard."""
    places = [line.new_place for line in lines if line.new_place is not None]
    return LineSnapshot(
        now_ms=max(line.now_ms for line in lines), place=None,
        queued={lane: sum(line.queued[lane] for line in lines) for lane in LANES},
        taken=[job for line in lines for job in line.taken],
        recent_ends=[end for line in lines for end in line.recent_ends],
        paused=frozenset(lane for line in lines for lane in line.paused),
        oldest_ms={
            lane: min(line.oldest_ms[lane] for line in lines if lane in line.oldest_ms)
            for lane in LANES
            if any(lane in line.oldest_ms for line in lines)
        },
        new_place=sum(places) if len(places) == len(lines) else None,
    )  # fmt: skip


def merged_backlog(backlogs: Sequence[Backlog]) -> Backlog:
    """Returns the work for a bundle on all shards: their rates add up."""
    rates = [1 / backlog.seconds_per_job for backlog in backlogs if backlog.seconds_per_job]
    return Backlog(
        queued={str(lane): sum(backlog.queued[str(lane)] for backlog in backlogs) for lane in LANES},
        running=sum(backlog.running for backlog in backlogs),
        seconds_per_job=1 / sum(rates) if rates else None,
    )
