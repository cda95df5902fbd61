"""The report of a restoration: what was found, what was done, and why it stopped.  Torch-free."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PassReport:
    """One pass of the loop: what was repaired, at whose request, by which network, and whether the result was kept."""

    label: str
    source: str  # "auto" | "user"
    by: str  # "diffusion", "network" (a one-step network), or "specialist NAME"
    probability_before: float
    probability_after: float | None  # None if the result was not assessed
    kept: bool
    seconds: float
    max_change_levels: float | None = None
    """The largest change of a channel value in the result, in levels of 8 bits; None if it was not measured."""

    @property
    def visible(self) -> bool:
        """Whether a pixel changed by more than one level of 8 bits; true if the change was not measured."""
        return self.max_change_levels is None or self.max_change_levels > 1


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
    - strength-zero: the input was asked for, and nothing looked at it;
    - max-passes, prompt-done, nothing-left.
    """
    seed: int
    steps: int
    warnings: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """The degradations whose repair can be seen, in order."""
        return tuple(entry.label for entry in self.passes if entry.kept and entry.visible)
