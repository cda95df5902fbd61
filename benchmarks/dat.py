"""Measure what DAT-light does for --scale: quality against bicubic and autodir-small, and seconds and memory.

Quality has two parts.  The pairs of the evaluation's "sr" are clean reductions by 4.  The photographs are held out from
the training of autodir-small (every 20th); each is made small, damaged and enlarged again.  "DAT alone" repairs nothing
before it enlarges.  Rows that are in the file --rows already are not measured again.

Seconds are CPU seconds of one thread.  Each row of the speed is a new process with random weights, which change neither
seconds nor memory.

Example: python benchmarks/dat.py quality BUNDLE ../shared/train --rows rows.jsonl; python benchmarks/dat.py speed
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from conditions import CPU, EVAL_SET, Timer, header, make_parser, peak_mib
from numpy.typing import NDArray
from PIL import Image

from models.bundle import find_bundle
from models.controls import Controls
from models.dat.config import DATConfig
from models.dat.network import DAT
from models.drive import restore_one
from models.evaluation.ssim import ssim
from models.families import load_restorer
from models.photo.part import prepared
from models.photo.read import Limits, Photo
from models.pixels import Pixels, as_image, to_pixels
from models.psnr import psnr
from models.restorer import Request, Restorer
from models.training.data.photos import find_photos

Picture = NDArray[np.uint8]
TRUTH_PX = {2: 192, 4: 256}
"""Sides of the center crops of photographs, by scale."""
LONGEST_PX = 800
"""Photographs are made so small first: their own noise and compression must not count as the truth."""
METHODS = ("bicubic", "autodir-small", "DAT alone", "with repairs")


def _noisy(sigma: float) -> Callable[[Picture], Picture]:
    def damage(picture: Picture) -> Picture:
        noise = np.random.default_rng(0).normal(0, sigma, picture.shape)
        return np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8)

    return damage


def _compressed(quality: int) -> Callable[[Picture], Picture]:
    def damage(picture: Picture) -> Picture:
        file = BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=quality)
        return np.asarray(Image.open(file))

    return damage


DAMAGE: dict[str, Callable[[Picture], Picture]] = {
    "none": lambda picture: picture,
    "noise 5": _noisy(5),
    "noise 10": _noisy(10),
    "JPEG q80": _compressed(80),
    "JPEG q60": _compressed(60),
}


def photographs(photos: Path, count: int) -> Iterator[tuple[str, int, Picture, Picture]]:
    """Yields (name, scale, small picture, truth)."""
    chosen = find_photos([photos])[::20]
    for path in chosen[:: max(1, len(chosen) // count)][:count]:
        whole = Image.open(path).convert("RGB")
        whole.thumbnail((LONGEST_PX, LONGEST_PX), Image.Resampling.LANCZOS)
        for scale, side in TRUTH_PX.items():
            left, top = (whole.width - side) // 2, (whole.height - side) // 2
            truth = whole.crop((left, top, left + side, top + side))
            small = np.asarray(truth.resize((side // scale, side // scale), Image.Resampling.BICUBIC))
            for damage, spoil in DAMAGE.items():
                yield f"photo {damage} {path.stem}", scale, spoil(small), np.asarray(truth)


def pairs() -> Iterator[tuple[str, int, Picture, Picture]]:
    """Yields (name, scale, small picture, truth)."""
    for path in sorted((EVAL_SET / "sr" / "lq").iterdir()):
        truth, small = (
            np.asarray(Image.open(path.parents[1] / side / path.name).convert("RGB")) for side in ("gt", "lq")
        )
        yield f"pair {path.stem.split('_')[0]} {path.stem}", 4, small, truth


def results(
    ours: Restorer, dat: Restorer, small: Picture, scale: int, compressed: bool
) -> Iterator[tuple[str, Pixels, list[str], float]]:
    """Yields each method's result, the repairs that it made, and its CPU seconds."""
    photo = prepared(Photo(pixels=small, format="png"), None, scale, Limits())
    yield "bicubic", photo.pixels, [], 0.0
    request = Request(
        image=as_image(photo.pixels), controls=Controls(scale=scale), small=as_image(small), compressed=compressed
    )
    alone = replace(request, controls=Controls(scale=scale, only=("low-resolution",)))
    for method, restorer, asked in zip(METHODS[1:], (ours, dat, dat), (request, alone, request), strict=True):
        with Timer() as timer:
            restored = restore_one(restorer, asked)
        yield (
            method,
            to_pixels(restored.image),
            [one.label for one in restored.report.passes if one.kept],
            timer.seconds,
        )


