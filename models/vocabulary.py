"""The degradations: their names and aliases, their words in the assessor's prompts, and their default fidelity.

A bundle may know more of them: `undegrade learn` adds a degradation under any plain word that is not in this list.  So
a plain word that looks like no known word passes here, and whoever knows the bundle checks it.

Torch-free, because the service and the command line list them without loading a model.
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

    `word` fills AutoDIR's prompt template.  `fidelity` is the default SCM weight w in [0, 1].  The paper has 1, and 0.1
    for super-resolution, where the detail of the diffusion model is wanted.
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
"""Every degradation that any family knows; a bundle's manifest lists those that it repairs, in the assessor's order."""

NOTHING = Degradation(name=CLEAN, word="no", fidelity=0.0, aliases=("no", "none", "nothing"))
"""The assessor's answer that ends the loop."""

AUTODIR_NAMES = ("noise", "blur", "rain", "low-light", "haze", "low-resolution", "raindrop")
"""AutoDIR's published classes in the published order, without the last one, 'no'."""

DACLIP_WORDS = (
    "motion-blurry", "hazy", "jpeg-compressed", "low-light", "noisy", "raindrop", "rainy", "shadowed", "snowy",
    "uncompleted",
)  # fmt: skip
"""The words that DA-CLIP was trained on, in the published order; each is a name or an alias of a degradation above."""

PLAIN_WORD = r"[a-z][a-z0-9]*(-[a-z0-9]+)*"
"""What the name of a learned degradation looks like: "banding", "lens-flare"."""
MAX_WORD_CHARACTERS = 30
TYPO = 0.75
"""How much a word must resemble a known one to be taken for a typing error, from 0 to 1 (difflib's ratio)."""


def _normalized(word: str) -> str:
    return re.sub(r"[\s_]+", "-", word.strip().lower())


_BY_WORD = {
    _normalized(alias): degradation
    for degradation in (*DEGRADATIONS, NOTHING)
    for alias in (degradation.name, degradation.word, *degradation.aliases)
}


def degradation(word: str) -> Degradation:
    """Returns the degradation that a user's word names ("low light", "fog", "JPEG"), or a learned one of this name.

    Raises:
        ControlsError: the word is not plain, or resembles a known one; the message suggests the nearest known word.
    """
    name = _normalized(word)
    found = _BY_WORD.get(name)
    if found is not None:
        return found
    if is_plain(name) and not resembled(name, TYPO):
        return Degradation(name=name, word=name.replace("-", " "))
    names = ", ".join(entry.name for entry in DEGRADATIONS)
    raise ControlsError(f"got degradation {word!r}, expected one of {names}.{did_you_mean(name)}")


def is_known(word: str) -> bool:
    """Returns whether the word is in this list, and so cannot name a learned degradation."""
    return _normalized(word) in _BY_WORD


def is_plain(name: str) -> bool:
    """Returns whether the word can name a learned degradation."""
    return len(name) <= MAX_WORD_CHARACTERS and re.fullmatch(PLAIN_WORD, name) is not None


def resembled(name: str, least: float = 0.6) -> str | None:
    """Returns the name of the degradation that a known word like this one names; None if no word is like it."""
    near = difflib.get_close_matches(name, _BY_WORD, n=1, cutoff=least)
    return _BY_WORD[near[0]].name if near else None


def did_you_mean(name: str) -> str:
    """Returns " Did you mean 'noise'?", or nothing."""
    near = resembled(name)
    return f" Did you mean {near!r}?" if near else ""


def names(words: Iterable[str]) -> tuple[str, ...]:
    """Returns the canonical names of users' words, in order, without duplicates."""
    return tuple(dict.fromkeys(degradation(word).name for word in words))
