"""What the assessor is shown in a second pass: pictures that a specialist has repaired already.

An assessor that has seen damaged and clean photographs alone takes what a repair leaves, a little soft or streaky, for
damage of another kind, and repairs that.  So some of a batch are repaired first.  Right is then what is left: the other
kind of two, or "clean".  As in the loop, the kind that was repaired is no longer among the answers.

Shapes:  B pictures, K names.  Images are RGB (B, 3, H, W) in [-1, 1].
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from models.autodir.specialists import SpecialistConfig, Specialists
from models.errors import TrainingError
from models.networks.drunet import DRUNet
from models.vocabulary import CLEAN

GONE = -1e4
"""Added to the logit of a name that has left the class list; infinity times a label of 0 would be no number."""


def load_specialists(
    configs: Mapping[str, SpecialistConfig], files: Mapping[str, Path], device: str = "cpu"
) -> Specialists:
    """Those of `configs` that there is a file for, trained.

    Raises:
        TrainingError: a file is missing or does not fit.
    """
    networks = {}
    for key, path in files.items():
        network = DRUNet(configs[key].network)
        try:
            network.load_state_dict(load_file(path))
        except (OSError, RuntimeError) as error:
            raise TrainingError(f"{path} is no specialist {key!r}: {error}") from error
        network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch types it for tensors only
        networks[key] = network.eval().requires_grad_(False)
    return Specialists({key: configs[key] for key in files}, networks)


@torch.no_grad()
def repair(
    degraded: Tensor, labels: Tensor, label: Tensor, specialists: Specialists, names: Sequence[str]
) -> tuple[Tensor, Tensor, Tensor]:
    """One pass over a batch, told the task: pictures, labels (B, K) of what is left, and what to add to logits (B, K).

    `label` (B,) is the kind that the pass removes; pictures of kinds that nobody is a specialist for stay as they are.
    """
    pictures, left, gone = degraded.clone(), labels.clone(), torch.zeros_like(labels)
    clean = names.index(CLEAN)
    for index, kind in enumerate(label.tolist()):
        key = specialists.key_of(names[kind])
        if key is None:
            continue
        pictures[index] = specialists.restore(key, degraded[index][None])[0].to(degraded.dtype)
        left[index, kind] = 0
        if not bool(left[index].any()):
            left[index, clean] = 1
        left[index] /= left[index].sum()
        gone[index, kind] = GONE
    return pictures, left, gone
