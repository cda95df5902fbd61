"""Which tracks step next: a pure function, no clock, no tensors."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A track as the picking sees it.  `lane` 0 goes first; `since_s` is when its job arrived."""

    lane: int
    since_s: float
    shape: tuple[int, ...]

    @property
    def megapixels(self) -> float:
        return self.shape[-2] * self.shape[-1] / 1e6


@dataclass(frozen=True, kw_only=True)
class Limits:
    """`together` images at most, of `megapixels` at most; one image always goes."""

    together: int
    megapixels: float


def next_step(waiting: Sequence[Waiting], limits: Limits) -> list[int]:
    """The indices of the tracks to advance now.

    The first lane's oldest decides the shape; others of its shape ride along in the same order, at whatever step they
    stand, as far as the budget goes.
    """
    order = sorted(range(len(waiting)), key=lambda i: (waiting[i].lane, waiting[i].since_s, i))
    if not order:
        return []
    shape = waiting[order[0]].shape
    alike = [i for i in order if waiting[i].shape == shape]
    fit = max(1, int(limits.megapixels / max(waiting[order[0]].megapixels, 1e-6)))
    return alike[: max(1, min(limits.together, fit))]
