"""Decides what the iterative loop does next, from probabilities alone.

Published rule (arXiv:2310.10123, section 3.4): repair the most probable of the remaining classes; 'no' stops before
restoring; a repaired class leaves the list, so no repair repeats.  The safe default also wants a minimum of confidence,
and takes back a repair that did not help.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models.controls import renormalized
from models.vocabulary import CLEAN


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The next repair, or the reason to stop; `probabilities` are a softmax over the remaining names."""

    probabilities: dict[str, float]
    label: str | None = None
    stop: str | None = None  # clean | still-degraded | uncertain | nothing-left


def choose(
    probabilities: dict[str, float], remaining: Sequence[str], floor: float, floors: Mapping[str, float] | None = None
) -> Choice:
    """Returns the most probable of the remaining names, or a reason to stop.

    `floor` in [0, 1] is the least probability of any repair; `floors` holds higher ones for single names.
    """
    left = renormalized(probabilities, remaining)
    label = max(left, key=lambda name: left[name])
    if tuple(remaining) == (CLEAN,):
        return Choice(probabilities=left, stop="nothing-left")
    if label == CLEAN or left[label] < max(floor, (floors or {}).get(label, 0.0)):
        # A repaired degradation that is still found has left the list, but not the picture
        found = max(probabilities, key=lambda name: probabilities[name])
        stop = "still-degraded" if found not in remaining else "clean" if label == CLEAN else "uncertain"
        return Choice(probabilities=left, stop=stop)
    return Choice(probabilities=left, label=label)


def improved(label: str, before: dict[str, float], after: dict[str, float]) -> bool:
    """Whether to keep a pass: the repaired degradation is less probable than before, or "clean" is more probable."""
    return after[label] < before[label] or after[CLEAN] > before[CLEAN]
