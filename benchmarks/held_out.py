"""Measure the PSNR gain on photos held out from training, with the prompt of the degradation, for several bundles.

The degradations are the synthetic ones of this version, the same for every bundle.

Example: python benchmarks/held_out.py --images ../shared/train --bundle old/ --bundle autodir-small
"""

from pathlib import Path

import torch
from conditions import header, make_parser

from models.autodir.assessor import prompt_of
from models.bundle import find_bundle, read_manifest
from models.controls import Controls
from models.drive import restore_all
from models.families import load_restorer
from models.psnr import mean_psnr
from models.restorer import Request
from models.training.autodir import autodir_small
from models.training.autodir.package import held_out
from models.training.core.validation import validation_examples
from models.training.data.degradations import SYNTHESIZERS


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--images", type=Path, action="append", required=True, help="training photos; repeatable")
    parser.add_argument("--bundle", action="append", required=True, help="name or folder of a bundle; repeatable")
    parser.add_argument("--each", type=int, default=24, help="crops per degradation")
    parser.add_argument("--crop", type=int, default=192, help="side of the crops in pixels")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"), help="folder for decoded photos")
    arguments = parser.parse_args()
    examples = validation_examples(
        held_out(arguments.images, arguments.cache), autodir_small.NAMES, arguments.crop, arguments.each
    )
    folders = [find_bundle(name) for name in arguments.bundle]
    restorers = [load_restorer(folder, torch.device("cpu")) for folder in folders]
    manifests = [read_manifest(folder) for folder in folders]
    titles = [f"{manifest.name} {manifest.version}" for manifest in manifests]
    crops = f"{arguments.each} held-out crops of {arguments.crop} px per degradation"
    print(header(crops, "PSNR gain in dB"), end="\n\n")
    print(f"| degradation | input | {' | '.join(titles)} |\n|---|---|{'---|' * len(titles)}")
    for name, example in zip(autodir_small.NAMES, examples, strict=True):
        if name not in SYNTHESIZERS:
            continue
        before, gains = mean_psnr(example["degraded"], example["target"]), []
        for restorer in restorers:
            requests = [
                Request(image=image, controls=Controls(prompt=prompt_of(name))) for image in example["degraded"]
            ]
            results = torch.stack([restored.image for restored in restore_all(restorer, requests, together=1)])
            gains.append(f"{mean_psnr(results, example['target']) - before:+.2f}")
        print(f"| {name} | {before:.2f} | {' | '.join(gains)} |", flush=True)


if __name__ == "__main__":
    main()
