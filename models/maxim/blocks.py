"""The blocks that MAXIM's stages are made of.

Shapes:  B batch, H W height and width, C channels of the level.  Features and images are (B, H, W, C).
"""

from collections.abc import Iterable
from itertools import chain

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.maxim.config import BOTTLENECK_SIDE, CHANNELS, DEPTH, SIDES
from models.maxim.mixing import EPS, MultiAxisMLP, PositionMixing, TwoAxes, gelu, linear_of_parts
from models.networks.channels_last import Convolution

REDUCTION = 4
"""Channel attention has so many times fewer channels inside."""
SLOPE = 0.2
"""Of the leaky ReLU."""


class Doubling(nn.ConvTranspose2d):
    """A transposed convolution to twice the height and width."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(channels_in, channels_out, 2, stride=2)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        return super().forward(x.permute(0, 3, 1, 2), output_size).permute(0, 2, 3, 1)


class Resizing(nn.Module):
    """Brings features from one level to another: bilinear, antialiased where it shrinks, and a 1 x 1 convolution."""

    def __init__(self, source: int, target: int) -> None:
        super().__init__()
        self.factor = 2.0 ** (source - target)
        self.linear = nn.Linear(CHANNELS[source], CHANNELS[target])

    def forward(self, x: Tensor) -> Tensor:
        # Both are linear and the weights of a pixel sum to 1, so they commute: the cheaper order
        if self.factor <= 1:
            return self.linear(resized(x, self.factor))  # type: ignore[no-any-return]
        return resized(self.linear(x), self.factor)


def resized(x: Tensor, factor: float) -> Tensor:
    """Resizes (B, H, W, C) bilinearly, antialiased where it shrinks; a factor below 1 is 1/2 or 1/4."""
    if factor == 1:
        return x
    planes = x.permute(0, 3, 1, 2)
    if factor < 1:
        return shrunk(planes, round(1 / factor)).permute(0, 2, 3, 1)
    scaled = F.interpolate(planes, scale_factor=factor, mode="bilinear", align_corners=False)
    return scaled.permute(0, 2, 3, 1).contiguous()


def shrunk(planes: Tensor, times: int) -> Tensor:
    """Returns (B, C, H, W) shrunk 2 or 4 times: what F.interpolate(antialias=True) gives, and faster.

    Its weights are a triangle that is twice as wide as the new pixels, and sum to 1 also where the border cuts it.  At
    a whole factor they are the same everywhere, so this is a convolution of each channel with the same kernel.
    """
    centers = torch.arange(2 * times, device=planes.device, dtype=planes.dtype) + 0.5
    triangle = (1 - (centers - times).abs() / times) / times
    kernel = torch.outer(triangle, triangle)[None, None]
    sums = F.conv2d(torch.ones_like(planes[:1, :1]), kernel, stride=times, padding=times // 2)
    channels = planes.shape[1]
    kernels = kernel.expand(channels, -1, -1, -1)
    return F.conv2d(planes, kernels, stride=times, padding=times // 2, groups=channels).div_(sums)


class ChannelAttention(nn.Module):
    """Weights the channels by their means over the picture (Hu et al. 2018, arXiv:1709.01507)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // REDUCTION)
        self.excite = nn.Linear(channels // REDUCTION, channels)

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean(dim=(1, 2), keepdim=True)  # (B, 1, 1, C)
        return x * self.excite(F.relu(self.squeeze(means))).sigmoid()  # type: ignore[no-any-return]


class ConvolutionalAttention(nn.Module):
    """Two convolutions and channel attention, with a residual: the paper's RCAB."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, EPS)
        self.conv1 = Convolution(channels, channels, 3, padding=1)
        self.conv2 = Convolution(channels, channels, 3, padding=1)
        self.attention = ChannelAttention(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(self.conv2(F.leaky_relu(self.conv1(self.norm(x)), SLOPE))).add_(x)  # type: ignore[no-any-return]


class DenseAttention(nn.Module):
    """Two dense layers and channel attention, with a residual: the paper's RDCAB."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, EPS)
        self.dense1 = nn.Linear(channels, channels)
        self.dense2 = nn.Linear(channels, channels)
        self.attention = ChannelAttention(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(self.dense2(gelu(self.dense1(self.norm(x))))).add_(x)  # type: ignore[no-any-return]


class CrossGating(nn.Module):
    """Two features gate each other (section 3.3): returns both.

    `parts` are x, in as many parts as the concatenation that it stands for.  `below` is the number of channels of a y
    from the next level, which is enlarged first; None: y is of this level.
    """

    def __init__(self, channels_x: int, channels: int, side: int, below: int | None = None) -> None:
        super().__init__()
        self.enlarge = nn.Identity() if below is None else Doubling(below, channels)
        self.entry_x, self.entry_y = nn.Linear(channels_x, channels), nn.Linear(channels, channels)
        self.norm_x, self.norm_y = nn.LayerNorm(channels, EPS), nn.LayerNorm(channels, EPS)
        self.into_x, self.into_y = nn.Linear(channels, channels), nn.Linear(channels, channels)
        self.gates_x, self.gates_y = (TwoAxes(channels, side, lambda: PositionMixing(side)) for _ in range(2))
        self.out_x, self.out_y = nn.Linear(channels, channels), nn.Linear(channels, channels)

    def forward(self, parts: Iterable[Tensor], y: Tensor) -> tuple[Tensor, Tensor]:
        x, y = linear_of_parts(self.entry_x, parts), self.entry_y(self.enlarge(y))
        value_x, value_y = gelu(self.into_x(self.norm_x(x))), gelu(self.into_y(self.norm_y(y)))
        new_y = self.out_y(value_y * self.gates_x(value_x)).add_(y)
        new_x = self.out_x(value_x * self.gates_y(value_y)).add_(new_y).add_(x)
        return new_x, new_y


class Groups(nn.Module):
    """Rounds of multi-axis mixing and attention between an entry and its residual."""

    def __init__(self, entry: int, channels: int, side: int, attention: type[nn.Module]) -> None:
        super().__init__()
        self.entry = nn.Linear(entry, channels)
        self.mixings = nn.ModuleList(MultiAxisMLP(channels, side) for _ in range(DEPTH))
        self.attentions = nn.ModuleList(attention(channels) for _ in range(DEPTH))

    def forward(self, parts: Iterable[Tensor]) -> Tensor:
        entered = x = linear_of_parts(self.entry, parts)
        for mixing, attention in zip(self.mixings, self.attentions, strict=True):
            x = attention(mixing(x))
        return x + entered


class Bottleneck(Groups):
    """A block at the bottom, at 1/8 of the picture."""

    def __init__(self) -> None:
        super().__init__(CHANNELS[-1], CHANNELS[-1], BOTTLENECK_SIDE, DenseAttention)


class Encoder(nn.Module):
    """A level on the way down: returns the features for the next level, and those of this one.

    With `gated`, the features of the stage before gate its own.
    """

    def __init__(self, level: int, *, gated: bool) -> None:
        super().__init__()
        channels, above = CHANNELS[level], CHANNELS[max(0, level - 1)]
        self.groups = Groups(above + channels, channels, SIDES[level], ConvolutionalAttention)
        self.gating = CrossGating(channels, channels, SIDES[level]) if gated else None
        self.halve = Convolution(channels, channels, 4, stride=2, padding=1)

    def forward(self, x: Tensor, skip: Tensor, earlier: Tensor | None = None) -> tuple[Tensor, Tensor]:
        features = self.groups([x, skip])
        if self.gating is not None:
            features, _ = self.gating([features], earlier)
        return self.halve(features), features


class Decoder(nn.Module):
    """A level on the way up: features from below are enlarged, and refined together with the parts of the skip."""

    def __init__(self, level: int) -> None:
        super().__init__()
        channels, below = CHANNELS[level], CHANNELS[min(level + 1, 2)]
        self.enlarge = Doubling(below, channels)
        self.groups = Groups((1 + len(CHANNELS)) * channels, channels, SIDES[level], ConvolutionalAttention)

    def forward(self, x: Tensor, skips: Iterable[Tensor]) -> Tensor:
        return self.groups(chain([self.enlarge(x)], skips))  # type: ignore[no-any-return]


class SupervisedAttention(nn.Module):
    """Weights features by a picture that they predict (Zamir et al. 2021, arXiv:2102.02808), for the next stage."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.features = Convolution(channels, channels, 3, padding=1)
        self.picture = Convolution(channels, 3, 3, padding=1)
        self.weights = Convolution(3, channels, 3, padding=1)

    def forward(self, x: Tensor, image: Tensor) -> Tensor:
        picture = self.picture(x) + image
        return torch.addcmul(x, self.features(x), self.weights(picture).sigmoid())
