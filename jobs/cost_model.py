"""What jobs cost by their size, learned from those that succeeded lately: arithmetic on a list in Redis.

The device seconds of a pass are fixed + per megapixel x megapixels, as those of a step in worker/engine_speed.py.  This
fit is of whole jobs of all workers, so it has what a step leaves out: assessments, first calls, tiles that overlap.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from redis.asyncio import Redis

from jobs import redis_keys
from jobs.spec import Kind

MIN_SPREAD = 0.05
"""Below this relative spread of the sizes, the two terms cannot be told apart: all of the time counts as pixels."""


@dataclass(frozen=True, kw_only=True)
class JobCost:
    """What one job has cost.  `work_s` are seconds of the device, `run_s` those from begin to end."""

    kind: str
    megapixels: float
    passes: int
    steps: int
    work_s: float
    run_s: float

    @property
    def units(self) -> int:
        """Steps of all passes; 1 where nothing was repaired."""
        return max(1, self.passes) * max(1, self.steps)


@dataclass(frozen=True, kw_only=True)
class CostModel:
    """What a job of a bundle and a kind costs.

    Attributes:
        jobs: from how many jobs it is learned.
        fixed_s, s_per_mp: device seconds of a step, and what each megapixel adds.
        passes, steps: of a usual job; steps of a pass.
        overhead_s: seconds beside the device, as of the job with the fewest.
        megapixels: of the smallest and the largest of the jobs.
    """

    jobs: int
    fixed_s: float
    s_per_mp: float
    passes: float
    steps: float
    overhead_s: float
    megapixels: tuple[float, float]

    def device_s(
        self, megapixels: float, max_passes: int | None = None, steps: int | None = None, *, exact: bool = False
    ) -> float:
        """Returns the estimated seconds of the device for one job; `exact`: it runs all of `max_passes`."""
        expected = self.passes if max_passes is None else max_passes if exact else min(self.passes, max_passes)
        passes = max(1.0, expected)
        units = passes * max(1.0, self.steps if steps is None or self.steps <= 1 else steps)
        return units * (self.fixed_s + self.s_per_mp * megapixels)


async def recent_costs(redis: "Redis", bundle: str) -> list[JobCost]:
    """Returns what the last jobs of a bundle have cost; entries of another form are left out."""
    client: Any = redis
    rows = await client.lrange(redis_keys.COSTS + bundle, 0, -1)
    return [cost for cost in map(_read, rows) if cost]


def _read(entry: bytes) -> JobCost | None:
    kind, *numbers = entry.decode(errors="replace").split() or [""]
    if len(numbers) != 5 or not all(number.isdecimal() for number in numbers):
        return None
    pixels, passes, steps, work_ms, run_ms = map(int, numbers)
    return JobCost(
        kind=kind, megapixels=pixels / 1e6, passes=passes, steps=steps, work_s=work_ms / 1000,
        run_s=max(run_ms, work_ms) / 1000,
    )  # fmt: skip


def learn(costs: Sequence[JobCost], kind: Kind) -> CostModel | None:
    """Returns the model of the jobs of this kind; None without one."""
    known = [cost for cost in costs if cost.kind == kind and cost.work_s > 0 and cost.megapixels > 0]
    if not known:
        return None
    fixed_s, s_per_mp = _fit([(cost.megapixels, cost.work_s / cost.units) for cost in known])
    sizes = [cost.megapixels for cost in known]
    return CostModel(
        jobs=len(known), fixed_s=fixed_s, s_per_mp=s_per_mp, passes=fmean(max(1, cost.passes) for cost in known),
        steps=fmean(max(1, cost.steps) for cost in known), megapixels=(min(sizes), max(sizes)),
        overhead_s=min(cost.run_s - cost.work_s for cost in known),
    )  # fmt: skip


def _fit(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Returns fixed and slope, both at least 0, of least squares with errors that grow with the seconds."""
    weights = [1 / seconds**2 for _, seconds in points]
    total = math.fsum(weights)
    mean_mp = math.fsum(w * mp for w, (mp, _) in zip(weights, points, strict=True)) / total
    mean_s = math.fsum(w * s for w, (_, s) in zip(weights, points, strict=True)) / total
    variance = math.fsum(w * (mp - mean_mp) ** 2 for w, (mp, _) in zip(weights, points, strict=True)) / total
    if variance < (MIN_SPREAD * mean_mp) ** 2:
        return 0.0, mean_s / mean_mp
    both = math.fsum(w * (mp - mean_mp) * (s - mean_s) for w, (mp, s) in zip(weights, points, strict=True)) / total
    square = math.fsum(w * mp**2 for w, (mp, _) in zip(weights, points, strict=True))
    product = math.fsum(w * mp * s for w, (mp, s) in zip(weights, points, strict=True))
    slope = min(max(both / variance, 0.0), product / square)  # the bounds where one of the terms is 0
    return max(0.0, mean_s - slope * mean_mp), slope
