"""The degradations by name: what users type, what the assessor is asked, how strongly each is corrected.

Torch-free, since the service and the command line list them without loading a model.
"""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from models.errors import ControlsError

PROMPT_TEMPLATE = "A photo needs {} artifact reduction"  # AutoDIR's template; no full stop
CLEAN = "clean"


@dataclass(frozen=True, kw_only=True)
class Degradation:
    """One kind of damage.

    `word` fills AutoDIR's prompt template; `fidelity` is the default SCM weight w in [0, 1] (paper: 1, but 0.1 for
    super-resolution, where the diffusion model's detail is wanted).
    """

    name: str
    word: str
    fidelity: float = 1.0
    aliases: tuple[str, ...] = ()

    @property
    def prompt(self) -> str:
        return PROMPT_TEMPLATE.format(self.word)


DEGRADATIONS: tuple[Degradation, ...] = (
    Degradation(name="noise", word="noise", aliases=("noisy", "grain", "grainy", "denoise")),
    Degradation(name="blur", word="blur", aliases=("blurry", "motion-blur", "motion-blurry", "defocus", "deblur")),
    Degradation(name="rain", word="rain", aliases=("rainy", "rain-streaks", "derain")),
    Degradation(
        name="low-light", word="underexposure", aliases=("lowlight", "dark", "underexposure", "underexposed", "dim")
    ),
    Degradation(name="haze", word="haze", aliases=("hazy", "fog", "foggy", "mist", "smog", "dehaze")),
    Degradation(
        name="low-resolution",
        word="low resolution",
        fidelity=0.1,
        aliases=("lowresolution", "low-res", "lowres", "sr", "super-resolution", "pixelated"),
    ),
    Degradation(name="raindrop", word="raindrop", aliases=("raindrops", "droplets", "deraindrop")),
    Degradation(name="jpeg", word="jpeg compression", aliases=("jpg", "compression", "jpeg-compressed", "blocking")),
    Degradation(name="snow", word="snow", aliases=("snowy", "snowflakes", "desnow")),
    Degradation(name="shadow", word="shadow", aliases=("shadowed", "shadows")),
    Degradation(name="inpainting", word="missing part", aliases=("inpaint", "uncompleted", "holes", "missing-parts")),
)
"""Every kind that any family knows; a bundle's manifest says which of them it can repair, and in what order it asks."""

NOTHING = Degradation(name=CLEAN, word="no", fidelity=0.0, aliases=("no", "none", "nothing"))
"""The assessor's answer that ends the loop."""

AUTODIR_NAMES = ("noise", "blur", "rain", "low-light", "haze", "low-resolution", "raindrop")
"""AutoDIR's published classes, in the published order ('no' comes last)."""

DACLIP_WORDS = (
    "motion-blurry", "hazy", "jpeg-compressed", "low-light", "noisy", "raindrop", "rainy", "shadowed", "snowy",
    "uncompleted",
)  # fmt: skip
"""What DA-CLIP was trained to tell apart, bare words in the published order; each is an alias of a name of ours."""


def _key(word: str) -> str:
    return re.sub(r"[\s_]+", "-", word.strip().lower())


_BY_KEY = {
    _key(alias): degradation
    for degradation in (*DEGRADATIONS, NOTHING)
    for alias in (degradation.name, degradation.word, *degradation.aliases)
}


def degradation(word: str) -> Degradation:
    """The degradation that a user's word names ("low light", "fog", "JPEG").

    Raises:
        ControlsError: no degradation has that name; the message names the nearest one.
    """
    found = _BY_KEY.get(_key(word))
    if found is None:
        names = ", ".join(entry.name for entry in DEGRADATIONS)
        near = difflib.get_close_matches(_key(word), _BY_KEY, n=1)
        hint = f" Did you mean {_BY_KEY[near[0]].name!r}?" if near else ""
        raise ControlsError(f"got degradation {word!r}, expected one of {names}.{hint}")
    return found


def names(words: Iterable[str]) -> tuple[str, ...]:
    """The canonical names of several users' words, in their order, each once."""
    return tuple(dict.fromkeys(degradation(word).name for word in words))
