"""What the iterative loop does next: pure decisions over probabilities, no tensors, no clock.

Published (arXiv:2310.10123, section 3.4): repair the most probable of the remaining classes; 'no' stops before
restoring; a repaired class leaves the list, so none repeats.  The safe default adds a floor of confidence and a look
back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models.errors import ControlsError
from models.vocabulary import CLEAN, names


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The next repair, or why there is none; `probabilities` are those of the softmax over the remaining names."""

    probabilities: dict[str, float]
    label: str | None = None
    stop: str | None = None  # clean | uncertain | nothing-left


def considered(known: Sequence[str], only: Sequence[str], skip: Sequence[str]) -> tuple[str, ...]:
    """The names that the assessor may answer with, in the bundle's order, "clean" always among them.

    Raises:
        ControlsError: a word is no degradation, the bundle cannot repair it, or nothing is left to consider.
    """
    wanted, unwanted = names(only), names(skip)
    for name in (*wanted, *unwanted):
        if name not in known:
            there = ", ".join(entry for entry in known if entry != CLEAN)
            raise ControlsError(f"this bundle does not know {name!r}; it knows {there}")
    left = tuple(n for n in known if n == CLEAN or ((not wanted or n in wanted) and n not in unwanted))
    if left == (CLEAN,):
        raise ControlsError("only and skip leave nothing to consider; take a name out of skip")
    return left


def among(probabilities: dict[str, float], allowed: Sequence[str]) -> dict[str, float]:
    """The probabilities of a softmax over fewer names: those of the full one, renormalized."""
    total = sum(probabilities[name] for name in allowed)
    if total <= 0:
        return {name: 1 / len(allowed) for name in allowed}
    return {name: probabilities[name] / total for name in allowed}


def choose(
    probabilities: dict[str, float], remaining: Sequence[str], floor: float, floors: Mapping[str, float] | None = None
) -> Choice:
    """The most probable of the remaining names.

    `floor` in [0, 1] is the confidence that a repair needs, `floors` what some need beyond it.
    """
    left = among(probabilities, remaining)
    label = max(left, key=lambda name: left[name])
    if tuple(remaining) == (CLEAN,):
        return Choice(probabilities=left, stop="nothing-left")
    if label == CLEAN:
        return Choice(probabilities=left, stop="clean")
    if left[label] < max(floor, (floors or {}).get(label, 0.0)):
        return Choice(probabilities=left, stop="uncertain")
    return Choice(probabilities=left, label=label)


def helped(label: str, before: dict[str, float], after: dict[str, float]) -> bool:
    """Whether a pass may be kept: the assessor sees less of what was repaired, or a cleaner image, than before."""
    return after[label] < before[label] or after[CLEAN] > before[CLEAN]