def quality(arguments: argparse.Namespace) -> None:
    """Measure what is missing in the file of rows, then print the tables."""
    ours, dat = (load_restorer(folder, CPU) for folder in (find_bundle("autodir-small"), find_bundle(arguments.bundle)))
    rows = [json.loads(line) for line in arguments.rows.read_text().splitlines()] if arguments.rows.exists() else []
    known = {(row["name"], row["scale"]) for row in rows}
    for name, scale, small, truth in chain(photographs(arguments.photos, arguments.count), pairs()):
        if not re.search(arguments.only, name):
            continue
        if (name, scale) in known:
            continue
        row = {"name": name, "scale": scale}
        for method, picture, repairs, seconds in results(ours, dat, small, scale, " JPEG " in name):
            row[method] = (psnr(picture, truth), ssim(picture, truth), seconds, repairs)
        rows.append(row)
        with arguments.rows.open("a") as file:
            file.write(json.dumps(row) + "\n")
    print_tables(rows)


def print_tables(rows: list[dict[str, list[float]]]) -> None:
    """Print the means of each kind of picture."""
    print(header("DAT-light for --scale"), end="\n\n")
    print(f"| input | scale | n | {' | '.join(METHODS)} | better than autodir-small |\n|---|---|---|{'---|' * 5}")
    kinds: dict[tuple[str, int], list[dict[str, list[float]]]] = {}
    for row in rows:
        kinds.setdefault((str(row["name"]).rpartition(" ")[0], int(str(row["scale"]))), []).append(row)
    for (kind, scale), group in kinds.items():
        means = [np.mean([row[method][:2] for row in group], axis=0) for method in METHODS]
        better = sum(row["with repairs"][0] > row["autodir-small"][0] for row in group)
        cells = " | ".join(f"{decibel:.2f} / {similarity:.3f}" for decibel, similarity in means)
        print(f"| {kind} | {scale} | {len(group)} | {cells} | {better} of {len(group)} |")


def speed(arguments: argparse.Namespace) -> None:
    """Print seconds and peak memory of the network by size, each in a process of its own."""
    torch.set_num_threads(1)
    if arguments.one:
        scale, side = arguments.one
        torch.manual_seed(0)
        network = DAT(DATConfig(scale=scale)).eval().requires_grad_(False)
        with torch.inference_mode(), Timer() as timer:
            network(torch.rand(1, 3, side, side) * 2 - 1)
        print(timer.seconds, peak_mib(CPU))
        return
    print(header("DAT-light"), end="\n\n")
    print("| scale | photo | result | s | s per megapixel of result | peak MiB |\n|---|---|---|---|---|---|")
    for scale in (2, 4):
        for side in arguments.sizes:
            words = ["speed", "--one", str(scale), str(side)]
            child = subprocess.run([sys.executable, __file__, *words], check=True, stdout=subprocess.PIPE, text=True)
            seconds, mib = (float(word) for word in child.stdout.split())
            large = side * scale
            each = seconds / (large**2 / 1e6)
            print(f"| {scale} | {side} px | {large} px | {seconds:.1f} | {each:.0f} | {mib:.0f} |", flush=True)


def main() -> None:
    parser = make_parser(__doc__)
    commands = parser.add_subparsers(required=True)
    qualities = commands.add_parser("quality")
    qualities.add_argument("bundle", help="name or folder of the bundle that has DAT")
    qualities.add_argument("photos", type=Path, help="folder of photographs, such as ../shared/train")
    qualities.add_argument("--count", type=int, default=6, help="number of photographs")
    qualities.add_argument("--only", default="", help="regular expression for names, such as 'photo|pair set5'")
    qualities.add_argument("--rows", type=Path, required=True, help="file of measured rows")
    qualities.set_defaults(run=quality)
    speeds = commands.add_parser("speed")
    speeds.add_argument("--sizes", type=int, nargs="+", default=[128, 256, 512], help="sides before the enlargement")
    speeds.add_argument("--one", type=int, nargs=2, metavar=("SCALE", "SIDE"), help="measure in this process")
    speeds.set_defaults(run=speed)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.run(arguments)


if __name__ == "__main__":
    main()
