"""Degraded pairs on the fly: a pure function of (seed, index), so a resumed run gets the same data as an unbroken one.

Shapes:  H W pixels.  Images are RGB (3, H, W) float32 in [-1, 1]; `labels` (K,) sums to 1 over `names`.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from models.training.data.degradations import Mixture, Pair, draw_pair
from models.training.data.photos import CropConfig, Image, PhotoPool
from models.training.data.share import ALONE, Share

Example = dict[str, Tensor]


def as_tensor(image: Image) -> Tensor:
    """(H, W, 3) in [0, 1] -> (3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).mul(2).sub_(1)


class DegradedPairs(Dataset[Example]):
    """Examples without end.

    Keys: degraded, target (the result of this pass), clean, labels (K,), label (index of the kind to repair).
    """

    def __init__(self, pool: PhotoPool, crop: CropConfig, mixture: Mixture, names: Sequence[str], seed: int) -> None:
        self.pool, self.crop, self.mixture, self.names, self.seed = pool, crop, mixture, tuple(names), seed

    def __len__(self) -> int:
        return 2**40

    def __getitem__(self, index: int) -> Example:
        rng = np.random.default_rng([self.seed, index])
        crop, distant = self._crop(rng)
        pair = draw_pair(self.pool.crop(rng, crop), rng, self.mixture)
        if distant:
            pair = self._shrunk(pair)
        return {
            "degraded": as_tensor(pair.degraded),
            "target": as_tensor(pair.target),
            "clean": as_tensor(pair.clean),
            "labels": torch.tensor([pair.labels.get(name, 0.0) for name in self.names]),
            "label": torch.tensor(self.names.index(pair.label)),
        }

    def _crop(self, rng: np.random.Generator) -> tuple[CropConfig, bool]:
        """Returns how to cut this example, and whether it is a distant view."""
        crop = self.crop
        if not crop.distant or rng.random() >= crop.distant:
            return crop, False
        return replace(crop, crop_px=round(crop.crop_px * rng.uniform(1.5, crop.max_distance)), shrink=(0.6, 1.0)), True

    def _shrunk(self, pair: Pair) -> Pair:
        side = self.crop.crop_px

        def shrink(image: Image) -> Image:
            small: Image = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
            return small

        return replace(pair, degraded=shrink(pair.degraded), target=shrink(pair.target), clean=shrink(pair.clean))


@dataclass(frozen=True)
class EndlessSampler(Sampler[int]):
    """Yields the integers from `start` on, without end; of every `batch`, those of this process."""

    start: int
    batch: int = 1
    share: Share = ALONE

    def __iter__(self) -> Iterator[int]:
        own = self.batch // self.share.count
        first = self.start + self.share.rank * own
        while True:
            yield from range(first, first + own)
            first += self.batch


def _begin(_: int) -> None:
    torch.set_num_threads(1)
    os.setpgrp()  # Ctrl-C, or torchrun, would end the loader before the step that needs its batch


def batches(
    pairs: Dataset[Example], *, start: int, batch: int, loaders: int, pin: bool, share: Share = ALONE
) -> Iterator[Example]:
    """Yield batches from example `start` on, prepared in advance by `loaders` processes; 0 means in this process.

    `batch` is the size of the whole batch, of which each yielded one is this process's share.
    """
    return iter(
        DataLoader(
            pairs,
            batch_size=batch // share.count,
            sampler=EndlessSampler(start, batch, share),
            num_workers=loaders,
            pin_memory=pin,
            worker_init_fn=_begin,
            prefetch_factor=4 if loaders else None,
            persistent_workers=False,
        )
    )
