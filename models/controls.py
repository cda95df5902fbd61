"""The controls of a restoration: what a user may ask for, with ranges, and which degradations that leaves.

Torch-free.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from models.errors import ControlsError
from models.vocabulary import CLEAN, names


@dataclass(frozen=True, kw_only=True)
class Controls:
    """The user's options.  None means the bundle's default.

    Attributes:
        prompt: free text; one pass with the prompt as the condition, and no automatic choice of the repair.
        only: degradation names to consider; empty for all.
        skip: degradation names never to repair.
        strength: 0 returns the input pixel for pixel, 1 the full restoration.
        fidelity: the SCM weight w in [0, 1]; 1 stays closest to the input.
        max_passes: largest number of passes of the loop, 1 to 100.
        steps: denoising steps a pass, 1 to 1000.
        seed: the same seed gives the same bytes on one device.
        color_fix: give each channel of the result the mean and the standard deviation of the input (AdaIN), as the
            published program does on request.  It undoes a drift of colors, and also the repair of low light and haze.
        strict: run exactly as the published program (center-crop view, no clamping, no confidence floor).
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


def allowed_names(known: Sequence[str], only: Sequence[str], skip: Sequence[str]) -> tuple[str, ...]:
    """Returns the names that the loop may choose from, in the bundle's order, always with "clean".

    Raises:
        ControlsError: a word is unknown, the bundle cannot repair it, or nothing is left to consider.
    """
    wanted, unwanted = names(only), names(skip)
    for name in (*wanted, *unwanted):
        if name not in known:
            choices = ", ".join(entry for entry in known if entry != CLEAN)
            raise ControlsError(f"this bundle does not know {name!r}; it knows {choices}")
    left = tuple(n for n in known if n == CLEAN or ((not wanted or n in wanted) and n not in unwanted))
    if left == (CLEAN,):
        raise ControlsError("only and skip leave nothing to consider; remove a name from skip")
    return left


def renormalized(probabilities: dict[str, float], allowed: Sequence[str]) -> dict[str, float]:
    """Returns the softmax over fewer names: the probabilities of the full softmax, divided by their sum."""
    total = sum(probabilities[name] for name in allowed)
    if total <= 0:
        return {name: 1 / len(allowed) for name in allowed}
    return {name: probabilities[name] / total for name in allowed}
