"""The seam between a family of restoration systems and whatever drives it (the command line's loop, a worker's engine).

A family assesses images, begins them as tracks, advances any mix of tracks by one denoising step, and finishes a
track's pass.  A **track** is one image, or one tile of one, on its way through the denoiser.  Because `step` takes
tracks that stand at different steps, the driver batches per step and not per job; because noise belongs to the track, a
result never depends on who shared the batch.

Shapes:  H W pixels, L D text tokens and width.  Images are RGB float32 (3, H, W) in [-1, 1], in host memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from models.color import match_colors
from models.errors import ControlsError


@dataclass(frozen=True, kw_only=True)
class Controls:
    """The user's words.  None means the bundle's default.

    Attributes:
        prompt: any words; one pass with them as the condition, no assessment of what to repair.
        only: degradation names to consider; empty for all.
        skip: degradation names never to repair.
        strength: 0 returns the input pixel for pixel, 1 the full restoration.
        fidelity: the SCM weight w in [0, 1]; 1 stays closest to the input.
        max_passes: at most so many passes of the loop, at least 1.
        steps: denoising steps a pass, 1 to 1000.
        seed: the same seed gives the same bytes on one device.
        color_fix: give each channel of the result the mean and the deviation of the input's (AdaIN), as the published
            program does on request.  It takes back a drift of colors, and the repair of low light and haze with it.
        strict: the published program to the letter (center-crop view, no clamping, no confidence floor).
        text_guidance, image_guidance: InstructPix2Pix scales from 0 to 30; 1 and 1 need one network call a step
            instead of three.
    """

    prompt: str | None = None
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    strength: float = 1.0
    fidelity: float | None = None
    max_passes: int | None = None
    steps: int | None = None
    seed: int = 0
    color_fix: bool = False
    strict: bool = False
    text_guidance: float = 1.0
    image_guidance: float = 1.0

    def __post_init__(self) -> None:
        _within("strength", self.strength, 0.0, 1.0)
        _within("fidelity", self.fidelity, 0.0, 1.0)
        _within("max_passes", self.max_passes, 1, 100)
        _within("steps", self.steps, 1, 1000)
        _within("text_guidance", self.text_guidance, 0.0, 30.0)
        _within("image_guidance", self.image_guidance, 0.0, 30.0)
        _within("seed", self.seed, 0, 2**63 - 1)


def _within(name: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not low <= value <= high:
        raise ControlsError(f"got {name} {value}, expected {low} to {high}")


@dataclass(frozen=True, kw_only=True)
class Request:
    """One image to restore and what its user said."""

    image: Tensor  # (3, H, W) float32 in [-1, 1]
    controls: Controls = field(default_factory=Controls)
    tile_px: int | None = None  # the largest side that goes through whole, where memory is short; None: the bundle's


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """What is wrong with an image: a probability per name (with "clean" they sum to 1), the denoiser's condition."""

    probabilities: dict[str, float]
    condition: Tensor  # (L, D)

    @property
    def label(self) -> str:
        return max(self.probabilities, key=lambda name: self.probabilities[name])


@dataclass(frozen=True, kw_only=True)
class PassReport:
    """One pass of the loop: what was repaired, who asked for it, by what, and whether it helped."""

    label: str
    source: str  # "auto" | "user"
    by: str  # "diffusion", "network" for one that answers in one step, or "specialist NAME"
    probability_before: float
    probability_after: float | None  # None when nothing assessed the result
    kept: bool
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was found, what was done, and why it stopped."""

    degradations: dict[str, float]  # the first assessment, most probable first
    passes: tuple[PassReport, ...]
    stop_reason: str
    """Empty while it goes on, then clean | uncertain | did-not-help | max-passes | prompt-done | nothing-left |
    strength-zero."""
    seed: int
    steps: int
    warnings: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """What was repaired, in order."""
        return tuple(entry.label for entry in self.passes if entry.kept)


def delivered(original: Tensor, result: Tensor, controls: Controls) -> Tensor:
    """What the user gets of a result: with the input's colors where asked for, mixed with the input by `strength`."""
    if controls.color_fix and result is not original:  # what was not touched stays as it is, to the bit
        result = match_colors(result, original)
    return result if controls.strength == 1 else torch.lerp(original, result, controls.strength)


class Track(Protocol):
    """One image or tile on its way.  Tracks of one `shape` may share a step, whatever steps they stand at."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def step(self) -> int: ...  # steps done in this pass
    @property
    def steps(self) -> int: ...  # steps of this pass
    @property
    def pass_index(self) -> int: ...
    @property
    def passes(self) -> int: ...  # passes at most
    @property
    def tile(self) -> tuple[int, int]: ...  # (index, count) within its image's pass


@dataclass(frozen=True, kw_only=True)
class Restored:
    """An image is done."""

    image: Tensor  # (3, H, W) float32 in [-1, 1]
    report: Report


@dataclass(frozen=True, kw_only=True)
class Continues:
    """An image goes on: these tracks are to be stepped, then finished.

    `report` says what was found and done so far, with an empty stop reason; `image` is the picture after the last pass,
    None before the first.
    """

    tracks: Sequence[Track]
    report: Report
    image: Tensor | None = None  # (3, H, W) float32 in [-1, 1]


@dataclass(frozen=True)
class Waits:
    """A tile is done; its image waits for the other tiles."""


Outcome = Restored | Continues | Waits


class Restorer(Protocol):
    """A family of restoration systems with its weights resident on a device."""

    @property
    def names(self) -> tuple[str, ...]:
        """The degradations it can repair."""
        ...

    def assess(self, images: Sequence[Tensor]) -> list[Assessment]:
        """What is wrong with each image, in the default view."""
        ...

    def begin(self, requests: Sequence[Request]) -> list[Outcome]:
        """Start each image: `Continues` with its tracks, or `Restored` at once when there is nothing to do."""
        ...

    def step(self, tracks: Sequence[Track]) -> None:
        """One denoising step for each; all of one shape, at any steps."""
        ...

    def finish(self, tracks: Sequence[Track]) -> list[Outcome]:
        """End the pass of each track whose steps are done: the next pass's tracks, the result, or a wait."""
        ...
