"""Picture, caption and degradation together: drawn on the fly from photos, or read from rows on disk.

Either is a pure function of (seed, index).  As published, the kinds take turns (index modulo ten) and the photo is
drawn at random.

Shapes:  H W pixels (crop_px a side), L text tokens (77).  Pictures are RGB (3, H, W) float32 in [-1, 1].
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from models.daclip.controller import tokens
from models.errors import TrainingError
from models.training.data.captions import captions_of
from models.training.data.dataset import Example, as_tensor
from models.training.data.degradations.ten import TEN, damaged
from models.training.data.photos import CropConfig, Image, PhotoPool, decode_into
from models.training.data.wild import degrade_rgb

WORDS = tuple(TEN)


@dataclass(frozen=True)
class Captioned:
    """One decoded photo and what it shows."""

    pool: PhotoPool  # of this photo alone
    caption: str


@dataclass(frozen=True)
class Drawn:
    """One example in words and pictures, (H, W, 3) in [0, 1]."""

    degraded: Image
    clean: Image
    caption: str
    degradation: str


def captioned(
    photos: Sequence[Path], folders: Sequence[Path], stated: dict[str, str], cache: Path, longest_px: int
) -> list[Captioned]:
    """Photos decoded once into `cache`, with their captions; unreadable and tiny ones are left out."""
    found = []
    for photo, caption in zip(photos, captions_of(photos, folders, stated), strict=True):
        found += [
            Captioned(PhotoPool([file], validation=False), caption) for file in decode_into(cache, [photo], longest_px)
        ]
    return found


def held_out(photos: Sequence[Captioned], *, validation: bool, every: int = 20) -> list[Captioned]:
    """One photo in `every` is kept for validation; all serve both where there are none."""
    chosen = [photo for i, photo in enumerate(photos) if (i % every == 0) == validation]
    return chosen or list(photos)


def draw(photos: Sequence[Captioned], crop: CropConfig, index: int, seed: int, *, wild: bool) -> Drawn:
    """Example `index`: one of the ten kinds in turn, or with `wild` the whole pipeline and its words together."""
    rng = np.random.default_rng([seed, index])
    photo = photos[int(rng.integers(len(photos)))]
    clean = photo.pool.crop(rng, crop)
    if wild:
        done = degrade_rgb(clean, int(rng.integers(2**32)))
        return Drawn(done.image, clean, photo.caption, together(done.words))
    word = WORDS[index % len(WORDS)]
    return Drawn(damaged(word, clean, rng), clean, photo.caption, word)


def together(words: Sequence[str]) -> str:
    """The wild pipeline's words as one text, each once; "clean" where nothing was done."""
    return ", ".join(dict.fromkeys(words)) or "clean"


class Drawings(Dataset[Example]):
    """Drawn on the fly: degraded, target, caption and word (token ids, (L,)), kind (its index; -1 in the wild)."""

    def __init__(self, photos: Sequence[Captioned], crop: CropConfig, seed: int, *, wild: bool = False) -> None:
        self.photos, self.crop, self.seed, self.wild = list(photos), crop, seed, wild

    def __len__(self) -> int:
        return 2**40

    def __getitem__(self, index: int) -> Example:
        return example(draw(self.photos, self.crop, index, self.seed, wild=self.wild))


@dataclass(frozen=True)
class Row:
    """A line of rows.tsv."""

    degraded: Path
    clean: Path
    caption: str
    degradation: str


def read_rows(path: Path) -> list[Row]:
    """The rows that models.training.data.captioned_rows wrote; paths are relative to the file.

    Raises:
        TrainingError: it cannot be read, or lacks a column.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        return [
            Row(path.parent / row["filepath"], path.parent / row["clean"], row["caption"], row["degradation"])
            for row in rows
        ]
    except (OSError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise TrainingError(
            f"{path} is no table of rows ({error}). Write it with python -m models.training.data.captioned_rows."
        ) from error


class Rows(Dataset[Example]):
    """Rows in random order, each the same random crop of both pictures, mirrored at random."""

    def __init__(self, rows: Sequence[Row], crop_px: int, seed: int) -> None:
        if not rows:
            raise TrainingError(
                "got no rows to train on. Write them with python -m models.training.data.captioned_rows."
            )
        self.rows, self.crop_px, self.seed = list(rows), crop_px, seed

    def __len__(self) -> int:
        return 2**40

    def __getitem__(self, index: int) -> Example:
        rng = np.random.default_rng([self.seed, index])
        row = self.rows[int(rng.integers(len(self.rows)))]
        pair = np.concatenate([_read(row.degraded), _read(row.clean)], axis=-1)  # (H, W, 6): one crop for both
        height, width = pair.shape[:2]
        side = min(self.crop_px, height, width)
        top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
        pair = pair[top : top + side, left : left + side]
        if side != self.crop_px:
            pair = cv2.resize(pair, (self.crop_px, self.crop_px), interpolation=cv2.INTER_CUBIC).clip(0, 1)
        if rng.random() < 0.5:
            pair = pair[:, ::-1]
        return example(Drawn(pair[..., :3], pair[..., 3:], row.caption, row.degradation))


def _read(path: Path) -> Image:
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if pixels is None:
        raise TrainingError(f"{path} cannot be decoded as a picture. Write the rows again.")
    picture: Image = pixels.astype(np.float32) / np.float32(255)
    return picture


def example(drawn: Drawn) -> Example:
    """As tensors."""
    texts = tokens([drawn.caption, drawn.degradation])
    kind = WORDS.index(drawn.degradation) if drawn.degradation in WORDS else -1
    return {
        "degraded": as_tensor(drawn.degraded),
        "target": as_tensor(drawn.clean),
        "caption": texts[0],
        "word": texts[1],
        "kind": torch.tensor(kind),
    }


def as_unit(images: Tensor) -> Tensor:
    """[-1, 1] -> [0, 1], the range of IR-SDE and of DA-CLIP."""
    return (images + 1) / 2
