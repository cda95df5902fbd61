"""Training pictures that a specialist has already repaired, as the assessor sees them in a second pass.

An assessor that has seen only damaged and clean photographs takes the traces of a repair, slightly soft or streaky, for
another kind of damage.  So a part of each batch is repaired first.  The correct answer is the remaining damage: the
other one of two kinds, or "clean".  As in the loop, the repaired kind is no longer a possible answer.

Shapes:  B pictures, K names.  Images are RGB (B, 3, H, W) in [-1, 1].
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from models.autodir.specialists import SpecialistConfig, Specialists
from models.networks.drunet import DRUNet
from models.training.core.weights_file import filled
from models.vocabulary import CLEAN

EXCLUDED = -1e4
"""Added to the logit of an excluded name; minus infinity times a label of 0 would be NaN."""


def load_specialists(
    configs: Mapping[str, SpecialistConfig], files: Mapping[str, Path], device: str = "cpu"
) -> Specialists:
    """Load the trained networks of `files`, which maps specialists to safetensors files.

    Raises:
        TrainingError: a file is missing or does not fit.
    """
    networks = {}
    for key, path in files.items():
        network = filled(DRUNet(configs[key].network), path)
        network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch types it for tensors only
        networks[key] = network.eval().requires_grad_(False)
    return Specialists({key: configs[key] for key in files}, networks)


@dataclass(frozen=True)
class Repaired:
    """A batch after one pass: pictures, labels (B, K) of the remaining damage, and offsets (B, K) for the logits."""

    pictures: Tensor
    labels: Tensor
    logit_offsets: Tensor


@torch.no_grad()
def repair_batch(
    degraded: Tensor, labels: Tensor, label: Tensor, specialists: Specialists, names: Sequence[str]
) -> Repaired:
    """Repair the kind `label` (B,) of each picture; pictures whose kind has no specialist do not change."""
    pictures, remaining, offsets = degraded.clone(), labels.clone(), torch.zeros_like(labels)
    clean = names.index(CLEAN)
    for index, kind in enumerate(label.tolist()):
        key = specialists.key_of(names[kind])
        if key is None:
            continue
        pictures[index] = specialists.restore(key, degraded[index][None])[0].to(degraded.dtype)
        remaining[index, kind] = 0
        if not bool(remaining[index].any()):
            remaining[index, clean] = 1
        remaining[index] /= remaining[index].sum()
        offsets[index, kind] = EXCLUDED
    return Repaired(pictures, remaining, offsets)
