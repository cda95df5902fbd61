"""Seconds and memory of whole restorations: `python benchmarks/seconds.py PHOTO [--side 512] [--bundle NAME]`.

The photo is enlarged or cropped to a square of `--side` px.  Medians of `--repeats` runs in one process, after one that
does not count; the peak is that of the process.
"""

import argparse
import resource
import statistics
import time
from pathlib import Path

import cv2
import torch

from models.bundle import find_bundle, read_manifest
from models.drive import restore_one
from models.families import load_restorer
from models.pixels import to_tensor
from models.restorer import Controls, Request
from models.training.data.photos import Image

ASKED = {
    "automatic, one pass": Controls(max_passes=1),
    "automatic": Controls(),
    "--prompt derain": Controls(prompt="derain"),
    "--prompt 'brighten it'": Controls(prompt="brighten it"),
    "--prompt deblur": Controls(prompt="deblur"),
}


def square(photo: Path, side: int) -> Image:
    pixels = cv2.imread(str(photo), cv2.IMREAD_COLOR_RGB)
    if pixels is None:
        raise SystemExit(f"{photo} cannot be read as a photo")
    scale = max(1.0, side / min(pixels.shape[:2]))
    enlarged: Image = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)[:side, :side]
    return enlarged


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", type=Path)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--bundle")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    said = parser.parse_args()
    torch.set_num_threads(said.threads)
    bundle = find_bundle(said.bundle)
    restorer, manifest = load_restorer(bundle, torch.device("cpu")), read_manifest(bundle)
    image = to_tensor(square(said.photo, said.side))
    print(f"# {manifest.name} {manifest.version}: seconds at {said.side} px, {said.threads} threads, "
          f"torch {torch.__version__}\n\n| asked | repaired | s |\n|---|---|---|")  # fmt: skip
    for name, controls in ASKED.items():
        times = []
        for _ in range(1 + said.repeats):
            start_s = time.perf_counter()
            done = restore_one(restorer, Request(image=image, controls=controls))
            times.append(time.perf_counter() - start_s)
        passes = ", ".join(f"{one.label} ({one.by})" for one in done.report.passes) or "nothing"
        print(f"| {name} | {passes} | {statistics.median(times[1:]):.2f} |")
    print(f"\nPeak of the process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
