"""A user's own pairs as training data: TASK/lq/NAME is the damaged photo, TASK/gt/NAME the same photo undamaged.

Each pair is decoded once into a memory-mapped `.npy` of both pictures, so a crop costs the crop and memory stays small.
A share of the files is held out by a hash of their names: the same files in every run, also after others were added.

Shapes:  H W pixels.  A decoded pair is RGB (H, W, 6) uint8, the damaged picture first; crops are float32 in [0, 1].
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from models.errors import PhotoError, TrainingError
from models.evaluation.pairs import LABELS, Pair, find_pairs, read_pictures
from models.training.data.alignment import check_aligned
from models.training.data.captioned_examples import CaptionedPair, as_example
from models.training.data.captions import captions_of
from models.training.data.dataset import Example, as_tensor
from models.training.data.photos import Image
from models.vocabulary import CLEAN, DACLIP_WORDS, degradation

DACLIP_WORD = {degradation(word).name: word for word in DACLIP_WORDS}
HOLD_OUT = 0.2
"""The share of the files that is held out."""
MIN_SIDE_PX = 16
LAYOUT = "Put the damaged photos into DIR/TASK/lq and the undamaged ones, under the same names, into DIR/TASK/gt."


@dataclass(frozen=True, kw_only=True)
class OwnPair:
    """One decoded pair: the name of its degradation, its title for messages, the decoded file and its caption."""

    name: str
    title: str
    file: Path
    caption: str = "a photo"

    def pixels(self) -> NDArray[np.uint8]:
        """Returns both pictures (H, W, 6), memory-mapped."""
        mapped: NDArray[np.uint8] = np.load(self.file, mmap_mode="r")
        return mapped


@dataclass(frozen=True, kw_only=True)
class OwnPairs:
    """The pairs of a folder; `held_out` is never trained on."""

    train: tuple[OwnPair, ...]
    held_out: tuple[OwnPair, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The degradations of the pairs, in order."""
        return tuple(dict.fromkeys(pair.name for pair in (*self.train, *self.held_out)))


def load_own_pairs(
    folder: Path, cache: Path, *, name: str | None = None, captions: dict[str, str] | None = None, check: bool = True,
    hold_out: float = HOLD_OUT, report: Callable[[int, int], None] = lambda done, total: None,
) -> OwnPairs:  # fmt: skip
    """Check and decode the pairs of a folder, and hold out a share of them.

    Args:
        folder: holds TASK/lq and TASK/gt, or lq and gt themselves.
        name: the degradation of all pairs; None takes it from the names of the tasks.
        captions: by path or file name.
        check: refuse pairs that do not show the same picture at the same place.
        report: called with the number of pairs that are decoded, and of all.

    Raises:
        TrainingError: there are fewer than two pairs, or a pair cannot be used; the message names its files.
    """
    found = find_own_pairs(folder)
    if len(found) < 2:
        raise TrainingError(f"{folder} has {len(found)} pair, expected at least 2: one of them is held out.")
    cache.mkdir(parents=True, exist_ok=True)
    decoded = []
    for pair in found:
        own = OwnPair(
            name=_name_of(pair, name), title=f"{pair.task}/{pair.name}", file=_decoded(pair, cache, check=check),
            caption=captions_of([pair.degraded], [folder], captions)[0] if captions else "a photo",
        )  # fmt: skip
        decoded.append(own)
        report(len(decoded), len(found))
    held_out, train = split_by_hash(decoded, hold_out)
    return OwnPairs(train=tuple(train), held_out=tuple(held_out))


def find_own_pairs(folder: Path) -> list[Pair]:
    """Returns the pairs of a folder with TASK/lq and TASK/gt, or with lq and gt.

    Raises:
        TrainingError: there is none, or a photo has no counterpart.
    """
    if not folder.is_dir():
        raise TrainingError(f"{folder} is not a folder. {LAYOUT}")
    single = (folder / "lq").is_dir()
    if not single and not any(folder.glob("*/lq")):
        raise TrainingError(f"{folder} has no lq folder. {LAYOUT}")
    whole = folder.resolve()
    pairs = find_pairs(whole.parent, [whole.name]) if single else find_pairs(folder)
    if not pairs:
        raise TrainingError(f"{folder} has no photo in its lq folders. {LAYOUT}")
    for pair in pairs:
        if pair.truth is None or not pair.truth.is_file():
            expected = pair.truth or pair.degraded.parents[1] / "gt" / pair.name
            raise TrainingError(f"{pair.degraded} has no counterpart {expected}. Add that photo, or remove this one.")
    return pairs


def split_by_hash(pairs: Sequence[OwnPair], share: float) -> tuple[list[OwnPair], list[OwnPair]]:
    """Returns a share of the pairs, at least one, and the rest; the hash of the titles decides."""
    ordered = sorted(pairs, key=lambda pair: hashlib.sha256(pair.title.encode()).digest())
    count = max(1, round(share * len(pairs)))
    return ordered[:count], ordered[count:]


