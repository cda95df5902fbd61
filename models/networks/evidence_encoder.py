"""An image encoder that gathers evidence of damage from restoration networks, beside CLIP's own image encoder.

It is not part of the paper, whose image encoder is a ViT trained on web data.  A small encoder learns from labels
alone, a few bits a picture.  A restoration network has learned from every pixel, so its features, and the change that
it would make, tell of the damage (docs/decisions/0015).

Shapes:  B views of S x S pixels, F features of evidence, E joint width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.drunet import DRUNet, DRUNetConfig
from models.networks.turns import turned

GRID = 8
"""The extremes of a level are taken over GRID x GRID blocks, because a drop is in one place."""
COMPRESSION = 4.0
CHANGE_PX = 16
CHANGES = 5


@dataclass(frozen=True, kw_only=True)
class EvidenceEncoderConfig:
    """The restoration networks, and the width of the layer between evidence and joint space.

    `parts` names, for each branch, the part of the bundle's weights that holds it, such as "specialist-detail".  ""
    stands for the part of CLIP itself, as do no names at all.  `turned` tells, for each branch, whether it also sees
    the quarter turn of a view, for damage with a direction, as rain in a photo that is stored sideways; without it, no
    branch does.
    """

    branches: tuple[DRUNetConfig, ...]
    parts: tuple[str, ...] = ()
    turned: tuple[bool, ...] = ()
    hidden: int = 256
    dropout: float = 0.3

    @property
    def looks(self) -> tuple[tuple[int, int], ...]:
        """The looks at a view, in the order of the features: the branch, and the quarter turns of the view."""
        seen = (*self.turned, *[False] * len(self.branches))
        return tuple((index, turn) for index in range(len(self.branches)) for turn in (0, 1)[: 1 + seen[index]])


class EvidenceEncoder(nn.Module):
    """Replaces CLIP's `visual`.  Views are normalized with CLIP's mean and standard deviation."""

    def __init__(
        self, config: EvidenceEncoderConfig, own: nn.Module, embed_dim: int, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__()
        self.own = own
        self.branches = nn.ModuleList(DRUNet(branch) for branch in config.branches)
        self.PIXEL_LAYERS = (
            "own.conv1",
            *(f"branches.{i}.{end}" for i in range(len(self.branches)) for end in DRUNet.PIXEL_LAYERS),
        )
        self.mean, self.std = tuple(mean), tuple(std)
        self.looks = config.looks
        channels = sum(_channels(config.branches[index]) for index, _ in self.looks)
        features = embed_dim + 4 * channels + CHANGES * len(self.looks)
        self.norm = nn.BatchNorm1d(features)
        self.hidden = nn.Linear(features, config.hidden)
        self.project = nn.Linear(config.hidden, embed_dim)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, views: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, E)."""
        return self.embed(self.evidence(views))

    def evidence(self, views: Tensor) -> Tensor:
        """Returns features of all networks, and the size of their changes: (B, 3, S, S) -> (B, F) float32."""
        mean, std = (views.new_tensor(value)[:, None, None] for value in (self.mean, self.std))
        pictures = (views * std + mean) * 2 - 1
        found = [F.normalize(self.own(views).float(), dim=-1)]
        for index, turn in self.looks:
            levels: list[Tensor] = []
            seen = turned(pictures, turn)
            restored = self.branches[index](seen, levels)
            found += [*(pool(level) for level in levels), change(seen, restored)]
        # levels differ by orders of magnitude, as noise of sigma 3 and 50 do
        return torch.asinh(COMPRESSION * torch.cat(found, dim=1))

    def embed(self, evidence: Tensor) -> Tensor:
        """Embed evidence in the joint space: (B, F) -> (B, E)."""
        x = F.gelu(self.hidden(self.dropout(self.norm(evidence))))
        return self.project(self.dropout(x))  # type: ignore[no-any-return]


def _channels(config: DRUNetConfig) -> int:
    """Returns the channels of all levels of a network together."""
    return config.width << len(config.blocks)


def pool(level: Tensor) -> Tensor:
    """Returns mean, standard deviation, largest and smallest block mean: (B, C, H, W) -> (B, 4 C) float32."""
    x = level.float()
    blocks = F.avg_pool2d(x, max(1, min(x.shape[-2:]) // GRID))
    mean = x.mean(dim=(2, 3))
    # the gradient of the root is infinite at 0, the spread of a constant channel
    spread = (x.square().mean(dim=(2, 3)) - mean.square()).clamp_min(1e-8).sqrt()
    return torch.cat([mean, spread, blocks.amax(dim=(2, 3)), blocks.amin(dim=(2, 3))], dim=1)


def change(before: Tensor, after: Tensor) -> Tensor:
    """Returns how much a network changed, and how evenly: 2 x (B, 3, H, W) in [-1, 1] -> (B, CHANGES) float32.

    Logarithms, in levels of 255: the mean absolute change, the absolute mean change, and the 25, 50 and 95 % quantiles
    of the standard deviations of blocks.
    """
    changed = (after.float().clamp(-1, 1) - before.float()) * 127.5
    blocks = changed.unfold(2, CHANGE_PX, CHANGE_PX).unfold(3, CHANGE_PX, CHANGE_PX)  # (B, 3, h, w, 16, 16)
    mean = blocks.mean(dim=(-2, -1))
    spread = (blocks.square().mean(dim=(-2, -1)) - mean.square()).clamp_min(1e-6).sqrt().mean(dim=1).flatten(1)
    points = torch.quantile(spread, spread.new_tensor([0.25, 0.5, 0.95]), dim=1)  # (3, B)
    sizes = [changed.abs().mean(dim=(1, 2, 3)), changed.mean(dim=(1, 2, 3)).abs(), *points]
    return torch.log(torch.stack(sizes, dim=1) + 0.05)
