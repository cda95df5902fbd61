"""Noise belongs to the image, not to the batch or the GPU: drawn on the CPU from the image's own seed.

Shapes:  B images; `shape` is one image's latent, such as (C, h, w).
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from models.tiles import Tile


class NoiseStream:
    """Standard normal draws of one image, in the order in which its own steps ask for them."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def draw(self, shape: tuple[int, ...]) -> Tensor:
        """The next draw, `shape`, float32, on the CPU."""
        return torch.randn(shape, generator=self._generator)

    def mark(self) -> Tensor:
        """Where the stream is, for `rewind`."""
        return self._generator.get_state()

    def rewind(self, mark: Tensor) -> None:
        """Draw again what has been drawn since: a step that failed must leave no trace in the next try."""
        self._generator.set_state(mark)


def noise(seeds: Iterable[int], shape: tuple[int, ...]) -> Tensor:
    """The first draw of each seed's stream: (B, *shape)."""
    return torch.stack([NoiseStream(seed).draw(shape) for seed in seeds])


def noise_of(seed: int, tile: Tile) -> NoiseStream:
    """A tile's own noise: one image, one noise; its tiles must not repeat it, which would show as a pattern."""
    return NoiseStream(seed if tile.count == 1 else (seed * 1_000_003 + tile.index) % 2**63)
