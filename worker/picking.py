"""Chooses the tracks of the next step: a pure function, without clock and tensors."""

from collections.abc import Sequence
from dataclasses import dataclass

HANDICAP = 5.0
"""Seconds by which a track's turn is later, for each second of work that its image's pass still needs."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A track that may take the next step.

    Attributes:
        lane: 0 goes first.
        since_s: when its job arrived.
        shape: tracks of one shape may share a step.
        left_s: estimated device seconds that its image's pass still needs; 0 where that is unknown.
    """

    lane: int
    since_s: float
    shape: tuple[int, ...]
    left_s: float = 0.0

    @property
    def turn(self) -> tuple[int, float]:
        """Smaller goes first: the lane, then the arrival plus the handicap.

        Tracks that are nearly done go first: the median wait under load falls, and the 95th percentile rises
        (docs/decisions/0009).  The handicap does not grow, so no track is overtaken by jobs that arrive later than it.
        """
        return self.lane, self.since_s + HANDICAP * self.left_s

    @property
    def megapixels(self) -> float:
        return self.shape[-2] * self.shape[-1] / 1e6


@dataclass(frozen=True, kw_only=True)
class BatchLimits:
    """At most `max_batch` images, of `megapixels` in all; a single image is always allowed."""

    max_batch: int
    megapixels: float


def first_in_turn(candidates: Sequence[Candidate]) -> int:
    """Returns the index of the candidate whose turn it is."""
    return min(range(len(candidates)), key=lambda i: (*candidates[i].turn, i))


def pick_batch(candidates: Sequence[Candidate], limits: BatchLimits) -> list[int]:
    """Returns the indices of the tracks to advance now.

    The candidate whose turn it is decides the shape.  Others of its shape join in the same order, whatever step they
    are at, within the limits.
    """
    order = sorted(range(len(candidates)), key=lambda i: (*candidates[i].turn, i))
    if not order:
        return []
    shape = candidates[order[0]].shape
    alike = [i for i in order if candidates[i].shape == shape]
    fit = max(1, int(limits.megapixels / max(candidates[order[0]].megapixels, 1e-6)))
    return alike[: max(1, min(limits.max_batch, fit))]
