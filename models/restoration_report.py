"""The report of a restoration: what was understood, found and done, how much it changed, and why it stopped.

Torch-free.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Change:
    """How much an image differs from another, in levels of 8 bits (0 to 255).

    `share` (0 to 1) counts the pixels of which a channel has another value with 8 bits.
    """

    mean_levels: float
    max_levels: float
    share: float


@dataclass(frozen=True, kw_only=True)
class Understood:
    """How a prompt was understood.

    Attributes:
        label: the first repair that it asks for; "clean" where it asks for none, "auto" where the service chooses.  Of
            a free prompt, the name that it resembles most.
        score: how surely, 0 to 1.
        ignored: words that have no part in this.
        used: what reached the network: the "text" itself, only the "label", or "nothing".
        answer: what the words mean (models.words.wish): "repairs", "nothing", "auto" or "unknown"; "" where it was not
            asked.
        repairs: in the user's order, also those that the bundle cannot do.
        kept: what the user wants left alone.
        language: two letters; "" where no word was known.
        sure: how surely the words mean this, 0 to 1; 0 for "unknown" where no word was known.
    """

    label: str
    score: float
    ignored: tuple[str, ...] = ()
    used: Literal["text", "label", "nothing"] = "text"
    answer: str = ""
    repairs: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    language: str = ""
    sure: float = 0.0


@dataclass(frozen=True, kw_only=True)
class PassReport:
    """One pass of the loop: what was repaired, at whose request, by which network, and whether the result was kept."""

    label: str
    source: str  # "auto" | "user" (a prompt) | "scale" (low resolution, because the photo was enlarged)
    by: str  # "diffusion", "network" (a one-step network), or "specialist NAME"
    probability_before: float
    probability_after: float | None  # None if the result was not assessed
    kept: bool
    seconds: float
    max_change_levels: float | None = None
    """The largest change of a channel value in the result, in levels of 8 bits; None if it was not measured."""
    mean_change_levels: float | None = None
    """The mean change of all channel values, likewise."""
    changed_share: float | None = None
    """The share of pixels, 0 to 1, of which a channel has another value with 8 bits."""

    @property
    def visible(self) -> bool:
        """Whether one can see the change; true if it was not measured."""
        return self.max_change_levels is None or is_visible(self.max_change_levels, self.mean_change_levels)

    @property
    def drawn(self) -> bool:
        """Whether a diffusion model drew its pixels, from noise that depends on the seed."""
        return self.by == DIFFUSION


def is_visible(max_levels: float, mean_levels: float | None) -> bool:
    """Returns whether a change of at most and on average so many levels of 8 bits can be seen.

    It cannot below one level; if the mean is below one, it takes a place where the change is large.
    """
    return max_levels > 1 and (mean_levels is None or mean_levels >= 1 or max_levels >= LARGE_LEVELS)


LARGE_LEVELS = 16
DIFFUSION = "diffusion"


@dataclass(frozen=True, kw_only=True)
class Report:
    """The degradations found, the passes made, and the reason to stop."""

    degradations: dict[str, float]  # the first assessment, most probable first; empty at strength 0
    passes: tuple[PassReport, ...]
    stop_reason: str
    """Empty while passes follow, then one of:

    - clean: "clean" is the most probable of all names;
    - still-degraded: the most probable name is a degradation that was repaired before, or that the controls exclude;
    - uncertain: no degradation is probable enough for a repair;
    - did-not-help: the last pass was undone;
    - out-of-bounds: the last pass was undone, because it moved more than such a repair may (models.safety.bounds);
    - strength-zero: the input was asked for, and nothing looked at it;
    - not-a-photograph: a blank frame, graphics, a page of text or stars (models.safety.photographs); likewise;
    - nothing-asked: the prompt asks for no repair, and nothing looked at the input;
    - prompt-done: all that the prompt asks for was done;
    - max-passes, nothing-left.
    """
    seed: int
    steps: int
    warnings: tuple[str, ...] = ()
    understood: Understood | None = None  # of a prompt
    change: Change | None = None  # of the result against the input; None while passes follow
    checked: tuple[str, ...] = ()
    """What the result was compared for, and would have a warning about: "text", "faces"."""
    credit: str = ""  # whom to name beside the result, by the bundle's manifest

    @property
    def labels(self) -> tuple[str, ...]:
        """The degradations whose repair can be seen, in order."""
        return tuple(entry.label for entry in self.passes if entry.kept and entry.visible)

    @property
    def draws_noise(self) -> bool:
        """Whether another seed could give another result."""
        return any(entry.drawn for entry in self.passes)
