"""The sizes of DAT-light (Chen et al., ICCV 2023, arXiv:2308.03364).  The published networks differ in their scale."""

from dataclasses import dataclass

WINDOW_PX = (8, 32)
"""The sides of a window.  Half of the channels attend within lying windows, the other half within standing ones."""
SHIFT_PX = (4, 16)
"""How far the windows of a shifted block are moved: half of their sides."""
TILE_PX = 256
"""Side of the largest tile, before the enlargement: in one of 512 px, a pixel takes twice the time, and the peak is
1.2 GB instead of 0.5 (benchmarks/results/2026-11-27_cpu_dat.md)."""


@dataclass(frozen=True, kw_only=True)
class DATConfig:
    """The network.

    Attributes:
        scale: how many times it enlarges each side.
        width: number of channels.
        blocks: number of blocks, which aggregate over space and over channels in turn.
        heads: number of attention heads; half of them have lying windows.
        expansion: channels in a block's feed-forward part, as a multiple of `width`.
    """

    scale: int = 2
    width: int = 60
    blocks: int = 18
    heads: int = 6
    expansion: int = 2
