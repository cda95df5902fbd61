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


@dataclass(frozen=True, kw_only=True)
class Report:
    """The degradations found, the passes made, and the reason to stop."""

    degradations: dict[str, float]  # the first assessment, most probable first
    passes: tuple[PassReport, ...]
    stop_reason: str
    """Empty while passes follow, then clean | uncertain | did-not-help | max-passes | prompt-done | nothing-left |
    strength-zero."""
    seed: int
    steps: int
    warnings: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """The repaired degradations, in order."""
        return tuple(entry.label for entry in self.passes if entry.kept)
