"""MAXIM's two axes: features are mixed between the pixels of a block, and between equal places of a grid's cells.

A block is s x s neighboring pixels; the grid has s x s cells, and the pixels at one place of every cell form a group.
Either way a group has n = s^2 positions, and one n x n matrix, the same for every channel, mixes them.

Shapes:  B batch, H W height and width, C channels, G groups of n positions.  Features are (B, H, W, C), whose sides are
multiples of s.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.maxim.config import CHUNK_POSITIONS, GPU_CHUNK_POSITIONS
from models.optional import not_none

EPS = 1e-6
CUBIC = 0.044715
"""In GELU's approximation: u = sqrt(2 / pi) (x + 0.044715 x^3)."""
CACHED_VALUES = 2**16
"""So many float32 fit into a core's own cache, so that the five passes of GELU do not wait for memory."""
Axis = Literal["grid", "block"]
AXES: tuple[Axis, Axis] = ("grid", "block")


def gelu(x: Tensor) -> Tensor:
    """The approximation by tanh, as published; on a CPU, x itself is overwritten with it.

    There, torch's sigmoid is faster than its tanh, and x / 2 (1 + tanh u) = x sigmoid(2 u) (benchmarks/maxim_parts.py).
    """
    if x.device.type != "cpu" or x.requires_grad:
        return F.gelu(x, approximate="tanh")
    for part in torch.split(x.view(-1), CACHED_VALUES):
        part.mul_(torch.addcmul(part, part * part, part, value=CUBIC).mul_(2 * math.sqrt(2 / math.pi)).sigmoid_())
    return x


def linear_of_parts(layer: nn.Linear, parts: Iterable[Tensor]) -> Tensor:
    """Returns the layer's answer to the concatenation of the parts' channels, without concatenating them.

    Each part is freed before the next is made.
    """
    total, start = None, 0
    for part in parts:
        weight = layer.weight[:, start : start + part.shape[-1]]
        start += part.shape[-1]
        total = F.linear(part, weight, layer.bias) if total is None else total.add_(F.linear(part, weight))
        del part
    assert start == layer.in_features, f"got parts of {start} channels together, expected {layer.in_features}"
    return not_none(total)


def halves(layer: nn.Linear, x: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the two halves of the channels of gelu(layer(x)), each contiguous."""
    (first, second), (bias, other) = layer.weight.chunk(2), layer.bias.chunk(2)
    return gelu(F.linear(x, first, bias)), gelu(F.linear(x, second, other))


class PositionMixing(nn.Linear):
    """A dense layer over the positions of a group: (G, n, C) -> (G, n, C)."""

    def __init__(self, side: int) -> None:
        super().__init__(side**2, side**2)

    def forward(self, x: Tensor) -> Tensor:
        # A product of (n, n) with (G, n, C) would copy its operands; a batch of views of one matrix does not
        return torch.baddbmm(self.bias[:, None], self.weight.expand(len(x), -1, -1), x)


class GatedMLP(nn.Module):
    """A gated MLP whose gate mixes positions (Liu et al. 2021, arXiv:2105.08050): (G, n, C) -> (G, n, C)."""

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, EPS)
        self.expand = nn.Linear(channels, 2 * channels)
        self.gate_norm = nn.LayerNorm(channels, EPS)
        self.mixing = PositionMixing(side)
        self.project = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = halves(self.expand, self.norm(x))
        gate = self.mixing(self.gate_norm(gate))
        return x + self.project(torch.addcmul(value, value, gate))  # type: ignore[no-any-return]  # value (gate + 1)


class TwoAxes(nn.Module):
    """Half of the channels goes through a branch on the grid, the other half through one on the blocks.

    `branch` maps groups (G, n, C) to groups of the same shape.
    """

    def __init__(self, channels: int, side: int, branch: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.side = side
        self.norm = nn.LayerNorm(channels, EPS)
        self.expand = nn.Linear(channels, 2 * channels)
        self.grid, self.block = branch(), branch()
        self.project = nn.Linear(2 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C), without the residual."""
        total = torch.empty_like(x)
        for index, axis in enumerate(AXES):
            branch = self.grid if axis == "grid" else self.block
            into, into_bias = self.expand.weight.chunk(2)[index], self.expand.bias.chunk(2)[index]
            out, out_bias = self.project.weight.chunk(2, dim=1)[index], self.project.bias if index == 0 else None
            for source, target in self._chunks(x, total, axis):
                positions = gelu(F.linear(self.norm(source.reshape(-1, self.side**2, x.shape[-1])), into, into_bias))
                mixed = F.linear(branch(positions), out, out_bias).view(source.shape)
                target.copy_(mixed) if index == 0 else target.add_(mixed)
        return total

    def _chunks(self, x: Tensor, total: Tensor, axis: Axis) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields views of both of whole groups, (B, rows, columns, s, s, C), of about CHUNK_POSITIONS.

        Groups are independent, so a chunk's answer is the same as that of the whole.
        """
        images, _, width, _ = x.shape
        positions = CHUNK_POSITIONS if x.device.type == "cpu" else GPU_CHUNK_POSITIONS
        rows = max(1, positions // (images * width * self.side))
        source, target = (grouped(features, self.side, axis) for features in (x, total))
        for row in range(0, source.shape[1], rows):  # slices, since autograd allows no writing into what split returns
            yield source[:, row : row + rows], target[:, row : row + rows]


def grouped(x: Tensor, side: int, axis: Axis) -> Tensor:
    """Returns a view of features by groups, (B, rows, columns, s, s, C): the last s x s are a group's positions."""
    images, height, width, channels = x.shape
    if axis == "grid":
        cells = x.view(images, side, height // side, side, width // side, channels)
        return cells.permute(0, 2, 4, 1, 3, 5)
    blocks = x.view(images, height // side, side, width // side, side, channels)
    return blocks.permute(0, 1, 3, 2, 4, 5)


class MultiAxisMLP(TwoAxes):
    """The multi-axis gated MLP, with its residual (the paper's section 3.2): (B, H, W, C) -> (B, H, W, C)."""

    def __init__(self, channels: int, side: int) -> None:
        super().__init__(channels, side, lambda: GatedMLP(channels, side))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).add_(x)
