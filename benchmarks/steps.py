"""Measure PSNR and seconds of a bundle by the number of denoising steps.

Crops of the pairs below --eval are restored in one pass each, limited to the expected degradation (`only`).  The
specialists of an AutoDIR bundle always take one step; --diffuse leaves them out.  PSNR is a mean in dB.  Seconds are
CPU time per photo; set OMP_NUM_THREADS=1.

Example: python benchmarks/steps.py --bundle DIR --steps 100 20 10
"""

from collections import defaultdict
from pathlib import Path
from statistics import mean

from conditions import EVAL_SET, Timer, header, make_parser

from models.autodir.restorer import AutoDIR
from models.bundle import find_bundle, read_manifest
from models.controls import Controls
from models.device import choose_device
from models.drive import restore_one
from models.evaluation.pairs import Pair, find_pairs, read_pictures
from models.families import load_restorer
from models.pixels import to_pixels, to_tensor
from models.psnr import psnr
from models.restorer import Request, Restorer


def measure(restorer: Restorer, pairs: list[Pair], crop_px: int, steps: int) -> tuple[dict[str, list[float]], float]:
    """Returns the PSNR of every pair by task, and the CPU seconds per photo."""
    scores: dict[str, list[float]] = defaultdict(list)
    with Timer() as timer:
        for pair in pairs:
            pictures = read_pictures(pair, crop_px)
            assert pictures.truth is not None and pair.expected is not None
            controls = Controls(only=(pair.expected,), steps=steps, max_passes=1, seed=1)
            restored = restore_one(restorer, Request(image=to_tensor(pictures.degraded), controls=controls)).image
            scores[pair.task].append(psnr(to_pixels(restored), pictures.truth))
    return scores, timer.cpu_s / len(pairs)


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--bundle", help="name or folder of a bundle; the shipped one by default")
    parser.add_argument("--eval", type=Path, default=EVAL_SET, help="folder of TASK/lq and TASK/gt")
    parser.add_argument("--tasks", default="denoise,derain,dehaze,lowlight", help="names separated by commas")
    parser.add_argument("--limit", type=int, default=1, help="photos per subset")
    parser.add_argument("--crop", type=int, default=192, help="side of the crops in pixels")
    parser.add_argument("--steps", type=int, nargs="+", default=[100, 20, 10], help="denoising steps to compare")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or cuda:N (default: cpu)")
    parser.add_argument("--diffuse", action="store_true", help="do not use the specialists of the bundle")
    arguments = parser.parse_args()
    bundle, chosen = find_bundle(arguments.bundle), choose_device(arguments.device)
    restorer, manifest = load_restorer(bundle, chosen.device), read_manifest(bundle)
    if arguments.diffuse:
        if not isinstance(restorer, AutoDIR):
            parser.error(f"--diffuse needs an AutoDIR bundle, but {manifest.name} is of another family")
        restorer = AutoDIR(restorer.config, restorer.assessor, restorer.air, restorer.scm, restorer.device)
    pairs = [
        pair
        for pair in find_pairs(arguments.eval, arguments.tasks.split(","), arguments.limit)
        if pair.truth is not None and pair.expected in restorer.names
    ]
    tasks = list(dict.fromkeys(pair.task for pair in pairs))
    print(
        header(f"{manifest.name} {manifest.version}", f"crops of {arguments.crop} px", device=chosen.device), end="\n\n"
    )
    print(f"| steps | {' | '.join(tasks)} | all {len(pairs)} | s per photo |")
    print("|---|" + "---|" * (len(tasks) + 2))
    before = {task: mean(_input_psnr(pair, arguments.crop) for pair in pairs if pair.task == task) for task in tasks}
    print(f"| input | {' | '.join(f'{before[task]:.2f}' for task in tasks)} | "
          f"{mean(_input_psnr(pair, arguments.crop) for pair in pairs):.2f} | |")  # fmt: skip
    for steps in arguments.steps:
        scores, seconds = measure(restorer, pairs, arguments.crop, steps)
        everything = mean(value for values in scores.values() for value in values)
        rows = " | ".join(f"{mean(scores[task]):.2f}" for task in tasks)
        print(f"| {steps} | {rows} | {everything:.2f} | {seconds:.2f} |", flush=True)


def _input_psnr(pair: Pair, crop_px: int) -> float:
    pictures = read_pictures(pair, crop_px)
    assert pictures.truth is not None
    return psnr(pictures.degraded, pictures.truth)


if __name__ == "__main__":
    main()
