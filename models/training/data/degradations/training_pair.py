"""Training pairs: a degraded picture, the target of the next pass, and the clean original.

Two kinds of damage are removed in the reverse of the order in which they arose, one kind per pass.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from models.training.data.degradations.image_operations import Image, Random, Synthesizer, quantize
from models.training.data.degradations.jpeg import compress
from models.training.data.degradations.synthesizers import PHYSICAL_ORDER, SYNTHESIZERS
from models.vocabulary import CLEAN

VISIBLE_RMS = 1 / 255
"""A smaller change does not reveal the kind of damage; rounding alone changes a picture by 0.29 / 255."""
REDRAWS = 3


@dataclass(frozen=True)
class Pair:
    """One example; `label` is the kind that this pass removes, or "clean"; `labels` sums to 1 over all kinds."""

    degraded: Image
    target: Image
    clean: Image
    label: str
    labels: dict[str, float]


def _even_weights() -> dict[str, float]:
    return {CLEAN: 1.0, **dict.fromkeys(SYNTHESIZERS, 1.0)}


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """The distribution of training pairs.

    Attributes:
        weights: weight of each kind, and of "clean".
        two_kinds: share of damaged pictures with two kinds.
        second_weights: weights of the second kind; if empty, those of the other kinds in `weights`.
        saved_as_jpeg: share of pictures that are finally saved as a high-quality JPEG, like most files; this does not
            count as damage.
    """

    weights: dict[str, float] = field(default_factory=_even_weights)
    two_kinds: float = 0.15
    second_weights: dict[str, float] = field(default_factory=dict)
    saved_as_jpeg: float = 0.0


def draw_pair(clean: Image, rng: Random, mixture: Mixture) -> Pair:
    """Damage a clean crop (H, W, 3).  Labels do not contain damage that stays invisible after a few draws."""
    clean = quantize(clean, rng)
    pictures, visible_kinds = [clean], []
    for kind in sorted(_draw_kinds(rng, mixture), key=PHYSICAL_ORDER.index):
        degraded, visible = draw_visible(SYNTHESIZERS[kind], pictures[-1], rng)
        if visible:
            pictures.append(degraded)
            visible_kinds.append(kind)
    count = len(visible_kinds)
    pair = Pair(
        degraded=pictures[-1],
        target=pictures[max(count - 1, 0)],
        clean=clean,
        label=visible_kinds[-1] if visible_kinds else CLEAN,
        labels=dict.fromkeys(visible_kinds or [CLEAN], 1.0 / max(count, 1)),
    )
    return _saved_as_jpeg(pair, rng) if rng.random() < mixture.saved_as_jpeg else pair


def draw_visible(synthesize: Synthesizer, image: Image, rng: Random) -> tuple[Image, bool]:
    """Draw damage until it is visible, at most `1 + REDRAWS` times; returns the last draw and whether it is visible.

    Some damage never shows, such as blur on a flat wall.
    """
    for _ in range(1 + REDRAWS):
        degraded = synthesize(image, rng)
        if float(np.sqrt(np.mean((degraded - image) ** 2))) > VISIBLE_RMS:
            return degraded, True
    return degraded, False


def _saved_as_jpeg(pair: Pair, rng: Random) -> Pair:
    """Compress with quality 62..98; the clean twin too, else the file format would reveal the damage."""
    quality = int(rng.integers(62, 99))
    return replace(pair, degraded=compress(pair.degraded, quality), clean=compress(pair.clean, quality))


def _draw_kinds(rng: Random, mixture: Mixture) -> list[str]:
    """Draw no kind (clean), one, or two different ones."""
    kind = _choose(rng, mixture.weights)
    if kind == CLEAN:
        return []
    second = mixture.second_weights or mixture.weights
    others = {name: weight for name, weight in second.items() if name not in (CLEAN, kind) and weight > 0}
    if others and rng.random() < mixture.two_kinds:
        return [kind, _choose(rng, others)]
    return [kind]


def _choose(rng: Random, weights: Mapping[str, float]) -> str:
    odds = np.array(list(weights.values()), dtype=np.float64)
    return list(weights)[int(rng.choice(len(odds), p=odds / odds.sum()))]
