"""Noise of an image: drawn on the CPU from the image's own seed, so it depends on neither the batch nor the GPU."""

import torch
from torch import Tensor

from models.tiles import Tile


class NoiseStream:
    """Standard normal draws of one image, in the order of its steps."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def draw(self, shape: tuple[int, ...]) -> Tensor:
        """Returns the next draw, of this shape, float32, on the CPU."""
        return torch.randn(shape, generator=self._generator)

    def mark(self) -> Tensor:
        """Returns the position of the stream, for `rewind`."""
        return self._generator.get_state()

    def rewind(self, mark: Tensor) -> None:
        """Return to a marked position: a step that failed must not change the noise of the next try."""
        self._generator.set_state(mark)


def tile_noise(seed: int, tile: Tile) -> NoiseStream:
    """Returns the noise of a tile, different for each tile of an image: a repeated noise would show as a pattern."""
    return NoiseStream(seed if tile.count == 1 else (seed * 1_000_003 + tile.index) % 2**63)
