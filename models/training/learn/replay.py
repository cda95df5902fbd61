"""Evidence of the old degradations that ships with the program, so that few pairs do not make the assessor forget.

The undamaged photos of a few pairs look alike: all are slides, or all are under water.  Replay on them alone says
nothing about other photos.  The file beside this module holds the assessor's evidence (features, not pictures) of
synthetic damage on many openly licensed photos, those of the training of `autodir-small`: crops to learn from, and
crops of other photos to measure with.

It belongs to the encoder of `autodir-small`, which `learn` does not change.  The evidence of a fixed picture tells
whether another bundle has the same encoder.  To write it anew:

    python -m models.training.learn.replay photos/
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from models.autodir.assessor import Assessor
from models.autodir.restorer import AutoDIR
from models.bundle import find_bundle
from models.families import load_restorer
from models.training.autodir import autodir_small
from models.training.autodir.recipes import ASSESSMENT_DEFAULTS, ASSESSMENT_MIXTURE
from models.training.core.trainer import save_weights
from models.training.core.validation import validation_examples
from models.training.data.dataset import DegradedPairs
from models.training.data.degradations import SYNTHESIZERS, Mixture
from models.training.data.photos import CropConfig, PhotoPool, decode_into, find_photos
from models.training.learn.evidence import evidence_of
from models.vocabulary import CLEAN

FILE = Path(__file__).with_name("replay.safetensors")
CROPS, HELD_EACH = 320, 16
SEED = 20261127
SAME = 0.02
"""The largest relative difference of the fixed picture's evidence; half precision and other CPUs cause 0.002."""


@dataclass(frozen=True, kw_only=True)
class Replay:
    """Evidence (V, F) to learn from and to measure; `held_labels` (V,) are indices of the assessor's names."""

    old: Tensor
    held_old: Tensor
    held_labels: Tensor


def known_synthetic(names: Sequence[str]) -> list[str]:
    """Returns the names whose damage can be made, and "clean"."""
    return [name for name in names if name == CLEAN or name in SYNTHESIZERS]


def old_evidence(assessor: Assessor, names: Sequence[str], pool: PhotoPool, count: int, seed: int) -> Tensor:
    """Returns the evidence of `count` crops with synthetic damage, drawn as the assessor was trained."""
    side = assessor.config.vision.image_size
    weights = {entry: ASSESSMENT_MIXTURE.weights[entry] for entry in known_synthetic(names)}
    mixture = Mixture(weights=weights, two_kinds=ASSESSMENT_MIXTURE.two_kinds, saved_as_jpeg=0.25)
    crop: CropConfig = replace(ASSESSMENT_DEFAULTS["crop"], crop_px=side)
    drawn = DegradedPairs(pool, crop, mixture, names, seed)
    return evidence_of(assessor, [drawn[index]["degraded"] for index in range(count)])


def held_evidence(assessor: Assessor, names: Sequence[str], pool: PhotoPool, each: int) -> tuple[Tensor, Tensor]:
    """Returns the evidence of `each` crops of each kind, and their labels, which are indices of `names`."""
    synthetic = known_synthetic(names)
    examples = validation_examples(pool, names, assessor.config.vision.image_size, each, drawn=synthetic)
    crops = [crop for example in examples for crop in example["degraded"]]
    labels = [names.index(entry) for entry in synthetic for _ in range(each)]
    return evidence_of(assessor, crops), torch.tensor(labels)


def shipped_evidence(assessor: Assessor, names: Sequence[str]) -> Replay | None:
    """Returns what ships, labeled by `names`; None for a bundle with another encoder, or without the old kinds."""
    if not set(autodir_small.NAMES) <= set(names):
        return None
    stored = load_file(FILE)
    probe = stored["probe"].float()
    found = evidence_of(assessor, [_fixed_picture(assessor)])[0]
    if found.shape != probe.shape or float((found - probe).norm() / probe.norm()) > SAME:
        return None
    order = torch.tensor([names.index(name) for name in autodir_small.NAMES])
    return Replay(
        old=stored["old"].float(), held_old=stored["held_old"].float(), held_labels=order[stored["held_labels"]]
    )


def _fixed_picture(assessor: Assessor) -> Tensor:
    side = assessor.config.vision.image_size
    rows, columns = torch.arange(side)[:, None], torch.arange(side)[None]
    waves = [torch.sin(rows / (3 + channel)) * torch.cos(columns / 5) for channel in range(3)]
    return torch.stack(waves).mul(0.6)


def write(photos: Path, cache: Path) -> None:
    """Compute and write the file; a twentieth of the photos is for measuring."""
    restorer = load_restorer(find_bundle("autodir-small"), torch.device("cpu"))
    assert isinstance(restorer, AutoDIR)
    assessor, names = restorer.assessor, autodir_small.NAMES
    files = decode_into(cache, find_photos([photos]), 1600)
    held_old, labels = held_evidence(assessor, names, PhotoPool(files, validation=True), HELD_EACH)
    parts = {
        "old": old_evidence(assessor, names, PhotoPool(files, validation=False), CROPS, SEED),
        "held_old": held_old, "probe": evidence_of(assessor, [_fixed_picture(assessor)])[0],
    }  # fmt: skip
    save_weights({**{key: value.half() for key, value in parts.items()}, "held_labels": labels}, FILE)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the evidence of old degradations that `undegrade learn` uses.")
    parser.add_argument("photos", type=Path, help="folder of undamaged photos, those of the training of autodir-small")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"), help="folder for decoded photos")
    arguments = parser.parse_args()
    write(arguments.photos, arguments.cache)


if __name__ == "__main__":
    main()
