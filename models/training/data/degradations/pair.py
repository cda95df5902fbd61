"""Training pairs: a degraded picture, what the next pass should make of it, and the clean original.

A mixture of two kinds is undone in the reverse of the order in which it came about, one kind a pass.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from models.training.data.degradations.image import Image, Random, quantize
from models.training.data.degradations.jpeg import compress
from models.training.data.degradations.kinds import PHYSICAL_ORDER, SYNTHESIZERS
from models.vocabulary import CLEAN

VISIBLE_RMS = 1 / 255
"""Below this change nobody, an assessor included, can tell the kind; rounding alone makes 0.29 / 255."""
REDRAWS = 3


@dataclass(frozen=True)
class Pair:
    """One example.  `label` is the kind that this pass removes, or "clean"; `labels` sums to 1 over what is there."""

    degraded: Image
    target: Image
    clean: Image
    label: str
    labels: dict[str, float]


def _even_weights() -> dict[str, float]:
    return {CLEAN: 1.0, **dict.fromkeys(SYNTHESIZERS, 1.0)}


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """What to draw.

    Attributes:
        weights: of each kind, "clean" among them.
        two: the share of damaged pictures with two kinds.
        beside: what the second kind is drawn from; where empty, the other kinds of `weights`.
        saved: the share saved at last as a JPEG of high quality, which files mostly are and which is no damage.
    """

    weights: dict[str, float] = field(default_factory=_even_weights)
    two: float = 0.15
    beside: dict[str, float] = field(default_factory=dict)
    saved: float = 0.0


def draw_pair(clean: Image, rng: Random, mix: Mixture) -> Pair:
    """Damage a clean crop (H, W, 3).  Damage that cannot be seen after a few redraws is not claimed by the labels."""
    clean = quantize(clean, rng)
    kinds = _draw_kinds(rng, mix)
    pictures, seen = [clean], []
    for kind in sorted(kinds, key=PHYSICAL_ORDER.index):
        degraded = _visibly(kind, pictures[-1], rng)
        if degraded is not None:
            pictures.append(degraded)
            seen.append(kind)
    labels = dict.fromkeys(seen or [CLEAN], 1.0 / max(len(seen), 1))
    label = seen[-1] if seen else CLEAN
    pair = Pair(degraded=pictures[-1], target=pictures[max(len(seen) - 1, 0)], clean=clean, label=label, labels=labels)
    return _saved(pair, rng) if rng.random() < mix.saved else pair


def _saved(pair: Pair, rng: Random) -> Pair:
    """As a file of quality 62..98; the clean twin too, or the file format would betray the damage."""
    quality = int(rng.integers(62, 99))
    return replace(pair, degraded=compress(pair.degraded, quality), clean=compress(pair.clean, quality))


def _draw_kinds(rng: Random, mix: Mixture) -> list[str]:
    """No kind (clean), one, or two different ones."""
    kind = _choose(rng, mix.weights)
    if kind == CLEAN:
        return []
    beside = mix.beside or mix.weights
    others = {name: weight for name, weight in beside.items() if name not in (CLEAN, kind) and weight > 0}
    if others and rng.random() < mix.two:
        return [kind, _choose(rng, others)]
    return [kind]


def _choose(rng: Random, weights: Mapping[str, float]) -> str:
    odds = np.array(list(weights.values()), dtype=np.float64)
    return list(weights)[int(rng.choice(len(odds), p=odds / odds.sum()))]


def _visibly(kind: str, image: Image, rng: Random) -> Image | None:
    """The first of `1 + REDRAWS` draws that can be seen; None where none can, such as blur on a flat wall."""
    for _ in range(1 + REDRAWS):
        degraded = SYNTHESIZERS[kind](image, rng)
        if float(np.sqrt(np.mean((degraded - image) ** 2))) > VISIBLE_RMS:
            return degraded
    return None
