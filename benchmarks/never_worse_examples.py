"""The pictures of benchmarks/never_worse.py: which there are, and how each is drawn from its number and the seed.

Held-out photographs are those that no training saw: one in 20 in the order of `--images`, like in models.training.
Each is shown as many different crops: at its own size (with its grain) or shrunk, of any shape, in the four turns.

Shapes:  H W pixels.  Pictures are RGB (H, W, 3) uint8.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from models.evaluation.mixtures import MIXTURES, damaged, synthetic_kinds
from models.evaluation.pairs import Pair, Picture, clean_pairs, find_pairs, read_pictures
from models.training.data.photos import find_photos

HELD_OUT, GROUND_TRUTHS = "held-out photographs", "ground truths of the pairs"
CLEAN, DAMAGED = "clean", "damaged"
ONE_IN = 20
SMALLEST_PHOTO_PX = 64  # models.training.data.photos.decode_into leaves out smaller ones, so they have no number
OWN_SIZE_SHARE = 0.5
SMALLEST_SCALE = 0.3
REAL_SHARE, MIXED_SHARE = 0.4, 0.25  # of the damaged pictures


@dataclass(frozen=True, kw_only=True)
class Example:
    """One picture to restore.

    `group` is reported as one line; `kinds` is the synthetic damage, `pair` the real one, and `turns` the number of
    quarter turns after it.  `source` is the file of the photograph, or of the pair's input.
    """

    part: str  # CLEAN or DAMAGED
    group: str
    number: int
    source: Path
    turns: int
    kinds: tuple[str, ...] = ()
    pair: Pair | None = None

    @property
    def key(self) -> str:
        """A short name, for example clean/12; unique in a run."""
        return f"{self.part}/{self.number}"


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """The pixels of an example, and where they are from, for a reader."""

    degraded: Picture
    truth: Picture
    place: str


@dataclass(frozen=True, kw_only=True)
class Sides:
    """Limits of the crops' sides in pixels."""

    smallest_px: int = 256
    largest_px: int = 384


def held_out_photos(folders: Sequence[Path]) -> list[Path]:
    """Returns the photographs that a training with the same `--images`, in the same order, never sees.

    Raises:
        TrainingError: a folder is missing, or holds no photo.
    """
    return [photo for photo in find_photos(folders) if _is_readable(photo)][::ONE_IN]


def _is_readable(photo: Path) -> bool:
    try:
        with Image.open(photo) as opened:  # reads the header only
            return min(opened.size) >= SMALLEST_PHOTO_PX
    except (OSError, Image.DecompressionBombError):
        return False


def clean_examples(photos: Sequence[Path], folder: Path | None, count: int, seed: int) -> list[Example]:
    """Returns `count` crops of the photographs, and then the ground truths of the pairs, at most a third of `count`."""
    chosen = _in_turn(photos, count, np.random.default_rng([seed, 1]))
    examples = [
        Example(part=CLEAN, group=HELD_OUT, number=number, source=photo, turns=number % 4)
        for number, photo in enumerate(chosen)
    ]
    truths = [] if folder is None else clean_pairs(find_pairs(folder), count // 3)
    return examples + [
        Example(part=CLEAN, group=GROUND_TRUTHS, number=count + index, source=pair.degraded, turns=index % 4, pair=pair)
        for index, pair in enumerate(truths)
    ]


def damaged_examples(photos: Sequence[Path], folder: Path | None, count: int, seed: int) -> list[Example]:
    """Returns real pairs in every turn (at most 40 %), and photographs with one or two kinds of synthetic damage."""
    rng = np.random.default_rng([seed, 2])
    real = _turned_pairs(folder)
    kept = sorted(rng.permutation(len(real))[: round(REAL_SHARE * count)])
    mixed = round(MIXED_SHARE * count)
    kinds: list[tuple[str, ...]] = [*((kind,) for kind in synthetic_kinds())]
    single = count - len(kept) - mixed
    drawn = [kinds[index % len(kinds)] for index in range(single)]
    drawn += [MIXTURES[index % len(MIXTURES)] for index in range(mixed)]
    examples = [
        Example(part=DAMAGED, group=f"real: {pair.task}", number=number, source=pair.degraded, turns=turns, pair=pair)
        for number, (pair, turns) in enumerate(real[index] for index in kept)
    ]
    for of, photo in zip(drawn, _in_turn(photos, len(drawn), rng), strict=True):
        number = len(examples)
        group = f"synthetic: {of[0]}" if len(of) == 1 else "synthetic: two kinds"
        examples.append(
            Example(part=DAMAGED, group=group, number=number, source=photo, turns=int(rng.integers(4)), kinds=of)
        )
    return examples


def _turned_pairs(folder: Path | None) -> list[tuple[Pair, int]]:
    pairs = [] if folder is None else [pair for pair in find_pairs(folder) if pair.truth is not None]
    return [(pair, turns) for pair in pairs for turns in range(4)]


def _in_turn(photos: Sequence[Path], count: int, rng: np.random.Generator) -> Iterator[Path]:
    """Yields photographs so that each comes as often as the others, in a new order each time."""
    order: list[int] = []
    for _ in range(count):
        order = order or list(rng.permutation(len(photos)))
        yield photos[order.pop()]


def draw(example: Example, sides: Sides, seed: int) -> Drawn:
    """Returns the pixels of an example; the same for the same seed and sides.

    Raises:
        PhotoError, OSError: the file cannot be read.
    """
    rng = np.random.default_rng([seed, 3 if example.part == CLEAN else 4, example.number])
    if example.pair is not None:
        pictures = read_pictures(example.pair, sides.largest_px)
        degraded, truth = pictures.degraded, pictures.truth
        assert truth is not None  # _turned_pairs and clean_pairs leave the others out
        place = f"center of {example.source.parent.parent.name}/{example.source.parent.name}/{example.source.name}"
    else:
        truth, place = _crop(_photo(example.source), sides, rng)
        degraded = damaged(truth, example.kinds, rng) if example.kinds else truth
        place = f"{example.source.name} {place}" + (f" with {' + '.join(example.kinds)}" if example.kinds else "")
    if example.turns:
        place += f", turned by {90 * example.turns}°"
    degraded, truth = (np.ascontiguousarray(np.rot90(picture, example.turns)) for picture in (degraded, truth))
    return Drawn(degraded=degraded, truth=truth, place=place)


@lru_cache(maxsize=40)
def _photo(path: Path) -> Picture:
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if pixels is None:
        raise OSError(f"cannot read {path} as a photo")
    return np.asarray(pixels, np.uint8)


def _crop(photo: Picture, sides: Sides, rng: np.random.Generator) -> tuple[Picture, str]:
    """Returns a crop with its box (left, top, width, height) in the photo and its scale."""
    height, width = photo.shape[:2]
    down, across = (
        min(int(rng.integers(sides.smallest_px, sides.largest_px + 1)), length) for length in (height, width)
    )
    smallest = max(SMALLEST_SCALE, down / height, across / width)
    scale = 1.0 if rng.random() < OWN_SIZE_SHARE else float(rng.uniform(smallest, 1.0))
    box_height, box_width = min(round(down / scale), height), min(round(across / scale), width)
    top, left = int(rng.integers(height - box_height + 1)), int(rng.integers(width - box_width + 1))
    window = photo[top : top + box_height, left : left + box_width]
    if (box_height, box_width) != (down, across):
        window = np.asarray(cv2.resize(window, (across, down), interpolation=cv2.INTER_AREA), np.uint8)
    return window, f"at {left},{top} {box_width}x{box_height} to {across}x{down} px"
