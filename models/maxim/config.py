"""The sizes of MAXIM (Tu et al. 2022, arXiv:2201.02973).  All published networks share them but for their stages."""

from dataclasses import dataclass

CHANNELS = (32, 64, 128)
"""Of each level; level i has 1/2^i of the picture's height and width.  The bottleneck keeps the last."""
SIDES = (16, 16, 8)
"""Of each level: the side of a block in pixels, and the side of the grid in cells."""
BOTTLENECK_SIDE = 8
DEPTH = 2
"""Groups of multi-axis mixing and attention in each block, and the number of bottleneck blocks."""
STRIDE = 64
"""Multiples of it are the sides of pictures: the bottleneck works at 1/8, in blocks of 8 pixels."""
CHUNK_POSITIONS = 2**13
"""Positions that are mixed at a time, about: 1 MB of features, which stay in a core's caches from step to step."""
GPU_CHUNK_POSITIONS = 2**20
"""A GPU would only wait for the small steps; a megapixel at a time is a few hundred MB."""


@dataclass(frozen=True, kw_only=True)
class MAXIMConfig:
    """`stages` is 3 for the networks that denoise and deblur (22.2 M weights), and 2 for the others (14.2 M)."""

    stages: int = 2

    @property
    def stride(self) -> int:
        return STRIDE
