"""Pairs that are made from the pairs of a folder: turned by quarter turns, or ground truths with two kinds of damage.

A photo that is stored sideways needs the same repair as upright.  Two kinds of damage need two passes: the automatic
mode should be better than the better of the two single repairs, chosen in hindsight.

Shapes:  H W pixels.  Pictures are RGB (H, W, 3) uint8.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.evaluation.mixtures import MIXTURES, damaged, synthetic_kinds
from models.evaluation.pairs import Pair, Pictures, clean_pairs, read_pictures

TURNED, MIXED = "turned", "mixtures"
"""The tasks of these pairs in rows; they do not count in the totals of a report."""
DERIVED = (TURNED, MIXED)


@dataclass(frozen=True, kw_only=True)
class DerivedPair(Pair):
    """A pair to which something is done after its crop: `kinds` of synthetic damage, then `turns` quarter turns.

    `seed` is that of the damage.
    """

    turns: int = 0
    kinds: tuple[str, ...] = ()
    seed: int = 0


def turned_pairs(pairs: Iterable[Pair]) -> list[Pair]:
    """Returns each pair turned by 90, 180 and 270 degrees; its name is that of `turned_name`."""
    return [
        DerivedPair(
            task=TURNED,
            subset=f"{pair.task} {90 * turns}°",
            name=turned_name(pair.task, pair.name, turns),
            degraded=pair.degraded,
            truth=pair.truth,
            expected=pair.expected,
            turns=turns,
        )
        for pair in pairs
        for turns in (1, 2, 3)
    ]


def turned_name(task: str, name: str, turns: int) -> str:
    """Returns the name of a turned pair, for example denoise/a.png@90."""
    return f"{task}/{name}@{90 * turns}"


def mixed_pairs(pairs: Sequence[Pair], each: int, seed: int) -> list[Pair]:
    """Returns `each` ground truths for each of ten mixtures of two kinds of damage, of as many photos as there are.

    Raises:
        ControlsError: OpenCV is not installed, and `each` is not 0.
    """
    if each:
        synthetic_kinds()  # an error now, and not one for every photo
    truths = clean_pairs(pairs, each * len(MIXTURES))
    chosen: list[Pair] = []
    for number, kinds in enumerate(MIXTURES):
        for index in range(each if truths else 0):
            truth = truths[(number * each + index) % len(truths)]
            chosen.append(
                DerivedPair(
                    task=MIXED,
                    subset=" + ".join(kinds),
                    name=f"{'+'.join(kinds)}/{index}/{truth.name}",
                    degraded=truth.degraded,
                    truth=truth.truth,
                    expected=None,
                    kinds=kinds,
                    seed=_one_seed(seed, number, index),
                )
            )
    return chosen


def _one_seed(*numbers: int) -> int:
    """Returns one seed of several numbers; the same in every process."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def read_derived(pair: Pair, crop_px: int = 0) -> Pictures:
    """Returns the pixels of a pair of either kind; see pairs.read_pictures.

    Raises:
        PhotoError: a file cannot be read, or the sizes do not match.
        ControlsError: a mixture needs OpenCV, which is not installed.
    """
    pictures = read_pictures(pair, crop_px)
    if not isinstance(pair, DerivedPair):
        return pictures
    if pair.kinds:
        pictures = replace(pictures, degraded=damaged(pictures.degraded, pair.kinds, np.random.default_rng(pair.seed)))
    if not pair.turns:
        return pictures
    turned = [
        None if picture is None else np.ascontiguousarray(np.rot90(picture, pair.turns))
        for picture in (pictures.degraded, pictures.truth)
    ]
    whole = pictures.whole[::-1] if pair.turns % 2 else pictures.whole
    assert turned[0] is not None
    return Pictures(degraded=turned[0], truth=turned[1], whole=whole)
