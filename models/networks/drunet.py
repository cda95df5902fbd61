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
    level ends with the means of its rows and columns.  `even` is for repairs that reach into flat regions: features
    are enlarged by interpolation, and pixels are written in the picture's own size, so no weight belongs to one place
    of a grid, and a flat picture stays flat (Odena et al. 2016, "Deconvolution and Checkerboard Artifacts").  It sees
    the picture with a reflected margin, since the zeros beyond a border would print a frame.
    """

    width: int = 64
    blocks: tuple[int, ...] = (4, 4, 4, 4)
    patch: int = 1
    tonal: bool = False
    lines: bool = False
    even: bool = False

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


class EvenUp(nn.Module):
    """Halves the channels and doubles the sides by interpolation: (B, C, H, W) -> (B, C / 2, 2 H, 2 W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels // 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(self.conv(x), scale_factor=2, mode="bilinear")


class EvenTail(nn.Module):
    """Features of folded pixels, and the pixels: (B, C, H / p, W / p), (B, 3, H, W) -> the correction (B, 3, H, W)."""

    def __init__(self, channels: int, patch: int, bias: bool) -> None:
        super().__init__()
        self.patch, narrow = patch, channels // 2
        self.narrow = nn.Conv2d(channels, narrow, 1, bias=False)
        self.mix = nn.Conv2d(narrow + 3, narrow, 3, padding=1, bias=bias)
        self.out = nn.Conv2d(narrow, 3, 3, padding=1, bias=bias)

    def forward(self, x: Tensor, pixels: Tensor) -> Tensor:
        x = F.interpolate(self.narrow(x), scale_factor=self.patch, mode="bilinear")
        return self.out(F.relu(self.mix(torch.cat([x, pixels], dim=1))))  # type: ignore[no-any-return]


class DRUNet(nn.Module):
    """Returns the restored picture: the input plus the correction that the network computes."""

    PIXEL_LAYERS = ("head", "tail", "tail.mix", "tail.out")

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
            up = EvenUp(width) if config.even else nn.ConvTranspose2d(width, width // 2, 2, stride=2, bias=False)
            self.ups.append(up)
            width //= 2
            self.decoders.append(_level(width, blocks, bias, lines))
        self.tail: nn.Module = (
            EvenTail(width, config.patch, bias) if config.even else nn.Conv2d(width, 3 * area, 3, padding=1, bias=bias)
        )

    def forward(self, degraded: Tensor, levels: list[Tensor] | None = None) -> Tensor:
        """(B, 3, H, W) -> (B, 3, H, W), not clamped.  The network computes in the precision of its weights.

        `levels` receives the features of every level on the way down, of the bottom, and of the last level up.
        """
        height, width = degraded.shape[-2:]
        pixels = pad_to_multiple(degraded.to(self.head.weight.dtype), self.config.stride, "reflect")
        margin = self.config.stride if self.config.even else 0
        if margin:
            shorter = min(pixels.shape[-2:])
            pixels = F.pad(pixels, (margin,) * 4, "reflect" if shorter > margin else "replicate")
        x = self.head(fold(pixels, self.config.patch).contiguous(memory_format=torch.channels_last))
        x = down_and_up(x, self.encoders, self.downs, self._bottom, self.ups, self.decoders, levels)
        x = self.tail(x, pixels) if self.config.even else unfold(self.tail(x), self.config.patch)
        return degraded + x[..., margin : margin + height, margin : margin + width].to(degraded.dtype)

    def start_unchanged(self) -> None:
        """Give the last layer zeros, so that the network changes nothing."""
        last = self.tail.out if isinstance(self.tail, EvenTail) else self.tail
        for parameter in last.parameters():
            nn.init.zeros_(parameter)

    def _bottom(self, x: Tensor) -> Tensor:
        if self.config.tonal:
            x = x + self.whole(x.mean(dim=(2, 3), keepdim=True))
        return self.body(x)  # type: ignore[no-any-return]


def _level(channels: int, blocks: int, bias: bool, lines: bool) -> nn.Sequential:
    level = nn.Sequential(*(ResBlock(channels, bias) for _ in range(blocks)))
    return level.append(LineMeans(channels)) if lines else level
