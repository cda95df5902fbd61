"""Which tracks step next: a pure function, no clock, no tensors."""

from collections.abc import Sequence
from dataclasses import dataclass

HANDICAP = 5.0


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A track as the picking sees it.

    Attributes:
        lane: 0 goes first.
        since_s: when its job arrived.
        shape: tracks of one shape may share a step.
        left_s: the device seconds that its image's pass still needs, as far as one can tell; 0 where one cannot.
    """

    lane: int
    since_s: float
    shape: tuple[int, ...]
    left_s: float = 0.0

    @property
    def turn(self) -> tuple[int, float]:
        """Smaller goes first: lane, then the arrival, later by HANDICAP seconds for each second of work that is left.

        What is nearly done goes first: the median wait under load falls, the 95th percentile rises
        (docs/decisions/0009).  Since the handicap does not grow, nobody is overtaken by what arrives later than that.
        """
        return self.lane, self.since_s + HANDICAP * self.left_s

    @property
    def megapixels(self) -> float:
        return self.shape[-2] * self.shape[-1] / 1e6


@dataclass(frozen=True, kw_only=True)
class Limits:
    """`together` images at most, of `megapixels` at most; one image always goes."""

    together: int
    megapixels: float


def first(waiting: Sequence[Waiting]) -> int:
    """The index of the one whose turn it is."""
    return min(range(len(waiting)), key=lambda i: (*waiting[i].turn, i))


def next_step(waiting: Sequence[Waiting], limits: Limits) -> list[int]:
    """The indices of the tracks to advance now.

    The one whose turn it is decides the shape; others of its shape ride along in the same order, at whatever step they
    stand, as far as the budget goes.
    """
    order = sorted(range(len(waiting)), key=lambda i: (*waiting[i].turn, i))
    if not order:
        return []
    shape = waiting[order[0]].shape
    alike = [i for i in order if waiting[i].shape == shape]
    fit = max(1, int(limits.megapixels / max(waiting[order[0]].megapixels, 1e-6)))
    return alike[: max(1, min(limits.together, fit))]
