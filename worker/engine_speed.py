"""How long a step takes: seconds = fixed + per megapixel x megapixels, learned while the engine works.

A weighted least-squares fit whose older samples fade, so that it follows a device that gets slower or faster.  It is
pure: no clock, no tensors.
"""

from collections import OrderedDict
from collections.abc import Hashable

KEPT = 0.995
"""The share of its weight that a sample keeps with each newer one: about the last 200 samples count."""
SLOW, SLOW_AT_FIRST = 4.0, 1.5
"""Samples of more than so many times the expected seconds are left out; for the first call of a shape the second holds.

A first call builds caches or chooses kernels, and a third one may capture a CUDA graph."""
REFUSED_IN_A_ROW = 8
"""So many slow samples one after another are no exceptions: the device has become slower, and the fit begins again."""
SHAPES_KNOWN = 1024
MIN_SPREAD = 0.05
"""Below this relative spread of the sizes, the two terms cannot be told apart: their ratio is kept."""


class StepSpeed:
    """The two terms for one bundle; both are 0 until the first sample, and never negative."""

    def __init__(self) -> None:
        self.fixed_s = 0.0
        self.s_per_mp = 0.0
        self._shapes: OrderedDict[Hashable, None] = OrderedDict()
        self._refused = 0
        self._forget()

    def expected_s(self, megapixels: float) -> float:
        """Returns the seconds of a step of this size; 0 while nothing is known."""
        return self.fixed_s + self.s_per_mp * megapixels

    def learn(self, shape: Hashable, megapixels: float, seconds: float) -> None:
        """Take one step into account; `shape` tells the first call of each shape, which may be slow, from the others.

        Durations that cannot be (not above 0, as after a jump of the clock) change nothing.
        """
        if not (seconds > 0 and megapixels > 0):
            return
        limit = SLOW if self._knows(shape) else SLOW_AT_FIRST
        if self._weight and seconds > limit * self.expected_s(megapixels):
            self._refused += 1
            if self._refused < REFUSED_IN_A_ROW:
                return
            self._forget()
        self._refused = 0
        self._add(megapixels, seconds)
        self._fit()

    def _knows(self, shape: Hashable) -> bool:
        known = shape in self._shapes
        self._shapes[shape] = None
        self._shapes.move_to_end(shape)
        if len(self._shapes) > SHAPES_KNOWN:
            self._shapes.popitem(last=False)
        return known

    def _forget(self) -> None:
        self._weight = self._x = self._y = self._xx = self._xy = 0.0

    def _add(self, megapixels: float, seconds: float) -> None:
        # Errors grow with the duration, so a sample counts by its square: small steps alone show the fixed part
        weight = 1 / max(self.expected_s(megapixels) if self._weight else 0.0, seconds) ** 2
        self._weight = KEPT * self._weight + weight
        self._x = KEPT * self._x + weight * megapixels
        self._y = KEPT * self._y + weight * seconds
        self._xx = KEPT * self._xx + weight * megapixels**2
        self._xy = KEPT * self._xy + weight * megapixels * seconds

    def _fit(self) -> None:
        mean_mp, mean_s = self._x / self._weight, self._y / self._weight
        variance = max(0.0, self._xx / self._weight - mean_mp**2)
        if variance < (MIN_SPREAD * mean_mp) ** 2:
            self._scale_to(mean_mp, mean_s)
            return
        slope = (self._xy / self._weight - mean_mp * mean_s) / variance
        self.s_per_mp = min(max(slope, 0.0), self._xy / self._xx)  # the bounds where one of the terms is 0
        self.fixed_s = max(0.0, mean_s - self.s_per_mp * mean_mp)

    def _scale_to(self, megapixels: float, seconds: float) -> None:
        """Keep the ratio of the terms; before there is one, all of the time counts as work on pixels."""
        expected_s = self.expected_s(megapixels)
        if expected_s == 0:
            self.s_per_mp = seconds / megapixels
            return
        self.fixed_s *= seconds / expected_s
        self.s_per_mp *= seconds / expected_s
