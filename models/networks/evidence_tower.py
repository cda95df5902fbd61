"""An image tower that asks restorers: CLIP's own tower, and networks that have learned to restore, side by side.

Not of the paper, whose tower is a ViT that has seen the internet.  A small tower learns from labels alone, a few bits a
picture; a network that restores has been told every pixel, and what it sees and what it would change tell of the damage
(docs/decisions/0015).

Shapes:  B views of S x S pixels, F figures of evidence, E joint width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.drunet import DRUNet, DRUNetConfig

GRID = 8
"""Levels are looked at in GRID x GRID blocks for their extremes: a drop is in one place."""
COMPRESSION = 4.0
CHANGE_PX = 16
CHANGES = 5


@dataclass(frozen=True, kw_only=True)
class TowerConfig:
    """The restorers' networks, and the width between evidence and the joint space."""

    branches: tuple[DRUNetConfig, ...]
    hidden: int = 256
    dropout: float = 0.3


class BranchTower(nn.Module):
    """CLIP's `visual`.  Views come normalized by CLIP's mean and standard deviation."""

    def __init__(
        self, config: TowerConfig, own: nn.Module, embed_dim: int, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__()
        self.own = own
        self.branches = nn.ModuleList(DRUNet(branch) for branch in config.branches)
        self.FACING = (
            "own.conv1",
            *(f"branches.{i}.{end}" for i in range(len(self.branches)) for end in DRUNet.FACING),
        )
        self.mean, self.std = tuple(mean), tuple(std)
        channels = sum(branch.width * 2 ** len(branch.blocks) for branch in config.branches)
        figures = embed_dim + 4 * channels + CHANGES * len(config.branches)
        self.norm = nn.BatchNorm1d(figures)
        self.hidden = nn.Linear(figures, config.hidden)
        self.project = nn.Linear(config.hidden, embed_dim)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, views: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, E)."""
        return self.answer(self.evidence(views))

    def evidence(self, views: Tensor) -> Tensor:
        """What the towers see and would change: (B, 3, S, S) -> (B, F) float32."""
        mean, std = (views.new_tensor(value)[:, None, None] for value in (self.mean, self.std))
        pictures = (views * std + mean) * 2 - 1
        found = [F.normalize(self.own(views).float(), dim=-1)]
        for branch in self.branches:
            levels: list[Tensor] = []
            restored = branch(pictures, levels)
            found += [*(pool(level) for level in levels), change(pictures, restored)]
        # levels differ by orders of magnitude, as noise of sigma 3 and 50 do
        return torch.asinh(COMPRESSION * torch.cat(found, dim=1))

    def answer(self, evidence: Tensor) -> Tensor:
        """(B, F) -> (B, E)."""
        x = F.gelu(self.hidden(self.dropout(self.norm(evidence))))
        return self.project(self.dropout(x))  # type: ignore[no-any-return]


def pool(level: Tensor) -> Tensor:
    """Mean, standard deviation, and the largest and smallest mean of a block: (B, C, H, W) -> (B, 4 C) float32."""
    x = level.float()
    blocks = F.avg_pool2d(x, max(1, min(x.shape[-2:]) // GRID))
    mean = x.mean(dim=(2, 3))
    # the root has no slope at 0, where a channel is silent
    spread = (x.square().mean(dim=(2, 3)) - mean.square()).clamp_min(1e-8).sqrt()
    return torch.cat([mean, spread, blocks.amax(dim=(2, 3)), blocks.amin(dim=(2, 3))], dim=1)


def change(before: Tensor, after: Tensor) -> Tensor:
    """How much a restorer would change, and how evenly: (B, 3, H, W) twice in [-1, 1] -> (B, CHANGES) float32.

    Logarithms of levels of 255: the mean change, the size of the mean, and the quarter, half and 95 % points of the
    blocks' standard deviations.
    """
    changed = (after.float().clamp(-1, 1) - before.float()) * 127.5
    blocks = changed.unfold(2, CHANGE_PX, CHANGE_PX).unfold(3, CHANGE_PX, CHANGE_PX)  # (B, 3, h, w, 16, 16)
    mean = blocks.mean(dim=(-2, -1))
    spread = (blocks.square().mean(dim=(-2, -1)) - mean.square()).clamp_min(1e-6).sqrt().mean(dim=1).flatten(1)
    points = torch.quantile(spread, spread.new_tensor([0.25, 0.5, 0.95]), dim=1)  # (3, B)
    sizes = [changed.abs().mean(dim=(1, 2, 3)), changed.mean(dim=(1, 2, 3)).abs(), *points]
    return torch.log(torch.stack(sizes, dim=1) + 0.05)
