"""What a validation of a restoring network looks like: fixed held-out pairs, PSNR per degradation, one contact sheet.

Shapes:  B batch, H W pixels.  Images are RGB (3, H, W) float32 in [-1, 1].
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from models.psnr import mean_psnr
from models.training.core.trainer import Validation
from models.training.data.dataset import Example, Pairs
from models.training.data.degradations import Mixture
from models.training.data.photos import QUIET, CropConfig, Image, PhotoPool
from models.vocabulary import CLEAN

VALIDATION_SEED = 20261121


def validation_examples(pool: PhotoPool, names: Sequence[str], crop_px: int, each: int) -> list[Example]:
    """`each` examples of every single degradation, the same for every run: a batch a name, in the order of `names`."""
    found = []
    crop = CropConfig(crop_px=crop_px, shrink=(0.5, 0.9), quiet=QUIET)
    for index, name in enumerate(names):
        pairs = Pairs(pool, crop, Mixture(weights={name: 1.0}, two=0.0), names, VALIDATION_SEED + index)
        drawn = [pairs[i] for i in range(each)]
        found.append({key: torch.stack([example[key] for example in drawn]) for key in drawn[0]})
    return found


def score_restoration(
    examples: Sequence[Example], names: Sequence[str], restore: Callable[[Example], Sequence[Tensor]]
) -> Validation:
    """PSNR gain over the input for each name; the score is their mean, "clean" counting as its lack of 40 dB.

    `restore` maps a batch to pictures (B, 3, H, W) for the sheet; the last one is the result that counts.
    """
    figures, rows = {}, []
    for name, example in zip(names, examples, strict=True):
        pictures = restore(example)
        before, after = mean_psnr(example["degraded"], example["target"]), mean_psnr(pictures[-1], example["target"])
        figures[name] = after if name == CLEAN else after - before
        for i in range(min(2, len(example["degraded"]))):
            rows.append([example["degraded"][i], *(picture[i] for picture in pictures), example["target"][i]])
    gains = [min(gain - 40, 0) if name == CLEAN else gain for name, gain in figures.items()]
    return Validation(score=math.fsum(gains) / len(gains), figures=figures, pictures=grid(rows))


def grid(rows: Sequence[Sequence[Tensor]]) -> Image:
    """Rows of (3, H, W) pictures in [-1, 1] as one (rows H, columns W, 3) in [0, 1]; two rows side by side."""
    lines = [torch.cat([picture.detach().float().cpu() for picture in row], dim=2) for row in rows]
    if len(lines) % 2 == 0:
        lines = [torch.cat(pair, dim=2) for pair in zip(lines[::2], lines[1::2], strict=True)]
    sheet = torch.cat(lines, dim=1).permute(1, 2, 0).add(1).div(2).clamp(0, 1)
    return np.ascontiguousarray(sheet.numpy())
