"""Steps against quality and seconds, for any bundle: `python benchmarks/steps.py --bundle DIR --steps 100 20 10`.

With --diffuse the specialists of an AutoDIR bundle, which take one step whatever is asked, stand aside.

Crops of the pairs below --eval are restored in one pass each, told the right degradation (`only`), with every number of
steps in turn.  Means of PSNR in dB; seconds of CPU work a picture (set OMP_NUM_THREADS=1).
"""

import argparse
import os
import platform
import time
from collections import defaultdict
from pathlib import Path
from statistics import mean

import torch

from models.autodir.restorer import AutoDIR
from models.bundle import find_bundle, read_manifest
from models.device import choose_device
from models.drive import restore_one
from models.evaluation.pairs import Pair, find_pairs, read_pictures
from models.families import load_restorer
from models.pixels import to_pixels, to_tensor
from models.psnr import psnr
from models.restorer import Controls, Request, Restorer


def measured(restorer: Restorer, pairs: list[Pair], crop_px: int, steps: int) -> tuple[dict[str, list[float]], float]:
    """PSNR of every pair by task, and seconds a picture."""
    found: dict[str, list[float]] = defaultdict(list)
    start_s = time.process_time()
    for pair in pairs:
        pictures = read_pictures(pair, crop_px)
        assert pictures.truth is not None and pair.expected is not None
        controls = Controls(only=(pair.expected,), steps=steps, max_passes=1, seed=1)
        restored = restore_one(restorer, Request(image=to_tensor(pictures.degraded), controls=controls)).image
        found[pair.task].append(psnr(to_pixels(restored), pictures.truth))
    return found, (time.process_time() - start_s) / len(pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle")
    parser.add_argument("--eval", type=Path, default=Path(__file__).parents[2] / "shared" / "eval")
    parser.add_argument("--tasks", default="denoise,derain,dehaze,lowlight", help="separated by commas")
    parser.add_argument("--limit", type=int, default=1, help="pictures of each subset")
    parser.add_argument("--crop", type=int, default=192)
    parser.add_argument("--steps", type=int, nargs="+", default=[100, 20, 10])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--diffuse", action="store_true", help="leave a bundle's specialists out")
    said = parser.parse_args()
    bundle, chosen = find_bundle(said.bundle), choose_device(said.device)
    restorer, manifest = load_restorer(bundle, chosen.device), read_manifest(bundle)
    if said.diffuse:
        if not isinstance(restorer, AutoDIR):
            parser.error(f"--diffuse leaves an AutoDIR bundle's specialists out; {manifest.name} is of another family")
        restorer = AutoDIR(restorer.config, restorer.assessor, restorer.air, restorer.scm, restorer.device)
    pairs = [
        pair
        for pair in find_pairs(said.eval, said.tasks.split(","), said.limit)
        if pair.truth is not None and pair.expected in restorer.names
    ]
    tasks = list(dict.fromkeys(pair.task for pair in pairs))
    print(f"# {manifest.name} {manifest.version} · {platform.machine()} · {os.cpu_count()} cores, "
          f"{torch.get_num_threads()} threads · torch {torch.__version__} · crops of {said.crop} px\n")  # fmt: skip
    print(f"| steps | {' | '.join(tasks)} | all {len(pairs)} | s a picture |")
    print("|---|" + "---|" * (len(tasks) + 2))
    before = {task: mean(_input(pair, said.crop) for pair in pairs if pair.task == task) for task in tasks}
    print(f"| input | {' | '.join(f'{before[task]:.2f}' for task in tasks)} | "
          f"{mean(_input(pair, said.crop) for pair in pairs):.2f} | |")  # fmt: skip
    for steps in said.steps:
        found, seconds = measured(restorer, pairs, said.crop, steps)
        everything = mean(value for values in found.values() for value in values)
        rows = " | ".join(f"{mean(found[task]):.2f}" for task in tasks)
        print(f"| {steps} | {rows} | {everything:.2f} | {seconds:.2f} |", flush=True)


def _input(pair: Pair, crop_px: int) -> float:
    pictures = read_pictures(pair, crop_px)
    assert pictures.truth is not None
    return psnr(pictures.degraded, pictures.truth)


if __name__ == "__main__":
    main()
