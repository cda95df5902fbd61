"""What a caption changes in ETDiffIR, and how near each fallback comes to it.

    python benchmarks/etdiffir_captions.py --bundle DIR PHOTO --caption "a cat" [--clean PHOTO] [--steps 20]

One restoration with the caption, one for each fallback, one with a caption of something else, and one with the caption
and another seed, which says how much the sampler's own noise changes.  Each is compared with the captioned one, and
with the clean photo where there is one.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from models.etdiffir.config import Fallback
from models.etdiffir.restorer import ETDiffIRRestorer
from models.families import load_restorer
from models.pixels import Pixels, to_pixels, to_tensor
from models.psnr import psnr
from models.restorer import Continues, Controls, Request, Restored

OTHER = "a printed page of sheet music"


def restore(restorer: ETDiffIRRestorer, image: Tensor, controls: Controls) -> Pixels:
    """One picture, all its tiles, all their steps."""
    (outcome,) = restorer.begin([Request(image=image, controls=controls)])
    assert isinstance(outcome, Continues)
    for track in outcome.tracks:
        while track.step < track.steps:
            restorer.step([track])
    done = [outcome for outcome in restorer.finish(outcome.tracks) if isinstance(outcome, Restored)]
    return to_pixels(done[0].image)


def read(path: Path) -> Pixels:
    return np.asarray(Image.open(path).convert("RGB"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", type=Path)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--caption", required=True)
    parser.add_argument("--clean", type=Path)
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    restorer = load_restorer(arguments.bundle, torch.device("cpu"))
    assert isinstance(restorer, ETDiffIRRestorer), "the bundle is of another family"
    image, told = to_tensor(read(arguments.photo)), Controls(prompt=arguments.caption, steps=arguments.steps)
    config = restorer.etdiffir
    pictures = {"caption": restore(restorer, image, told)}
    for fallback in get_args(Fallback):
        restorer.etdiffir = replace(config, fallback=fallback)
        pictures[f"fallback: {fallback}"] = restore(restorer, image, replace(told, prompt=None))
    pictures["another caption"] = restore(restorer, image, replace(told, prompt=OTHER))
    pictures["another seed"] = restore(restorer, image, replace(told, seed=1))
    clean = read(arguments.clean) if arguments.clean else None
    print(f"# {arguments.bundle.name} · {config.unet.mode} · torch {torch.__version__} · {arguments.steps} steps")
    print(f"{'variant':<20} {'dB to captioned':>16} {'largest of 255':>15} {'dB to clean':>12}")
    for name, picture in pictures.items():
        near = psnr(picture, pictures["caption"])
        largest = int(np.abs(picture.astype(int) - pictures["caption"]).max())
        true = f"{psnr(picture, clean):12.2f}" if clean is not None else f"{'-':>12}"
        print(f"{name:<20} {near:16.2f} {largest:15d} {true}")


if __name__ == "__main__":
    main()
