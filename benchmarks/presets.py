"""Measure what each preset does: PSNR, change, passes and seconds on crops of test pairs.

The bundle decides what it repairs, as for a user who names nothing.  PSNR is a mean in dB, "to input" is the PSNR of
the result with the input as its reference: higher is closer to the photo.  Seconds are CPU time per photo; set
OMP_NUM_THREADS=1.

Example: python benchmarks/presets.py --tasks denoise,derain,jpeg --per-task 2
"""

from collections import defaultdict
from pathlib import Path
from statistics import mean

from conditions import CPU, EVAL_SET, Timer, header, make_parser

from models.bundle import find_bundle, read_manifest
from models.controls import Controls
from models.drive import restore_one
from models.evaluation.pairs import Pair, find_pairs, read_pictures
from models.families import load_restorer
from models.pixels import to_pixels, to_tensor
from models.presets import PRESETS, PresetName, preset_values
from models.psnr import psnr
from models.restorer import Request, Restorer

TASKS = "denoise,derain,dehaze,lowlight,deblur,jpeg,sr,raindrop,shadow,underwater"


def measure(restorer: Restorer, pairs: list[Pair], crop_px: int, preset: PresetName) -> dict[str, list[float]]:
    """Returns one value for each pair of each column."""
    columns: dict[str, list[float]] = defaultdict(list)
    for pair in pairs:
        pictures = read_pictures(pair, crop_px)
        assert pictures.truth is not None
        controls = Controls(preset=preset, seed=1, **preset_values(preset, ()))  # type: ignore[arg-type]
        with Timer() as timer:
            restored = restore_one(restorer, Request(image=to_tensor(pictures.degraded), controls=controls))
        pixels = to_pixels(restored.image)
        columns[pair.task].append(psnr(pixels, pictures.truth))
        columns["all"].append(psnr(pixels, pictures.truth))
        if restored.report.change is not None and restored.report.change.max_levels > 0:
            columns["to input"].append(psnr(pixels, pictures.degraded))
        columns["passes"].append(len(restored.report.passes))
        columns["s"].append(timer.cpu_s)
    return columns


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--bundle", help="name or folder of a bundle; the shipped one by default")
    parser.add_argument("--eval", type=Path, default=EVAL_SET, help="folder of TASK/lq and TASK/gt")
    parser.add_argument("--tasks", default=TASKS, help="names separated by commas")
    parser.add_argument("--per-task", type=int, default=1, help="photos of each task")
    parser.add_argument("--crop", type=int, default=256, help="side of the crops in pixels")
    arguments = parser.parse_args()
    bundle = find_bundle(arguments.bundle)
    restorer, manifest = load_restorer(bundle, CPU), read_manifest(bundle)
    by_task: dict[str, list[Pair]] = defaultdict(list)
    for pair in find_pairs(arguments.eval, arguments.tasks.split(","), arguments.per_task):
        if pair.truth is not None and len(by_task[pair.task]) < arguments.per_task:
            by_task[pair.task].append(pair)
    pairs = [pair for found in by_task.values() for pair in found]
    print(header(f"{manifest.name} {manifest.version}", f"{len(pairs)} crops of {arguments.crop} px"), end="\n\n")
    names = [*by_task, "all", "to input", "passes", "s"]
    print(f"| preset | {' | '.join(names)} |")
    print("|---|" + "---|" * len(names))
    before: dict[str, list[float]] = defaultdict(list)
    for pair in pairs:
        pictures = read_pictures(pair, arguments.crop)
        assert pictures.truth is not None
        for name in (pair.task, "all"):
            before[name].append(psnr(pictures.degraded, pictures.truth))
    print(row("(input)", names, before), flush=True)
    for preset in PRESETS:
        print(row(preset, names, measure(restorer, pairs, arguments.crop, preset)), flush=True)


def row(name: str, names: list[str], columns: dict[str, list[float]]) -> str:
    """Returns a row of the table with the mean of each column."""
    return f"| {name} | " + " | ".join(f"{mean(columns[key]):.2f}" if columns.get(key) else "" for key in names) + " |"


if __name__ == "__main__":
    main()
