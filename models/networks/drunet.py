"""DRUNet, the specialists' network: a U-Net of residual blocks (Zhang et al. 2021, arXiv:2008.13751, section 4.1).

It has no norms, no biases (but see `tonal`), and one ReLU a block; strided 2 x 2 convolutions down, transposed ones up,
and skips that are added.

Shapes:  B batch, H W pixels (any size, reflected to a multiple of the stride inside and cropped back).  Images are RGB
(B, 3, H, W) in [-1, 1].
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.encoder_decoder import down_and_up, fold, unfold
from models.pixels import pad_to_multiple


@dataclass(frozen=True, kw_only=True)
class DRUNetConfig:
    """Defaults are the published denoiser, without its noise level map.

    `blocks` counts the blocks of each level, the last one at the bottom; widths double from level to level.  A `patch`
    above 1 folds patch x patch pixels into channels first.  `tonal` is for damage of the light, whose repair depends on
    the brightness of the whole picture: convolutions have biases, and the bottom gets its own mean as an input.
    `lines` is for damage of whole rows or columns, which a few dozen pixels cannot tell from a straight edge: each
    level ends with the means of its rows and columns.
    """

    width: int = 64
    blocks: tuple[int, ...] = (4, 4, 4, 4)
    patch: int = 1
    tonal: bool = False
    lines: bool = False

    @property
    def stride(self) -> int:
        return int(self.patch * 2 ** (len(self.blocks) - 1))


class ResBlock(nn.Module):
    """x + conv(relu(conv(x))) on (B, C, H, W)."""

    def __init__(self, channels: int, bias: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=bias)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.relu(self.conv1(x)))  # type: ignore[no-any-return]


class LineMeans(nn.Module):
    """Adds what a linear layer makes of the mean of each row and of each column, (B, C, H, W) -> (B, C, H, W).

    The layers start at zero: a trained network to which they are added computes what it computed before.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.rows = nn.Conv2d(channels, channels, 1, bias=False)
        self.columns = nn.Conv2d(channels, channels, 1, bias=False)
        nn.init.zeros_(self.rows.weight)
        nn.init.zeros_(self.columns.weight)

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = x.mean(dim=3, keepdim=True), x.mean(dim=2, keepdim=True)
        return x + self.rows(rows) + self.columns(columns)  # type: ignore[no-any-return]


class DRUNet(nn.Module):
    """Returns the restored picture: the input plus the correction that the network computes."""

    PIXEL_LAYERS = ("head", "tail")

    def __init__(self, config: DRUNetConfig) -> None:
        super().__init__()
        self.config = config
        area, width, bias, lines = config.patch**2, config.width, config.tonal, config.lines
        self.head = nn.Conv2d(3 * area, width, 3, padding=1, bias=bias)
        self.encoders, self.downs = nn.ModuleList(), nn.ModuleList()
        for blocks in config.blocks[:-1]:
            self.encoders.append(_level(width, blocks, bias, lines))
            self.downs.append(nn.Conv2d(width, 2 * width, 2, stride=2, bias=False))
            width *= 2
        if config.tonal:
            self.whole = nn.Conv2d(width, width, 1)
        self.body = _level(width, config.blocks[-1], bias, lines)
        self.ups, self.decoders = nn.ModuleList(), nn.ModuleList()
        for blocks in reversed(config.blocks[:-1]):
            self.ups.append(nn.ConvTranspose2d(width, width // 2, 2, stride=2, bias=False))
            width //= 2
            self.decoders.append(_level(width, blocks, bias, lines))
        self.tail = nn.Conv2d(width, 3 * area, 3, padding=1, bias=bias)

    def forward(self, degraded: Tensor, levels: list[Tensor] | None = None) -> Tensor:
        """(B, 3, H, W) -> (B, 3, H, W), not clamped.  The network computes in the precision of its weights.

        `levels` receives the features of every level on the way down, of the bottom, and of the last level up.
        """
        height, width = degraded.shape[-2:]
        x = pad_to_multiple(degraded.to(self.head.weight.dtype), self.config.stride, "reflect")
        x = self.head(fold(x, self.config.patch).contiguous(memory_format=torch.channels_last))
        x = self.tail(down_and_up(x, self.encoders, self.downs, self._bottom, self.ups, self.decoders, levels))
        x = unfold(x, self.config.patch)
        return degraded + x[..., :height, :width].to(degraded.dtype)

    def _bottom(self, x: Tensor) -> Tensor:
        if self.config.tonal:
            x = x + self.whole(x.mean(dim=(2, 3), keepdim=True))
        return self.body(x)  # type: ignore[no-any-return]


def _level(channels: int, blocks: int, bias: bool, lines: bool) -> nn.Sequential:
    level = nn.Sequential(*(ResBlock(channels, bias) for _ in range(blocks)))
    return level.append(LineMeans(channels)) if lines else level
