"""Training examples with a caption and a degradation word, drawn on the fly from photos.

An example is a pure function of (seed, index).  As published, the kinds take turns (index modulo ten) and the photo is
random.

Shapes:  H W pixels (crop_px a side), L text tokens (77).  Pictures are RGB (3, H, W) float32 in [-1, 1].
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from models.daclip.controller import tokens
from models.training.data.captions import captions_of
from models.training.data.dataset import Example, as_tensor
from models.training.data.degradations.daclip_synthesizers import DACLIP_SYNTHESIZERS, degrade
from models.training.data.photos import CropConfig, Image, PhotoPool, decode_into
from models.training.data.wild import degrade_rgb

WORDS = tuple(DACLIP_SYNTHESIZERS)


@dataclass(frozen=True)
class CaptionedPhoto:
    """One decoded photo and its caption."""

    pool: PhotoPool  # of this photo alone
    caption: str


@dataclass(frozen=True)
class CaptionedPair:
    """One example as text and pictures (H, W, 3) in [0, 1]."""

    degraded: Image
    clean: Image
    caption: str
    degradation: str


def load_captioned_photos(
    photos: Sequence[Path], folders: Sequence[Path], stated: dict[str, str], cache: Path, longest_px: int
) -> list[CaptionedPhoto]:
    """Decode each photo once into `cache` and add its caption; unreadable and tiny photos are left out."""
    found = []
    for photo, caption in zip(photos, captions_of(photos, folders, stated), strict=True):
        found += [
            CaptionedPhoto(PhotoPool([file], validation=False), caption)
            for file in decode_into(cache, [photo], longest_px)
        ]
    return found


def split_photos(photos: Sequence[CaptionedPhoto], *, validation: bool, every: int = 20) -> list[CaptionedPhoto]:
    """Returns the training or the validation photos: one in `every` is held out; all photos if the part is empty."""
    chosen = [photo for i, photo in enumerate(photos) if (i % every == 0) == validation]
    return chosen or list(photos)


def draw_captioned_pair(
    photos: Sequence[CaptionedPhoto], crop: CropConfig, index: int, seed: int, *, wild: bool
) -> CaptionedPair:
    """Draw example `index`: one of the ten kinds in turn, or with `wild` the whole pipeline and all its words."""
    rng = np.random.default_rng([seed, index])
    photo = photos[int(rng.integers(len(photos)))]
    clean = photo.pool.crop(rng, crop)
    if wild:
        done = degrade_rgb(clean, int(rng.integers(2**32)))
        return CaptionedPair(done.image, clean, photo.caption, joined_words(done.words))
    word = WORDS[index % len(WORDS)]
    return CaptionedPair(degrade(word, clean, rng), clean, photo.caption, word)


def joined_words(words: Sequence[str]) -> str:
    """Returns the words of the wild pipeline as one text without duplicates; "clean" if there are none."""
    return ", ".join(dict.fromkeys(words)) or "clean"


class DrawnExamples(Dataset[Example]):
    """Examples on the fly, without end.

    Keys: degraded, target, caption and word (token ids (L,)), kind (index of the word; -1 in the wild).
    """

    def __init__(self, photos: Sequence[CaptionedPhoto], crop: CropConfig, seed: int, *, wild: bool = False) -> None:
        self.photos, self.crop, self.seed, self.wild = list(photos), crop, seed, wild

    def __len__(self) -> int:
        return 2**40

    def __getitem__(self, index: int) -> Example:
        return as_example(draw_captioned_pair(self.photos, self.crop, index, self.seed, wild=self.wild))


class EveryNth(Dataset[Example]):
    """The examples `first`, `first + step`, `first + 2 step`, ... of a data set: one kind, where kinds take turns."""

    def __init__(self, examples: Dataset[Example], step: int, first: int) -> None:
        self.examples, self.step, self.first = examples, step, first

    def __getitem__(self, index: int) -> Example:
        return self.examples[self.first + self.step * index]


def as_example(pair: CaptionedPair) -> Example:
    """Convert to tensors."""
    texts = tokens([pair.caption, pair.degradation])
    kind = WORDS.index(pair.degradation) if pair.degradation in WORDS else -1
    return {
        "degraded": as_tensor(pair.degraded),
        "target": as_tensor(pair.clean),
        "caption": texts[0],
        "word": texts[1],
        "kind": torch.tensor(kind),
    }


def to_unit_range(images: Tensor) -> Tensor:
    """[-1, 1] -> [0, 1], the range of IR-SDE and of DA-CLIP."""
    return (images + 1) / 2
