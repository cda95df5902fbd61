"""Decides what the iterative loop does next, from probabilities alone.

Published rule (arXiv:2310.10123, section 3.4): repair the most probable of the remaining classes; 'no' stops before
restoring; a repaired class leaves the list, so no repair repeats.  The safe default judges each repair by its own
probability, wants a minimum of confidence, and takes back a repair that did not help.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models.controls import renormalized
from models.vocabulary import CLEAN


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The next repair, or the reason to stop; `probabilities` of the remaining names, as they were compared."""

    probabilities: dict[str, float]
    label: str | None = None
    stop: str | None = None  # clean | still-degraded | uncertain | nothing-left


def choose_published(probabilities: dict[str, float], remaining: Sequence[str]) -> Choice:
    """Returns the most probable of the remaining names, or a reason to stop, as the published program does.

    Its softmax is over the remaining names, so those that left the list hand their share to the others.
    """
    return _choice(renormalized(probabilities, remaining), probabilities, remaining, 0.0, {})


def choose(
    probabilities: dict[str, float], remaining: Sequence[str], floor: float,
    floors: Mapping[str, float] | None = None, named: Sequence[str] = (),
) -> Choice:  # fmt: skip
    """Returns the most probable of the remaining names by its own probability, or a reason to stop.

    A name that was repaired or skipped keeps its share: what it has does not make another kind of damage probable.

    Args:
        floor: in [0, 1], the least probability of any repair.
        floors: higher ones for single names.
        named: all that the user named with `only`; their word says that there is no other damage.
    """
    considered = [name for name in probabilities if name in named or name == CLEAN] if named else list(probabilities)
    own = renormalized(probabilities, considered)
    return _choice({name: own[name] for name in remaining}, probabilities, remaining, floor, floors or {})


def _choice(
    left: dict[str, float], found: Mapping[str, float], remaining: Sequence[str], floor: float,
    floors: Mapping[str, float],
) -> Choice:  # fmt: skip
    """Returns the choice among `left`; `found` is the whole assessment."""
    if tuple(remaining) == (CLEAN,):
        return Choice(probabilities=left, stop="nothing-left")
    label = max(left, key=lambda name: left[name])
    if label == CLEAN or left[label] < max(floor, floors.get(label, 0.0)):
        # A repaired degradation that is still found has left the list, but not the picture
        most = max(found, key=lambda name: found[name])
        stop = "still-degraded" if most not in remaining else "clean" if label == CLEAN else "uncertain"
        return Choice(probabilities=left, stop=stop)
    return Choice(probabilities=left, label=label)


def improved(label: str, before: dict[str, float], after: dict[str, float]) -> bool:
    """Whether to keep a pass: the repaired degradation is less probable than before, or "clean" is more probable."""
    return after[label] < before[label] or after[CLEAN] > before[CLEAN]
