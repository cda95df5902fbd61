"""Measure seconds and peak memory of MAXIM by picture size, on one thread.

Each row is a new process, so the peak includes torch and the weights, which are random: they change neither.  Seconds
are CPU seconds, which equal wall time on a quiet machine.

Example: python benchmarks/maxim.py --sizes 256 512
"""

import subprocess
import sys

import torch
from conditions import CPU, Timer, header, make_parser, peak_mib

from models.maxim.config import MAXIMConfig
from models.maxim.network import MAXIM


def measure(stages: int, side_px: int, repeats: int) -> tuple[float, float]:
    """Returns the fewest seconds of a picture, and the peak of this process in MiB."""
    torch.manual_seed(0)
    network = MAXIM(MAXIMConfig(stages=stages)).eval().requires_grad_(False)
    image, seconds = torch.rand(1, 3, side_px, side_px) * 2 - 1, []
    with torch.inference_mode():
        for _ in range(repeats):
            with Timer() as timer:
                network(image)
            seconds.append(timer.seconds)
    return min(seconds), peak_mib(CPU)


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 1024], help="sides in pixels")
    parser.add_argument("--stages", type=int, nargs="+", default=[2, 3], help="2: rain, haze, light; 3: blur")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--one", action="store_true", help="measure in this process: the first size and stages only")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.one:
        print(*measure(arguments.stages[0], arguments.sizes[0], arguments.repeats))
        return
    print(header("MAXIM"), end="\n\n")
    print("| stages | picture | s | peak MiB |\n|---|---|---|---|")
    for stages in arguments.stages:
        for side in arguments.sizes:
            words = ["--one", "--stages", str(stages), "--sizes", str(side), "--repeats", str(arguments.repeats)]
            child = subprocess.run([sys.executable, __file__, *words], check=True, stdout=subprocess.PIPE, text=True)
            seconds, mib = (float(word) for word in child.stdout.split())
            print(f"| {stages} | {side} x {side} | {seconds:.1f} | {mib:.0f} |", flush=True)


if __name__ == "__main__":
    main()
