"""Measures the settings of a bundle with MAXIM on photographs that neither MAXIM nor the evaluation knows.

The training photographs get our synthetic damage.  It prints the best strength of each of MAXIM's repairs, the floor
at which it is worth a try (models.training.autodir.calibration), and what dehazing turns black where it is right and
where it is wrong.

    python benchmarks/maxim_settings.py BUNDLE PHOTOS [--each 4] [--others 4] [--every 20] [--cache DIR]
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from models.autodir.assessor import prompt_of
from models.autodir.next_repair import VEIL
from models.autodir.restorer import AutoDIR
from models.controls import Controls
from models.drive import restore_one
from models.families import load_restorer
from models.pixels import newly_black_share
from models.psnr import psnr
from models.restorer import Request
from models.training.autodir.calibration import break_even_probability, measure_strengths
from models.training.core.validation import validation_examples
from models.training.data.dataset import Example
from models.training.data.photos import PhotoPool, decode_into, find_photos
from models.vocabulary import CLEAN

CROP_PX = 192
"""Multiples of 64, MAXIM's stride."""
LONGEST_PX = 1536
CLEAN_DB = 45.0
"""The PSNR of a picture that needs no repair counts as at most so much."""


def main() -> None:
    arguments = _parser().parse_args()
    torch.set_num_threads(1)
    restorer = load_restorer(arguments.bundle, torch.device("cpu"))
    assert isinstance(restorer, AutoDIR)
    restorer.assessor.most_views, restorer.assessor.overview = 1, 0.0  # it only fills the report: a prompt decides
    photos = find_photos([arguments.photos])[:: arguments.every]
    pool = PhotoPool(decode_into(arguments.cache, photos, LONGEST_PX), validation=True, hold_out=1)
    names = (*restorer.names, CLEAN)
    examples = validation_examples(pool, names, CROP_PX, arguments.each)
    print(f"{len(photos)} photographs, {arguments.each} crops of {CROP_PX} px for each name", flush=True)
    ours = [name for name, _ in _maxim_names(restorer)]
    by_name = dict(zip(names, examples, strict=True))
    print("strength", measure_strengths(restorer, [by_name[name] for name in ours], ours), flush=True)
    for name in ours:
        _print_gains(restorer, name, by_name, arguments.others)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, help="folder of the bundle")
    parser.add_argument("photos", type=Path, help="folder of clean photographs")
    parser.add_argument("--each", type=int, default=4, help="crops for each name; default: 4")
    parser.add_argument("--others", type=int, default=4, help="crops of each other name, for floors; default: 4")
    parser.add_argument("--every", type=int, default=20, help="take every n-th photograph; default: 20")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"), help="folder for decoded photographs")
    return parser


def _maxim_names(restorer: AutoDIR) -> Sequence[tuple[str, str]]:
    specialists = restorer.config.specialists.items()
    return [(config.names[0], key) for key, config in specialists if config.maxim is not None and not config.words]


def _print_gains(restorer: AutoDIR, repair: str, examples: dict[str, Example], others: int) -> None:
    """Print the mean gain of one repair on each kind of damage, its floor, and what it turns black.

    `others` is the number of crops of each other kind of damage.
    """
    gains, black = {}, {}
    for name, example in examples.items():
        pairs = list(zip(example["degraded"], example["target"], strict=True))
        found = [_one(restorer, repair, *pair) for pair in (pairs if name == repair else pairs[:others])]
        gains[name] = sum(gain for gain, _ in found) / len(found)
        black[name] = [round(share, 3) for _, share in found]
    gain = gains.pop(repair)
    floor = break_even_probability(gain, -sum(gains.values()) / len(gains))
    harm = ", ".join(f"{name} {value:+.1f}" for name, value in gains.items())
    print(f"{repair}: gain {gain:+.2f} dB, floor {floor}; on others: {harm}", flush=True)
    if repair == VEIL:
        print(f"  share of newly black pixels: {black}", flush=True)


def _one(restorer: AutoDIR, repair: str, degraded: torch.Tensor, truth: torch.Tensor) -> tuple[float, float]:
    """Returns the gain in dB and the share of pixels that became black."""
    result = restore_one(restorer, Request(image=degraded, controls=Controls(prompt=prompt_of(repair)))).image
    before, after = (min(psnr(image, truth, peak=2), CLEAN_DB) for image in (degraded, result))
    return after - before, newly_black_share(degraded, result)


if __name__ == "__main__":
    main()
