"""Measure the effect of the caption in ETDiffIR, and of each fallback without a caption.

Restores a photo with the caption, with each fallback, with a wrong caption, and with the caption and another seed.  The
last one shows the effect of the sampler's noise.  Each result is compared with that of the caption and, if given, with
the clean photo.

Example: python benchmarks/etdiffir_captions.py --bundle DIR photo.jpg --caption "a cat" --clean clean.jpg
"""

from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from conditions import header, make_parser
from PIL import Image
from torch import Tensor

from models.controls import Controls
from models.etdiffir.config import Fallback
from models.etdiffir.restorer import ETDiffIRRestorer
from models.families import load_restorer
from models.pixels import Pixels, to_pixels, to_tensor
from models.psnr import psnr
from models.restorer import Continues, Request, Restored

OTHER = "a printed page of sheet music"


def restore(restorer: ETDiffIRRestorer, image: Tensor, controls: Controls) -> Pixels:
    """Run all steps of all tiles of one photo."""
    (outcome,) = restorer.begin([Request(image=image, controls=controls)])
    assert isinstance(outcome, Continues)
    for track in outcome.tracks:
        while track.step < track.steps:
            restorer.step([track])
    restored = [outcome for outcome in restorer.finish(outcome.tracks) if isinstance(outcome, Restored)]
    return to_pixels(restored[0].image)


def read(path: Path) -> Pixels:
    return np.asarray(Image.open(path).convert("RGB"))


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("photo", type=Path, help="degraded photo")
    parser.add_argument("--bundle", type=Path, required=True, help="folder of an ETDiffIR bundle")
    parser.add_argument("--caption", required=True, help="caption of the photo")
    parser.add_argument("--clean", type=Path, help="the photo without degradation")
    parser.add_argument("--steps", type=int, default=20, help="denoising steps")
    arguments = parser.parse_args()
    restorer = load_restorer(arguments.bundle, torch.device("cpu"))
    assert isinstance(restorer, ETDiffIRRestorer), "the bundle is of another family"
    image, with_caption = to_tensor(read(arguments.photo)), Controls(prompt=arguments.caption, steps=arguments.steps)
    config = restorer.etdiffir
    pictures = {"caption": restore(restorer, image, with_caption)}
    for fallback in get_args(Fallback):
        restorer.etdiffir = replace(config, fallback=fallback)
        pictures[f"fallback: {fallback}"] = restore(restorer, image, replace(with_caption, prompt=None))
    pictures["another caption"] = restore(restorer, image, replace(with_caption, prompt=OTHER))
    pictures["another seed"] = restore(restorer, image, replace(with_caption, seed=1))
    clean = read(arguments.clean) if arguments.clean else None
    print(header(arguments.bundle.name, config.unet.mode, f"{arguments.steps} steps"))
    print(f"{'variant':<20} {'PSNR to caption':>16} {'largest of 255':>15} {'PSNR to clean':>13}")
    for name, picture in pictures.items():
        near = psnr(picture, pictures["caption"])
        largest = int(np.abs(picture.astype(int) - pictures["caption"]).max())
        to_clean = f"{psnr(picture, clean):13.2f}" if clean is not None else f"{'-':>13}"
        print(f"{name:<20} {near:16.2f} {largest:15d} {to_clean}")


if __name__ == "__main__":
    main()
