"""The controls of a restoration: what a user may ask for, with ranges, and which degradations that leaves.

Torch-free.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from models.errors import ControlsError
from models.presets import PRESETS, PresetName
from models.vocabulary import CLEAN, degradation, did_you_mean, names

Strength = float | dict[str, float]
"""One share for the whole restoration, or a share for each repair; a repair that is not named has 1."""
Crop = tuple[int, int, int, int]
"""x, y, width and height in pixels of the upright photo."""
SCALES = (1, 2, 4)
MAX_VARIANTS = 4


@dataclass(frozen=True, kw_only=True)
class Controls:
    """The user's options.  None means the bundle's default.

    Attributes:
        prompt: what to repair, in the user's words: a pass for each repair that they ask for.  With published systems
            and in strict mode it is free text: one pass with the text as the condition.
        best_effort: do what can be done of a prompt, or else the most similar repair, instead of refusing it.
        only: degradation names to consider; empty for all.
        skip: degradation names never to repair.
        strength: 0 returns the input pixel for pixel, 1 the full restoration.  A mapping gives each repair its own
            share: each pass is mixed with its input, and a repair with 0 is not done.
        preset: a name of models.presets.  Whoever builds the controls adds the preset's values (`preset_values`); the
            restorer applies what depends on the bundle (steps and floors).
        scale: how many times the photo was enlarged on each side before; 2 and 4 ask for a repair of low resolution.
        crop: the part of the photo that is restored; the caller cuts it out.
        variants: how many results with the seeds `seed`, `seed` + 1, ... are wanted; the caller makes them.
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
    best_effort: bool = False
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    strength: Strength = 1.0
    preset: PresetName = "auto"
    scale: int = 1
    crop: Crop | None = None
    variants: int = 1
    fidelity: float | None = None
    max_passes: int | None = None
    steps: int | None = None
    seed: int = 0
    color_fix: bool = False
    strict: bool = False
    text_guidance: float = 1.0
    image_guidance: float = 1.0

    def __post_init__(self) -> None:
        if isinstance(self.strength, Mapping):
            check_strength(self.strength)
        else:
            _within("strength", self.strength, 0.0, 1.0)
        if self.preset not in PRESETS:
            raise ControlsError(f"got preset {self.preset!r}, expected {_one_of(get_args(PresetName), self.preset)}")
        if self.scale not in SCALES:
            raise ControlsError(f"got scale {self.scale}, expected 1, 2 or 4")
        if self.crop is not None:
            check_crop(self.crop)
        _within("variants", self.variants, 1, MAX_VARIANTS)
        _within("fidelity", self.fidelity, 0.0, 1.0)
        _within("max_passes", self.max_passes, 1, 100)
        _within("steps", self.steps, 1, 1000)
        _within("text_guidance", self.text_guidance, 0.0, 30.0)
        _within("image_guidance", self.image_guidance, 0.0, 30.0)
        _within("seed", self.seed, 0, 2**63 - 1)

    @property
    def blend(self) -> float:
        """The share of the whole restoration in the result, 0 to 1; 1 where each pass has its own share."""
        return 1.0 if isinstance(self.strength, Mapping) else self.strength

    def share_of(self, name: str) -> float:
        """Returns the share of a repair in the result of its own pass, 0 to 1."""
        return self.strength.get(name, 1.0) if isinstance(self.strength, Mapping) else 1.0

    def steps_of(self, default: int) -> int:
        """Returns the denoising steps of a pass; `default` is the bundle's."""
        most = PRESETS[self.preset].steps_limit
        return self.steps or (default if most is None else min(default, most))

    @property
    def floor_share(self) -> float:
        """The share of the bundle's least probability at which a repair is begun."""
        return PRESETS[self.preset].floor_share


def _within(name: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not low <= value <= high:
        raise ControlsError(f"got {name} {value}, expected {low} to {high}")


def _one_of(known: Sequence[str], word: str) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"one of {', '.join(known)}." + (f" Did you mean {near[0]!r}?" if near else "")


def check_strength(strength: Mapping[str, float]) -> None:
    """Check the strengths of single repairs.

    Raises:
        ControlsError: a name is unknown or not canonical, a share is out of range, or there is none at all.
    """
    if not strength:
        raise ControlsError("got an empty strength, expected a number or shares such as noise=0.3,haze=1")
    for name, share in strength.items():
        if degradation(name).name != name or name == CLEAN:
            raise ControlsError(f"got strength of {name!r}, expected the name of a degradation")
        _within(f"strength of {name}", share, 0.0, 1.0)


def named_strength(strength: Mapping[str, float]) -> dict[str, float]:
    """Returns the strengths of single repairs by canonical names.

    Raises:
        ControlsError: a word is unknown (the message has the nearest name), or two words name the same repair.
    """
    named: dict[str, float] = {}
    for word, share in strength.items():
        name = degradation(word).name
        if name == CLEAN:
            raise ControlsError("strength: 'clean' is no repair; leave it out")
        if name in named:
            raise ControlsError(f"strength: {name} is given twice; leave one of them out")
        named[name] = share
    return named


def check_crop(crop: Crop) -> None:
    """Check a rectangle without knowing its photo.

    Raises:
        ControlsError: a number is negative, or the rectangle is empty.
    """
    x, y, width, height = crop
    if x < 0 or y < 0 or width < 1 or height < 1:
        shown = ",".join(map(str, crop))
        raise ControlsError(f"got crop {shown}, expected x,y,width,height with x and y from 0, width and height from 1")


def wanted_names(known: Sequence[str], controls: Controls) -> tuple[str, ...]:
    """Returns the names that the loop may choose from: `allowed_names`, without the repairs of strength 0.

    Only "clean" is left where every repair has strength 0.

    Raises:
        ControlsError: as `allowed_names`, also for a strength of a degradation that the bundle cannot repair.
    """
    strength = controls.strength if isinstance(controls.strength, Mapping) else {}
    _refuse_unknown(known, tuple(strength))
    allowed = allowed_names(known, controls.only, controls.skip)
    return tuple(name for name in allowed if strength.get(name, 1.0) > 0)


def refuse_shares_with_prompt(controls: Controls) -> None:
    """Refuse strengths of single repairs beside a free prompt, which runs one pass of its own.

    Raises:
        ControlsError: there are both.
    """
    if controls.prompt is not None and isinstance(controls.strength, Mapping):
        raise ControlsError(
            "got a prompt together with strengths of single degradations, but this bundle takes prompts as free text; "
            "give strength as a number"
        )


def _refuse_unknown(known: Sequence[str], wanted: Sequence[str]) -> None:
    for name in wanted:
        if name not in known:
            choices = ", ".join(entry for entry in known if entry != CLEAN)
            raise ControlsError(f"this bundle does not know {name!r}; it knows {choices}.{did_you_mean(name)}")


def allowed_names(known: Sequence[str], only: Sequence[str], skip: Sequence[str]) -> tuple[str, ...]:
    """Returns the names that the loop may choose from, in the bundle's order, always with "clean".

    Raises:
        ControlsError: a word is unknown, the bundle cannot repair it, or nothing is left to consider.
    """
    wanted, unwanted = names(only), names(skip)
    _refuse_unknown(known, (*wanted, *unwanted))
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
