"""The interface between a family of restoration systems and its driver (the command line's loop, a worker's engine).

A family assesses images, begins them as tracks, advances any mix of tracks by one denoising step, and finishes a
track's pass.  A **track** is an image, or a tile of an image, on its way through the denoiser.  `step` takes tracks at
different steps, so the driver batches per step and not per job.  Noise belongs to the track, so a result never depends
on the other images of the batch.

Shapes:  H W pixels, L D text tokens and width.  Images are RGB (3, H, W), see models.pixels: integers or
float32 in [-1, 1], on the device, or in host memory where a picture is too large.  A result lies where its image lay.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from torch import Tensor

from models.color import match_colors
from models.controls import Controls
from models.image_change import UNCHANGED, change_between
from models.pixels import floats, mix
from models.prompt_plan import PromptPlan
from models.redrawn_faces import faces_are_checked, redrawn_faces
from models.redrawn_text import redrawn_text
from models.restoration_report import Change, Report
from models.warning_codes import CodedWarning

STRENGTH_ZERO = "strength-zero"
ENLARGING_REPAIR = "low-resolution"
"""The repair that a photo needs after it was enlarged."""
NO_ENLARGING_REPAIR = CodedWarning(
    "this bundle cannot repair low resolution, so the photo was only enlarged before its restoration",
    "no-enlarging-repair",
)


@dataclass(frozen=True, kw_only=True)
class Request:
    """One image to restore, with the user's options.

    Attributes:
        image: (3, H, W) uint8, uint16, or float32 in [-1, 1].
        tile_px: side of the square with the most pixels of a tile; None: the bundle's limit.
        whole: the photo, (3, H', W'), of which `image` is a part; it is assessed to decide what is repaired.
        small: the photo, or its part, before `image` was enlarged from it; None also where it is not at hand.
        compressed: its file has visibly lost details to compression.
    """

    image: Tensor
    controls: Controls = field(default_factory=Controls)
    tile_px: int | None = None
    whole: Tensor | None = None
    small: Tensor | None = None
    compressed: bool = False

    @property
    def assessed(self) -> tuple[Tensor, ...]:
        """The images to assess; the last one decides."""
        return (self.image,) if self.whole is None else (self.image, self.whole)


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """What is wrong with an image: a probability a name (with "clean" they sum to 1), and the denoiser's condition."""

    probabilities: dict[str, float]
    condition: Tensor  # (L, D)

    @property
    def label(self) -> str:
        """The most probable name."""
        return max(self.probabilities, key=lambda name: self.probabilities[name])


def final_image(original: Tensor, result: Tensor, controls: Controls) -> Tensor:
    """Returns the image for the user: with the colors of the input on request, mixed with the input by `strength`."""
    if result is original:  # an untouched image stays equal to the bit
        return original
    if controls.color_fix:
        result = match_colors(result, floats(original))
    return result if controls.blend == 1 else mix(original, result, controls.blend)


def finished(
    original: Tensor, result: Tensor, controls: Controls, report: Callable[[Change, tuple[str, ...]], Report]
) -> "Restored":
    """Returns the image for the user; `report` makes the report of its change and of the warnings that it deserves."""
    image = final_image(original, result, controls)
    change = change_between(original, image)
    cautions = (*redrawn_text(original, image, change), *redrawn_faces(original, image, change))
    checked = ("text", "faces") if faces_are_checked() else ("text",)
    return Restored(image=image, report=replace(report(change, cautions), checked=checked))


def as_ordered(request: Request, plan: PromptPlan | None) -> Request:
    """Returns the request without its prompt where this leaves the choice to the service: then it orders nothing."""
    if plan is None or plan.action != "auto":
        return request
    return replace(request, controls=replace(request.controls, prompt=None))


def untouched(request: Request, stop_reason: str = STRENGTH_ZERO, plan: PromptPlan | None = None) -> "Restored":
    """Returns the answer where nothing is to be done: the input itself, and a report that no network looked at it.

    `plan` is that of a prompt, which may be the reason.
    """
    if plan is not None and request.controls.blend > 0 and stop_reason == STRENGTH_ZERO:
        stop_reason = "nothing-asked" if plan.action == "nothing" else "nothing-left"
    report = Report(
        degradations={}, passes=(), stop_reason=stop_reason, seed=request.controls.seed, steps=0, change=UNCHANGED,
        warnings=plan.warnings if plan else (), understood=plan.understood("nothing") if plan else None,
    )  # fmt: skip
    return Restored(image=request.image, report=report)


class Track(Protocol):
    """An image or tile on its way.  Tracks of one `shape` may share a batch, also at different steps."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def step(self) -> int: ...  # steps done in this pass
    @property
    def steps(self) -> int: ...  # steps of this pass
    @property
    def pass_index(self) -> int: ...
    @property
    def passes(self) -> int: ...  # largest number of passes
    @property
    def tile(self) -> tuple[int, int]: ...  # (index, count) within its image's pass


@dataclass(frozen=True, kw_only=True)
class Restored:
    """The image is finished."""

    image: Tensor  # (3, H, W) float32 in [-1, 1]; the integers of the request where nothing was changed
    report: Report


@dataclass(frozen=True, kw_only=True)
class Continues:
    """The image needs a pass: step these tracks, then finish them.

    `report` has the findings and passes so far, and an empty stop reason; `image` is the result of the last pass, None
    before the first.
    """

    tracks: Sequence[Track]
    report: Report
    image: Tensor | None = None  # (3, H, W) float32 in [-1, 1]


@dataclass(frozen=True)
class Waits:
    """The tile is finished; its image waits for the other tiles."""


Outcome = Restored | Continues | Waits

Shape = tuple[int, int, int]
"""Number of images, height and width in pixels of a batch."""


class Restorer(Protocol):
    """A family of restoration systems with its weights resident on a device."""

    @property
    def names(self) -> tuple[str, ...]:
        """The degradations that it can repair."""
        ...

    def warm_up(self, shapes: Sequence[Shape]) -> None:
        """Compute constants, and prepare for batches of these shapes, so that the first image need not wait for it."""
        ...

    def assess(self, images: Sequence[Tensor]) -> list[Assessment]:
        """Returns what is wrong with each image, in the default view."""
        ...

    def begin(self, requests: Sequence[Request]) -> list[Outcome]:
        """Start each image: `Continues` with its tracks, or `Restored` at once if there is nothing to do.

        Strength 0, and what is no photograph (models.safety.photographs), call no network (`untouched`); `assess` is
        there for those who want to know what is wrong.  A call that failed may be made again, with all of its requests
        or some.
        """
        ...

    def step(self, tracks: Sequence[Track]) -> None:
        """Advance each track by one denoising step; all have one shape, and may be at different steps."""
        ...

    def finish(self, tracks: Sequence[Track]) -> list[Outcome]:
        """End the pass of tracks whose steps are done: the next tracks, a result, or a wait for other tiles.

        A call that failed may be made again, with all of its tracks or some: what was done for a track stays done.
        """
        ...
