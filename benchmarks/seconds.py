"""Measure the seconds and the peak memory of a restoration.

The photo is enlarged or cropped to a square of --side pixels.  Seconds are wall time, the median of --repeats runs in
one process after one warm-up.

Example: python benchmarks/seconds.py examples/raccoon-noisy.jpg --side 512
"""

import statistics
from pathlib import Path

import cv2
import torch
from conditions import Timer, header, make_parser, peak_mib

from models.bundle import find_bundle, read_manifest
from models.controls import Controls
from models.drive import restore_one
from models.families import load_restorer
from models.pixels import to_tensor
from models.restorer import Request
from models.training.data.photos import Image

VARIANTS = {
    "automatic, one pass": Controls(max_passes=1),
    "automatic": Controls(),
    "--prompt derain": Controls(prompt="derain"),
    "--prompt 'brighten it'": Controls(prompt="brighten it"),
    "--prompt deblur": Controls(prompt="deblur"),
}


def square(photo: Path, side: int) -> Image:
    pixels = cv2.imread(str(photo), cv2.IMREAD_COLOR_RGB)
    if pixels is None:
        raise SystemExit(f"cannot read {photo} as a photo")
    scale = max(1.0, side / min(pixels.shape[:2]))
    enlarged: Image = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)[:side, :side]
    return enlarged


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("photo", type=Path, help="photo to restore")
    parser.add_argument("--side", type=int, default=512, help="side of the square in pixels")
    parser.add_argument("--bundle", help="name or folder of a bundle; the shipped one by default")
    parser.add_argument("--repeats", type=int, default=5, help="measured runs after one warm-up")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    bundle = find_bundle(arguments.bundle)
    restorer, manifest = load_restorer(bundle, torch.device("cpu")), read_manifest(bundle)
    image = to_tensor(square(arguments.photo, arguments.side))
    print(header(f"{manifest.name} {manifest.version}", f"{arguments.side} px"))
    print("\n| variant | repaired | s |\n|---|---|---|")
    for name, controls in VARIANTS.items():
        seconds = []
        for _ in range(1 + arguments.repeats):
            with Timer() as timer:
                restored = restore_one(restorer, Request(image=image, controls=controls))
            seconds.append(timer.wall_s)
        passes = ", ".join(f"{entry.label} ({entry.by})" for entry in restored.report.passes) or "nothing"
        print(f"| {name} | {passes} | {statistics.median(seconds[1:]):.2f} |")
    print(f"\nPeak memory of the process: {peak_mib():.0f} MiB")


if __name__ == "__main__":
    main()
