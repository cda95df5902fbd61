"""Validation of a restoration network: fixed held-out pairs, PSNR per degradation, one contact sheet.

Shapes:  B batch, H W pixels.  Images are RGB (3, H, W) float32 in [-1, 1].
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from models.psnr import mean_psnr
from models.training.core.trainer import Validation
from models.training.data.dataset import DegradedPairs, Example
from models.training.data.degradations import Mixture
from models.training.data.photos import MAX_GRAIN, CropConfig, Image, PhotoPool
from models.vocabulary import CLEAN

VALIDATION_SEED = 20261121


def validation_examples(
    pool: PhotoPool, names: Sequence[str], crop_px: int, each: int, drawn: Sequence[str] | None = None
) -> list[Example]:
    """Returns one batch of `each` examples for each of `names`, in this order; the same examples in every run.

    `drawn` draws only these names; the labels keep the order of `names`.
    """
    examples = []
    crop = CropConfig(crop_px=crop_px, shrink=(0.5, 0.9), max_grain=MAX_GRAIN)
    for index, name in enumerate(names):
        if drawn is not None and name not in drawn:
            continue
        pairs = DegradedPairs(pool, crop, Mixture(weights={name: 1.0}, two_kinds=0.0), names, VALIDATION_SEED + index)
        batch = [pairs[i] for i in range(each)]
        examples.append({key: torch.stack([example[key] for example in batch]) for key in batch[0]})
    return examples


def score_restoration(
    examples: Sequence[Example], names: Sequence[str], restore: Callable[[Example], Sequence[Tensor]]
) -> Validation:
    """Returns the PSNR gain over the input for each name; the score is the mean of the gains.

    For "clean", the gain is the PSNR minus 40 dB, at most 0.

    Args:
        restore: maps a batch to pictures (B, 3, H, W) for the contact sheet; the last one is scored.
    """
    figures, rows = {}, []
    for name, example in zip(names, examples, strict=True):
        pictures = restore(example)
        before, after = mean_psnr(example["degraded"], example["target"]), mean_psnr(pictures[-1], example["target"])
        figures[name] = after if name == CLEAN else after - before
        for i in range(min(2, len(example["degraded"]))):
            rows.append([example["degraded"][i], *(picture[i] for picture in pictures), example["target"][i]])
    gains = [min(gain - 40, 0) if name == CLEAN else gain for name, gain in figures.items()]
    return Validation(score=math.fsum(gains) / len(gains), figures=figures, pictures=contact_sheet(rows))


def contact_sheet(rows: Sequence[Sequence[Tensor]]) -> Image:
    """Join rows of (3, H, W) pictures in [-1, 1] into one (rows H, columns W, 3) in [0, 1].

    An even number of rows is placed in two columns.
    """
    lines = [torch.cat([picture.detach().float().cpu() for picture in row], dim=2) for row in rows]
    if len(lines) % 2 == 0:
        lines = [torch.cat(pair, dim=2) for pair in zip(lines[::2], lines[1::2], strict=True)]
    sheet = torch.cat(lines, dim=1).permute(1, 2, 0).add(1).div(2).clamp(0, 1)
    return np.ascontiguousarray(sheet.numpy())
