"""How much a measurement grows in a day, and how sure that is: pure arithmetic on a series.

The slope is that of ordinary least squares.  Samples of a process follow each other (memory that was taken stays
taken), so the usual error of the slope would be too small.  The interval is that of Santer et al. (2000), "Statistical
significance of trends": the correlation r of neighboring residuals leaves n (1 - r) / (1 + r) independent samples, and
Student's t has that number less two.  A short series hides a part of its correlation: r is raised by (1 + 4 r) / n.

A series that moves in steps, as memory does, still makes the interval too narrow: on random walks 82 to 86 % of the
intervals hold the truth, where 95 % should.  Only a longer run helps; `reach_percent` says what a run could see at all.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

DAY_S = 86_400.0
LEAST_SAMPLES = 8
MOST_CORRELATION = 0.98
LEAST_INDEPENDENT = 4.0


@dataclass(frozen=True)
class Slope:
    """Growth of a day in percent of the mean, with an interval of 95 %.

    Attributes:
        mean: of the samples, in their unit.
        percent, low, high: of the mean, in a day.
    """

    mean: float
    percent: float
    low: float
    high: float

    @property
    def reach_percent(self) -> float:
        """Half of the interval: smaller growth cannot be told from none by this run."""
        return (self.high - self.low) / 2

    def verdict(self, goal_percent: float) -> str:
        """Returns "grows" (surely above the goal), "holds" (surely at most the goal) or "open"."""
        if self.low > goal_percent:
            return "grows"
        return "holds" if self.high <= goal_percent else "open"


def slope(times_s: Sequence[float], values: Sequence[float]) -> Slope:
    """Returns the growth of a series of positive values.

    Raises:
        ValueError: there are fewer than LEAST_SAMPLES samples, their times do not rise, or a value is not finite.
    """
    times, series = np.asarray(times_s, float), np.asarray(values, float)
    count = len(series)
    if count < LEAST_SAMPLES or len(times) != count:
        raise ValueError(f"got {len(times)} times and {count} values, expected at least {LEAST_SAMPLES} of both")
    if not (np.isfinite(series).all() and (np.diff(times) > 0).all()):
        raise ValueError("expected finite values at rising times")
    mean, centered = float(series.mean()), times - times.mean()
    per_s = float(centered @ series / (centered @ centered))
    residuals = series - mean - per_s * centered
    squares = float(residuals @ residuals)
    independent = independent_samples(float(residuals[1:] @ residuals[:-1]) / squares if squares else 0.0, count)
    error = math.sqrt(squares / (independent - 2) / float(centered @ centered))
    half = student_quantile(independent - 2) * error
    day = 100 * DAY_S / mean if mean else 0.0
    return Slope(mean, per_s * day, (per_s - half) * day, (per_s + half) * day)


def independent_samples(correlation: float, count: int) -> float:
    """Returns how many independent samples are worth as much as `count` with this correlation between neighbors."""
    raised = min(max(correlation + (1 + 4 * correlation) / count, 0.0), MOST_CORRELATION)
    return max(count * (1 - raised) / (1 + raised), LEAST_INDEPENDENT)


def student_quantile(freedom: float, share: float = 0.975) -> float:
    """Returns a quantile of Student's t by its expansion (Abramowitz and Stegun 26.7.5), within 1 % from 2 degrees."""
    z = NormalDist().inv_cdf(share)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92_160,
    )
    return z + sum(term / freedom**power for power, term in enumerate(terms, 1))