def _name_of(pair: Pair, name: str | None) -> str:
    return degradation(name or LABELS.get(pair.task, pair.task)).name


def _decoded(pair: Pair, cache: Path, *, check: bool) -> Path:
    """Returns the decoded file of a pair; a changed photo is decoded anew."""
    assert pair.truth is not None, "find_own_pairs refuses pairs without a ground truth"
    stamps = [
        f"{path.resolve()}:{path.stat().st_mtime_ns}:{path.stat().st_size}" for path in (pair.degraded, pair.truth)
    ]
    target = cache / f"pair-{hashlib.sha256(' '.join([*stamps, str(check)]).encode()).hexdigest()[:16]}.npy"
    if target.exists():
        return target
    try:
        pictures = read_pictures(replace(pair, name=f"{pair.degraded} and {pair.truth}"))
    except PhotoError as error:
        raise TrainingError(f"{error}. Replace the pair, or remove it.") from error
    truth = pictures.truth
    assert truth is not None
    if min(truth.shape[:2]) < MIN_SIDE_PX:
        raise TrainingError(f"{pair.truth} is smaller than {MIN_SIDE_PX} px. Remove the pair.")
    if check:
        check_aligned(pictures.degraded, truth, pair.degraded, pair.truth)
    partial = target.with_suffix(".part.npy")
    np.save(partial, np.concatenate([pictures.degraded, truth], axis=2))
    partial.replace(target)
    return target


def draw_crop(pair: OwnPair, rng: np.random.Generator, crop_px: int) -> tuple[Image, Image]:
    """Returns the same random crop of both pictures, 2 x (crop_px, crop_px, 3), half of them mirrored left to right.

    Nothing is rotated or scaled: rain falls down, and pixels of damage keep their size.  A smaller picture is
    reflected at its borders.
    """
    pixels = pair.pixels()
    height, width = pixels.shape[:2]
    top, left = (int(rng.integers(max(side - crop_px, 0) + 1)) for side in (height, width))
    window = np.asarray(pixels[top : top + crop_px, left : left + crop_px])
    missing = [(0, crop_px - side) for side in window.shape[:2]]
    if any(after for _, after in missing):
        window = np.pad(window, [*missing, (0, 0)], mode="reflect")
    if rng.random() < 0.5:
        window = window[:, ::-1]
    crop = np.ascontiguousarray(window).astype(np.float32) / np.float32(255)
    return crop[..., :3], crop[..., 3:]


class PairExamples(Dataset[Example]):
    """Crops of own pairs without end, with the keys of DegradedPairs; each is a pure function of (seed, index).

    `clean_share` is the share of examples that show the undamaged picture, which must stay as it is.
    """

    def __init__(
        self, pairs: Sequence[OwnPair], crop_px: int, names: Sequence[str], seed: int, clean_share: float = 0.0
    ) -> None:
        self.pairs, self.crop_px, self.names, self.seed = tuple(pairs), crop_px, tuple(names), seed
        self.clean_share = clean_share

    def __getitem__(self, index: int) -> Example:
        rng = np.random.default_rng([self.seed, index])
        pair = self.pairs[int(rng.integers(len(self.pairs)))]
        degraded, clean = draw_crop(pair, rng, self.crop_px)
        label = self.names.index(pair.name)
        if self.clean_share and rng.random() < self.clean_share:
            degraded, label = clean, self.names.index(CLEAN)
        labels = torch.zeros(len(self.names))
        labels[label] = 1
        truth = as_tensor(clean)
        return {
            "degraded": as_tensor(degraded), "target": truth, "clean": truth.clone(), "labels": labels,
            "label": torch.tensor(label),
        }  # fmt: skip


class CaptionedOwnPairs(Dataset[Example]):
    """Crops of own pairs with the keys of models.training.data.captioned_examples."""

    def __init__(self, pairs: Sequence[OwnPair], crop_px: int, seed: int) -> None:
        self.pairs, self.crop_px, self.seed = tuple(pairs), crop_px, seed

    def __getitem__(self, index: int) -> Example:
        rng = np.random.default_rng([self.seed, index])
        pair = self.pairs[int(rng.integers(len(self.pairs)))]
        degraded, clean = draw_crop(pair, rng, self.crop_px)
        return as_example(CaptionedPair(degraded, clean, pair.caption, DACLIP_WORD.get(pair.name, pair.name)))


class MixedExamples(Dataset[Example]):
    """Examples of two data sets: a share from `own`, the rest from `other`; both are drawn at their own index."""

    def __init__(self, own: Dataset[Example], other: Dataset[Example], share: float, seed: int) -> None:
        self.own, self.other, self.share, self.seed = own, other, share, seed

    def __getitem__(self, index: int) -> Example:
        chosen = np.random.default_rng([self.seed, index, 1]).random() < self.share
        return self.own[index] if chosen else self.other[index]
