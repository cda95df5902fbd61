"""Measure what makes MAXIM fast on a CPU, each against the usual way, in turns on one thread.

GELU by a sigmoid against torch's; shrinking by a convolution against F.interpolate; the network in chunks of positions.
The least CPU seconds of all rounds count.

Example: python benchmarks/maxim_parts.py
"""

from collections.abc import Callable, Mapping
from functools import partial

import torch
import torch.nn.functional as F
from conditions import Timer, header, make_parser
from torch import Tensor

from models.maxim import mixing
from models.maxim.blocks import shrunk
from models.maxim.config import MAXIMConfig
from models.maxim.network import MAXIM

POSITIONS, CHANNELS, SIDE_PX = 2**16, 32, 256


def least_seconds(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Returns the CPU seconds of each way; the first round only warms up."""
    seconds = dict.fromkeys(ways, float("inf"))
    for number in range(1 + rounds):
        for name, way in ways.items():
            with Timer() as timer:
                way()
            if number:
                seconds[name] = min(seconds[name], timer.cpu_s)
    return seconds


def in_chunks(network: MAXIM, image: Tensor, positions: int) -> Tensor:
    usual, mixing.CHUNK_POSITIONS = mixing.CHUNK_POSITIONS, positions
    try:
        return network(image)  # type: ignore[no-any-return]
    finally:
        mixing.CHUNK_POSITIONS = usual


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--chunks", type=int, nargs="+", default=[2**11, 2**13, 2**16])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    features = torch.randn(POSITIONS, CHANNELS)
    planes = torch.randn(1, SIDE_PX, SIDE_PX, CHANNELS).permute(0, 3, 1, 2)
    network, image = MAXIM(MAXIMConfig()).eval().requires_grad_(False), torch.rand(1, 3, SIDE_PX, SIDE_PX) * 2 - 1
    shrink = partial(F.interpolate, mode="bilinear", align_corners=False, antialias=True)
    parts = {
        "GELU and a copy, 65,536 x 32": {  # ours overwrites its input
            "ours": lambda: mixing.gelu(features.clone()),
            "torch": lambda: F.gelu(features.clone(), approximate="tanh"),
        },
        **{
            f"shrinking {times} times, 256 x 256 x 32": {
                "ours": partial(shrunk, planes, times), "torch": partial(shrink, planes, scale_factor=1 / times),
            }
            for times in (2, 4)
        },
        "network, 2 stages, 256 px": {
            f"chunks of {positions:,}": partial(in_chunks, network, image, positions) for positions in arguments.chunks
        },
    }  # fmt: skip
    print(header("parts of MAXIM"), end="\n\n")
    print("| part | way | CPU ms |\n|---|---|---|")
    with torch.inference_mode():
        for part, ways in parts.items():
            for way, seconds in least_seconds(ways, arguments.rounds).items():
                print(f"| {part} | {way} | {1000 * seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
