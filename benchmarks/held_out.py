"""Gains on photographs that training held out, told the task, for several bundles in one run:

    python benchmarks/held_out.py --images ../shared/train --images ../photos --bundle old/ --bundle autodir-small

The damage is this version's synthetic one, the same for every bundle; figures are dB of PSNR over the input.
"""

import argparse
from pathlib import Path

import torch

from models.autodir.assessor import prompt_of
from models.bundle import find_bundle, read_manifest
from models.drive import restore_all
from models.families import load_restorer
from models.psnr import mean_psnr
from models.restorer import Controls, Request
from models.training.autodir import autodir_small
from models.training.autodir.package import held_out
from models.training.core.validation import validation_examples
from models.training.data.degradations import SYNTHESIZERS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, action="append", required=True, help="the training photos; repeatable")
    parser.add_argument("--bundle", action="append", required=True, help="repeatable")
    parser.add_argument("--each", type=int, default=24, help="crops of each degradation")
    parser.add_argument("--crop", type=int, default=192)
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"), help="where decoded photos are kept")
    said = parser.parse_args()
    examples = validation_examples(held_out(said.images, said.cache), autodir_small.NAMES, said.crop, said.each)
    folders = [find_bundle(name) for name in said.bundle]
    restorers = [load_restorer(folder, torch.device("cpu")) for folder in folders]
    stated = [read_manifest(folder) for folder in folders]
    titles = [f"{one.name} {one.version}" for one in stated]
    print(f"# Held-out photographs, told the task: {said.each} crops of {said.crop} px each, dB over the input\n")
    print(f"| degradation | input | {' | '.join(titles)} |\n|---|---|{'---|' * len(titles)}")
    for name, example in zip(autodir_small.NAMES, examples, strict=True):
        if name not in SYNTHESIZERS:
            continue
        before, gains = mean_psnr(example["degraded"], example["target"]), []
        for restorer in restorers:
            requests = [
                Request(image=image, controls=Controls(prompt=prompt_of(name))) for image in example["degraded"]
            ]
            results = torch.stack([done.image for done in restore_all(restorer, requests, together=1)])
            gains.append(f"{mean_psnr(results, example['target']) - before:+.2f}")
        print(f"| {name} | {before:.2f} | {' | '.join(gains)} |", flush=True)


if __name__ == "__main__":
    main()
